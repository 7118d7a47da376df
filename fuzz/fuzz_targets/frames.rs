//! Fuzzes `proxy/src/client_stream/frames.rs`.

#![no_main]
#![allow(dead_code, reason = "the sources are another crate's")]

#[path = "../../proxy/src/client_stream/frames.rs"]
mod frames;
#[path = "../properties/frames.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::holds(data));
