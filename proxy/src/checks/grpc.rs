//! A check by the gRPC health protocol (grpc.health.v1).

use bytes::{BufMut, Bytes, BytesMut};
use http::header;
use tokio::io::{AsyncRead, AsyncWrite};

use super::asking::Asked;
use super::http2;
use crate::grpc::{is_grpc, status};

/// The most that is read of an answer. One holds a number.
const MOST: usize = 4 * 1024;
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// Whether the service of this name serves; empty: the server as a whole.
pub(super) async fn serves(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    asked: &Asked<'_>,
    service: &str,
) -> Result<(), String> {
    let mut request = http2::request("POST", asked)?;
    let fields = request.headers_mut();
    fields.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
    fields.insert(header::TE, http::HeaderValue::from_static("trailers"));
    let (connection, response) = http2::send(stream, request, Some(question(service))).await?;
    http2::with(connection, async {
        let response = response.await.map_err(|error| http2::no_answer(&error))?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("it answered {}, and not in gRPC", response.status().as_u16()));
        }
        if !response.headers().get(header::CONTENT_TYPE).is_some_and(is_grpc) {
            return Err("its answer is not gRPC".to_owned());
        }
        if let Some(code) = status(response.headers()) {
            // A head that is all of the answer.
            return Err(refused(code, service));
        }
        let (body, mut stream) = http2::body(response, MOST).await?;
        let trailers = stream.trailers().await.map_err(|error| http2::no_answer(&error))?;
        match trailers.as_ref().and_then(status) {
            Some(0) => judge(&body),
            Some(code) => Err(refused(code, service)),
            None => Err("its gRPC answer has no status".to_owned()),
        }
    })
    .await
}

/// A `HealthCheckRequest` as a gRPC message.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, with a length.
        message.put_u8(0x0a);
        let mut length = service.len();
        while length > 0x7f {
            message.put_u8((length as u8 & 0x7f) | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    framed.freeze()
}

fn refused(code: u32, service: &str) -> String {
    match code {
        0 => "its gRPC answer is empty".to_owned(),
        5 => format!("its health service does not know {service:?} (NOT_FOUND)"),
        12 => "it has no gRPC health service (UNIMPLEMENTED)".to_owned(),
        _ => {
            let name = usize::try_from(code).ok().and_then(|code| config::GrpcCodes::NAMES.get(code));
            format!("its gRPC health service failed ({})", name.unwrap_or(&"an unknown code"))
        }
    }
}

/// Whether a `HealthCheckResponse` says that it serves.
fn judge(body: &[u8]) -> Result<(), String> {
    let nonsense = || "its gRPC answer is no health message".to_owned();
    let (head, message) = body.split_at_checked(5).ok_or_else(nonsense)?;
    let length = head[1..].iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    if head[0] != 0 || length != message.len() {
        return Err(nonsense());
    }
    match serving_status(message).ok_or_else(nonsense)? {
        SERVING => Ok(()),
        0 => Err("its gRPC health service says UNKNOWN".to_owned()),
        2 => Err("its gRPC health service says NOT_SERVING".to_owned()),
        3 => Err("its gRPC health service says SERVICE_UNKNOWN".to_owned()),
        other => Err(format!("its gRPC health service says {other}, which is no status")),
    }
}

/// Field 1 of a message, as the last one there says; 0 where there is none. None for what is no message.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let skipped = match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skipped..)?;
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_message_with_its_length() {
        assert_eq!(question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(question("shop")[..], *b"\x00\x00\x00\x00\x06\x0a\x04shop");
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        assert_eq!(long.len(), 5 + 303);
    }

    #[test]
    fn only_serving_passes() {
        assert_eq!(judge(b"\0\0\0\0\x02\x08\x01"), Ok(()));
        // A field that nobody knows, before it.
        assert_eq!(judge(b"\0\0\0\0\x05\x12\x01x\x08\x01"), Ok(()));
        for (body, wanted) in [
            (&b"\0\0\0\0\x00"[..], "UNKNOWN"),
            (b"\0\0\0\0\x02\x08\x02", "NOT_SERVING"),
            (b"\0\0\0\0\x02\x08\x03", "SERVICE_UNKNOWN"),
            (b"\0\0\0\0\x02\x08\x63", "99"),
            (b"", "no health message"),
            (b"\x01\0\0\0\x02\x08\x01", "no health message"),
            (b"\0\xff\xff\xff\xff\x08\x01", "no health message"),
            (b"\0\0\0\0\x02\x08\xff", "no health message"),
            (b"\0\0\0\0\x02\x12\x7f", "no health message"),
            (b"\0\0\0\0\x01\x0f", "no health message"),
        ] {
            let failure = judge(body).unwrap_err();
            assert!(failure.contains(wanted), "{failure}");
        }
    }
}
