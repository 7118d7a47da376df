use super::*;
use crate::{fields, forwarded};

use config::Rules;

use proptest::prelude::*;

const PARENT_ID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn request(headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in headers {
        request.append_header(*name, *value).unwrap();
    }
    request
}

/// Makes of a request what its origin gets.
fn tell(trace: &Trace, request: &mut RequestHeader) {
    fields::change(request, |request| {
        let mut told = Told::nothing();
        trace.to_origin(&mut told, request);
        forwarded::to_origin(&mut told, request, None, None, &Rules::default(), None);
        told.set(&mut request.headers);
    });
}

/// What the origin sees of `traceparent` and `tracestate`.
fn seen(headers: &[(&'static str, &str)]) -> (String, String) {
    let mut request = request(headers);
    let trace = Trace::of(&request);
    tell(&trace, &mut request);
    let header = |name: &HeaderName| {
        let all: Vec<_> = request.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        all.join(" | ")
    };
    (header(&PARENT), header(&STATE))
}

fn is_begun(parent: &str) -> bool {
    id_of(parent.as_bytes()).is_some() && parent.starts_with("00-") && parent.ends_with("-00") && parent.len() == LENGTH
}

#[test]
fn a_valid_trace_is_passed_on_as_it_is() {
    let (parent, state) = seen(&[("traceparent", PARENT_ID), ("tracestate", "a=1"), ("tracestate", "b=2")]);
    assert_eq!((parent.as_str(), state.as_str()), (PARENT_ID, "a=1 | b=2"));
    let trace = Trace::of(&request(&[("traceparent", PARENT_ID)]));
    assert_eq!(trace.id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    // A later version may have more fields.
    let later = format!("cc{}-what-comes", &PARENT_ID[2..]);
    assert_eq!(seen(&[("traceparent", &later)]).0, later);
}

#[test]
fn where_there_is_none_or_no_valid_one_a_trace_begins_that_nobody_has_sampled() {
    let bad = [
        String::new(),
        "00".into(),
        PARENT_ID.to_uppercase(),
        PARENT_ID.replace("00-", "ff-"),
        PARENT_ID.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
        PARENT_ID.replace("b7ad6b7169203331", "0000000000000000"),
        PARENT_ID.replace('-', "_"),
        format!("{PARENT_ID}-more"),
        format!("cc{}more", &PARENT_ID[2..]),
        PARENT_ID.replace("b7ad", "b7ag"),
        PARENT_ID.replace("b7ad", "+7ad"),
    ];
    for bad in &bad {
        let (parent, state) = seen(&[("traceparent", bad), ("tracestate", "a=1")]);
        assert!(is_begun(&parent), "{bad}: {parent}");
        assert_eq!(state, "", "{bad}: a state without its parent");
    }
    let (parent, state) = seen(&[("traceparent", PARENT_ID), ("traceparent", PARENT_ID), ("tracestate", "a=1")]);
    assert!(is_begun(&parent) && state.is_empty(), "{parent}");
    assert_ne!(seen(&[]).0, seen(&[]).0);
}

#[test]
fn each_attempt_of_a_request_has_the_same_trace() {
    let trace = Trace::of(&request(&[]));
    let attempt = || {
        let mut request = request(&[]);
        tell(&trace, &mut request);
        request.headers.get(&PARENT).cloned().unwrap()
    };
    assert_eq!(attempt(), attempt());
    assert!(attempt().to_str().unwrap().contains(&trace.id.to_string()));
}

#[test]
fn a_long_state_is_cut_at_the_end_of_an_entry() {
    let entries: Vec<_> = (0..60).map(|n| format!("vendor{n:02}=0123456789")).collect();
    let (_, state) = seen(&[("traceparent", PARENT_ID), ("tracestate", &entries.join(","))]);
    let kept: Vec<_> = state.split(',').collect();
    assert_eq!(kept, entries[..kept.len()]);
    assert!((490..=512).contains(&state.len()), "{}", state.len());
    let whole = "x".repeat(512);
    assert_eq!(seen(&[("traceparent", PARENT_ID), ("tracestate", &whole)]).1, whole);
}

proptest! {
    #[test]
    fn an_origin_always_sees_one_valid_trace(value in "[ -~]{0,80}") {
        let (parent, _) = seen(&[("traceparent", &value)]);
        prop_assert!(id_of(parent.as_bytes()).is_some(), "{}", parent);
    }
}
