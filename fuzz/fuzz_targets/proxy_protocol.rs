//! Fuzzes `proxy/src/proxy_protocol.rs`.

#![no_main]
#![allow(dead_code, reason = "the sources are another crate's")]

#[path = "../properties/proxy_protocol.rs"]
mod property;
#[path = "../../proxy/src/proxy_protocol.rs"]
mod proxy_protocol;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::holds(data));
