//! Answers that the proxy gives in its own name.

use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use meter::Class;
use pingora_core::protocols::http::ServerSession;
use pingora_error::{Error, ErrorSource, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::time::timeout;

use crate::client_stream::ClientStream;
use crate::connection::Connection;
use crate::edge::client_stream;
use crate::request::Request;
use crate::request_check::Refusal;
use crate::{grpc, secure, selection};

/// Why there is no room for a request.
pub(crate) const NO_ROOM: &str = "the service has as many requests under way as its limits allow";
/// Why something that lasted was ended.
pub(crate) const ENDED: &str = "what served this is leaving: try again";
/// Why a tunnel ended that nobody closed.
pub(crate) const IDLE_TUNNEL: &str =
    "nothing came through the tunnel for as long as it may be silent (timeouts.tunnel)";
/// What a request gets that is for no service.
pub(crate) const NO_SERVICE: Refusal = Refusal::of_sound(404, "no service here");
/// What a request gets that comes back again and again.
pub(crate) const IN_CIRCLES: Refusal =
    Refusal::of_sound(508, "this request goes in circles: a service here leads back here");
/// What a client gets that has as much under way as it may.
pub(crate) const TOO_MANY: Refusal =
    Refusal::of_sound(429, "this client has as many requests under way as one may have here");
/// The rest of a body is read and thrown away where it is no longer than this and comes within so long, so that its
/// connection can go on: less than another connection would cost its client.
const MOST_DRAINED: usize = 64 * 1024;
const LONGEST_DRAIN: Duration = Duration::from_secs(1);
/// When a client that found no room, or whose version left, may come again: requests end all the time. So it is told over
/// HTTP/2 as well, where a refused stream would have it back at once.
const RETRY_AFTER: &str = "1";

/// What a status of the proxy's own means, for a person; `class` is what the last attempt came to.
pub(crate) fn reason_for(status: u16, class: Option<Class>) -> &'static str {
    match status {
        502 if class == Some(Class::Reset) => "the service ended the connection in place of an answer",
        502 if class == Some(Class::ProtocolError) => "what the service answered is not HTTP as it should be",
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
pub(crate) async fn answer(session: &mut Session, refusal: Refusal, request: &mut Request) -> Result<bool> {
    let Refusal { status, why, is_sound } = refusal;
    request.why.get_or_insert(why);
    request.was_answered = true;
    let request = &*request;
    let is_secure = Connection::of(session).is_some_and(|connection| connection.secure);
    let more = |response: &mut ResponseHeader| {
        if status == TOO_MANY.status || request.found_no_room || request.is_short || request.ending().is_some() {
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

/// Writes an answer of ours. An HTTP/1.1 connection goes on behind it where nothing is in doubt: the request is sound, what
/// is left of it is little, and both sides keep connections. Else it ends, as the answer says.
async fn write(session: &mut Session, response: ResponseHeader, body: Bytes, is_sound: bool) -> Result<()> {
    // Over HTTP/2 nobody else leaves it out, and clients take what has it for malformed.
    let body = if session.req_header().method == Method::HEAD { Bytes::new() } else { body };
    let goes_on = is_sound && !session.is_upgrade_req() && has_little_left(session);
    let client = session.as_downstream_mut();
    if !goes_on || client.as_http1().is_none() {
        return client.write_error_response(response, body).await.map_err(as_downstream);
    }
    // What is left of the body is read behind the answer.
    client.set_close_on_response_before_downstream_finish(false);
    client.write_response_header(Box::new(response)).await.map_err(as_downstream)?;
    let written =
        if body.is_empty() { client.finish_body().await } else { client.write_response_body(body, true).await };
    written.map_err(as_downstream)?;
    if client.get_keepalive().is_some() && !drain(client).await {
        client.set_keepalive(None);
    }
    Ok(())
}

/// Whether the request was read to its end, or what is left of its body is on its way and short. A client that waits to be
/// told to go on may send it or not.
fn has_little_left(session: &mut Session) -> bool {
    if session.as_downstream_mut().is_body_done() {
        return true;
    }
    let length = session.req_header().headers.get(header::CONTENT_LENGTH).map(HeaderValue::to_str);
    let length = length.and_then(|length| length.ok()?.parse::<usize>().ok());
    let awaits_leave = client_stream(session).is_some_and(ClientStream::awaits_leave);
    length.is_some_and(|length| length <= MOST_DRAINED) && !awaits_leave
}

/// Reads what is left of a short body. Says whether it has come to its end.
async fn drain(client: &mut ServerSession) -> bool {
    if client.is_body_done() {
        return true;
    }
    let rest = async { while let Ok(Some(_)) = client.read_request_body().await {} };
    timeout(LONGEST_DRAIN, rest).await.is_ok() && client.is_body_done()
}

/// Leaves the client of a request that failed. pingora would drop its connection of HTTP/1.1, whatever the answer said:
/// it goes on where that says so, by way of whoever serves the connection, and ends gently where it does not, so that
/// no reset overtakes the answer. Nothing may be asked of the session after that.
pub(crate) async fn leave(session: &mut Session) {
    let digest = session.digest().and_then(|digest| digest.proxy_digest.clone());
    let Some(digest) = digest.filter(|_| session.as_downstream().as_http1().is_some()) else { return };
    let nobody = ServerSession::new_http1(Box::new(Cursor::new(Vec::new())));
    let client = std::mem::replace(session.as_downstream_mut(), nobody);
    if let Ok(Some(goes_on)) = client.finish().await {
        let (stream, _) = goes_on.into_parts();
        Connection::keep(&digest, stream);
    }
}

fn as_downstream(mut error: Box<Error>) -> Box<Error> {
    if *error.esource() == ErrorSource::Unset {
        error.as_down();
    }
    error
}
