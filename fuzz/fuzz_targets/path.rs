//! Fuzzes `proxy/src/request_check/path.rs`.

#![no_main]
#![allow(dead_code, reason = "the sources are another crate's")]

#[path = "../../proxy/src/request_check/path.rs"]
mod path;
#[path = "../properties/path.rs"]
mod property;

/// As the crate that the path is checked for has it.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    why: &'static str,
}

const fn bad(why: &'static str) -> Refusal {
    Refusal { status: 400, why }
}

const fn no_path(why: &'static str) -> Refusal {
    Refusal { status: 400, why }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::holds(data));
