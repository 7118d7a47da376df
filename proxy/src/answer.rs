//! Answers that the proxy gives in its own name.

use bytes::Bytes;
use http::header;
use pingora_error::{Error, ErrorSource, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::connection::Connection;
use crate::request::Request;
use crate::{grpc, secure, selection};

/// Why there is no room for a request.
pub(crate) const NO_ROOM: &str = "the service has as many requests under way as its limits allow";
/// Why something that lasted was ended.
pub(crate) const ENDED: &str = "what served this is leaving: try again";
/// The status of a request that is for no service.
pub(crate) const NOT_FOUND: u16 = 404;
/// When a client that found no room, or whose version left, may come again: requests end all the time.
const RETRY_AFTER: &str = "1";

/// What a status of the proxy's own means, for a person.
pub(crate) fn reason_for(status: u16) -> &'static str {
    match status {
        502 => "the service could not be reached",
        504 => "the service did not answer in time",
        408 => "the request did not arrive whole in time",
        413 => "the body of this request is too large",
        400..=499 => "this request is not valid",
        503 => "the proxy is out of connections",
        _ => "something went wrong",
    }
}

/// Answers in the proxy's own name. A client that drew its version by a cookie of ours gets that cookie all the same: it
/// comes back to the version that it was charged to.
pub(crate) async fn answer(
    session: &mut Session,
    status: u16,
    why: &'static str,
    request: &mut Request,
) -> Result<bool> {
    request.why.get_or_insert(why);
    let request = &*request;
    let is_secure = Connection::of(session).is_some_and(|connection| connection.secure);
    let more = |response: &mut ResponseHeader| {
        if request.found_no_room || request.ending().is_some() {
            response.insert_header(header::RETRY_AFTER, RETRY_AFTER)?;
        }
        match request.found() {
            Some(matched) => selection::to_client(response, &matched.service, None, matched.issued.as_ref(), is_secure),
            None => Ok(()),
        }
    };
    if grpc::is_call(session.req_header()) {
        grpc::answer(session, status, why, more).await.map_err(as_downstream)?;
        return Ok(true);
    }
    let body = Bytes::from(format!("{status}: {why}\n"));
    let mut response = ResponseHeader::build(status, Some(4))?;
    response.insert_header(header::CONTENT_LENGTH, body.len())?;
    response.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
    response.insert_header(header::CACHE_CONTROL, "no-store")?;
    secure::to_client(&mut response, Connection::of(session));
    more(&mut response)?;
    // What is refused may be other than it seems, and what follows it as well.
    let is_sound = status == NOT_FOUND;
    write(session, response, body, is_sound).await?;
    Ok(true)
}

/// Sends the client elsewhere, for good: the same request, the same method (RFC 9110, section 15.4.9).
pub(crate) async fn redirect(session: &mut Session, place: &str) -> Result<bool> {
    let mut response = ResponseHeader::build(308, Some(2))?;
    response.insert_header(header::LOCATION, place)?;
    response.insert_header(header::CONTENT_LENGTH, 0)?;
    write(session, response, Bytes::new(), true).await?;
    Ok(true)
}

/// Writes an answer of ours. An HTTP/1.1 connection goes on behind it where nothing is in doubt: the request is sound and
/// read to its end, what follows it is another one, and both sides keep connections. Else it ends, as the answer says.
async fn write(session: &mut Session, response: ResponseHeader, body: Bytes, is_sound: bool) -> Result<()> {
    let goes_on = is_sound && !session.is_upgrade_req() && session.as_downstream_mut().is_body_done();
    let client = session.as_downstream_mut();
    if !goes_on || client.as_http1().is_none() {
        return client.write_error_response(response, body).await.map_err(as_downstream);
    }
    client.write_response_header(Box::new(response)).await.map_err(as_downstream)?;
    let written =
        if body.is_empty() { client.finish_body().await } else { client.write_response_body(body, true).await };
    written.map_err(as_downstream)
}

fn as_downstream(mut error: Box<Error>) -> Box<Error> {
    if *error.esource() == ErrorSource::Unset {
        error.as_down();
    }
    error
}
