//! Fuzzes `proxy/src/client_stream/inbound.rs`.

#![no_main]
#![allow(dead_code, reason = "the sources are another crate's")]

#[path = "../../proxy/src/client_stream/characters.rs"]
mod characters;
#[path = "../../proxy/src/client_stream/field_check.rs"]
mod field_check;
#[path = "../../proxy/src/client_stream/field_lines.rs"]
mod field_lines;
#[path = "../../proxy/src/client_stream/host.rs"]
mod host;
#[path = "../../proxy/src/client_stream/head_check.rs"]
mod head_check;
#[path = "../../proxy/src/client_stream/chunks.rs"]
mod chunks;
#[path = "../../proxy/src/client_stream/inbound.rs"]
mod inbound;
#[path = "../properties/inbound.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::holds(data));
