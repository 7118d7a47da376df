//! What an origin answers to a request.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time;

use super::Shared;
use super::connection::Fate;
use crate::dial::{Behaviour, Fraction};

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Between two events of `/sse`.
const EVENT_EVERY: Duration = Duration::from_millis(100);
/// No HTTP by any reading.
const GARBAGE: &[u8] = b"\x16\x03\x01 this is not HTTP\r\n\r\n\0\0\0\0";

/// Answers a request as the dial says, or names the fate of its connection.
pub(super) async fn answer(shared: &Shared, mut request: Request<Incoming>) -> Result<Response<Body>, Fate> {
    let _in_progress = shared.log.request();
    let setting = shared.dial.setting();
    let (behaviour, fails, latency) = {
        let mut rng = shared.rng.lock();
        // What concerns all is not drawn: it leaves the other draws of a seed as they are.
        let is_affected = setting.affected == Fraction::ONE || setting.affected.draw(&mut rng);
        let behaviour = if is_affected { setting.behaviour } else { Behaviour::Serve };
        (behaviour, setting.errors.draw(&mut rng), setting.latency.draw(&mut rng))
    };
    let echoes = behaviour == Behaviour::Serve && !fails && request.uri().path() == "/echo";
    if !echoes {
        read_whole(request.body_mut()).await;
    }
    match behaviour {
        Behaviour::Hang => {
            shared.log.bad();
            return std::future::pending().await;
        }
        Behaviour::Serve
        | Behaviour::Reset
        | Behaviour::Cut
        | Behaviour::Drip
        | Behaviour::Flood
        | Behaviour::Garbage
        | Behaviour::Refuse
        | Behaviour::Leave => (),
    }
    if !latency.is_zero() {
        time::sleep(latency).await;
    }
    let fate = match behaviour {
        Behaviour::Reset => Some(Fate::Reset),
        Behaviour::Cut => Some(Fate::Bytes(cut(shared, setting.body_bytes))),
        Behaviour::Garbage => Some(Fate::Bytes(Bytes::from_static(GARBAGE))),
        // A request that was read just before the doors closed is still served.
        Behaviour::Serve
        | Behaviour::Drip
        | Behaviour::Flood
        | Behaviour::Hang
        | Behaviour::Refuse
        | Behaviour::Leave => None,
    };
    if let Some(fate) = fate {
        shared.log.bad();
        return Err(fate);
    }
    let mut response = if fails {
        shared.log.bad();
        let mut response = Response::new(whole(format!("{} fails\n", shared.name)));
        *response.status_mut() = setting.error_status;
        response
    } else if let Some((piece, every)) = endless(behaviour) {
        shared.log.bad();
        Response::new(without_end(piece, every))
    } else {
        served(shared, request, setting.body_bytes)
    };
    response.headers_mut().insert("x-version", shared.version.clone());
    Ok(response)
}

/// Reads a body to its end. A body that ends early is the client's leaving, which the connection notices by itself.
async fn read_whole(body: &mut Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn served(shared: &Shared, request: Request<Incoming>, body_bytes: Option<u32>) -> Response<Body> {
    let path = request.uri().path();
    match path {
        "/echo" => {
            let kind = request.headers().get(CONTENT_TYPE).cloned();
            let mut response = Response::new(request.into_body().boxed_unsync());
            if let Some(kind) = kind {
                response.headers_mut().insert(CONTENT_TYPE, kind);
            }
            response
        }
        "/headers" => Response::new(whole(head_text(&request))),
        "/chunked" => Response::new(chunked(&shared.name)),
        "/sse" => events(None),
        _ => match path.strip_prefix("/sse/").and_then(|count| count.parse().ok()) {
            Some(count) => events(Some(count)),
            None => Response::new(whole(usual_body(shared, body_bytes))),
        },
    }
}

fn usual_body(shared: &Shared, body_bytes: Option<u32>) -> Bytes {
    match body_bytes {
        Some(bytes) => vec![b'x'; bytes as usize].into(),
        None => format!("{}\n", shared.name).into(),
    }
}

/// A head and half of the body that it announces.
fn cut(shared: &Shared, body_bytes: Option<u32>) -> Bytes {
    let body = usual_body(shared, body_bytes);
    // One more than there will be, so that an empty body is cut too.
    let announced = body.len() + 1;
    let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {announced}\r\nx-version: ").into_bytes();
    bytes.extend_from_slice(shared.version.as_bytes());
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(&body[..body.len() / 2]);
    bytes.into()
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The head of a request as hyper read it: names are in lower case.
fn head_text(request: &Request<Incoming>) -> String {
    let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}

/// How large the pieces of a body without end are, and how long after one another they come.
const fn endless(behaviour: Behaviour) -> Option<(usize, Duration)> {
    match behaviour {
        Behaviour::Drip => Some((1, Duration::from_secs(1))),
        Behaviour::Flood => Some((65_536, Duration::from_nanos(65_536 * 100))),
        Behaviour::Serve
        | Behaviour::Hang
        | Behaviour::Reset
        | Behaviour::Cut
        | Behaviour::Garbage
        | Behaviour::Refuse
        | Behaviour::Leave => None,
    }
}

fn without_end(piece: usize, every: Duration) -> Body {
    let piece = Bytes::from(vec![b'x'; piece]);
    let body = stream::unfold((piece, time::interval(every)), |(piece, mut interval)| async move {
        interval.tick().await;
        Some((Ok(Frame::data(piece.clone())), (piece, interval)))
    });
    StreamBody::new(body).boxed_unsync()
}

fn chunked(name: &str) -> Body {
    let parts: Vec<_> =
        ["one", "two", "three"].map(|part| Ok(Frame::data(Bytes::from(format!("{name} {part}\n"))))).into();
    StreamBody::new(stream::iter(parts)).boxed_unsync()
}

/// Server-sent events, numbered from 1: so many, or without end.
fn events(count: Option<u64>) -> Response<Body> {
    let body = stream::unfold((1u64, time::interval(EVENT_EVERY)), move |(number, mut interval)| async move {
        if count.is_some_and(|count| number > count) {
            return None;
        }
        interval.tick().await;
        let event = Bytes::from(format!("id: {number}\ndata: event {number}\n\n"));
        Some((Ok(Frame::data(event)), (number + 1, interval)))
    });
    let mut response = Response::new(StreamBody::new(body).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
