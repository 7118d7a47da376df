//! Fuzzes `proxy/src/upstream_stream/response_head.rs` and `inbound.rs`.

#![no_main]
#![allow(dead_code, reason = "the sources are another crate's")]

#[path = "../../proxy/src/client_stream/characters.rs"]
mod characters;
#[path = "../../proxy/src/client_stream/chunks.rs"]
mod chunks;
#[path = "../../proxy/src/client_stream/field_check.rs"]
mod field_check;
#[path = "../../proxy/src/client_stream/field_lines.rs"]
mod field_lines;
#[path = "../../proxy/src/upstream_stream/flaw.rs"]
mod flaw;
#[path = "../../proxy/src/client_stream/head_check.rs"]
mod head_check;
#[path = "../../proxy/src/client_stream/host.rs"]
mod host;
#[path = "../../proxy/src/upstream_stream/inbound.rs"]
mod inbound;
#[path = "../properties/response_head.rs"]
mod property;
#[path = "../../proxy/src/upstream_stream/response_head.rs"]
mod response_head;

/// Where the sources find what they share.
mod client_stream {
    pub(crate) use super::{characters, chunks, field_check, field_lines, head_check};
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::holds(data));
