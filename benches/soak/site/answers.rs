//! What the access log tells of answers that were errors.

use std::collections::BTreeMap;

use serde_json::Value;

/// Each kind of error that a GET was answered with, and how many of it there were.
pub(crate) fn errors(log: &str) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let is_error = line["http.response.status_code"].as_u64().is_some_and(|status| status >= 500);
        if is_error && line["http.request.method"] == "GET" {
            *kinds.entry(kind(&line)).or_default() += 1;
        }
    }
    kinds
}

fn kind(line: &Value) -> String {
    let of = |field: &str| match line.get(field) {
        None => "-".to_owned(),
        Some(value) => value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned),
    };
    format!(
        "{} ({}, {} attempts, the last at {} {}; drawn {}, by {}; HTTP/{}; {})",
        of("http.response.status_code"),
        of("tidegate.class"),
        of("tidegate.attempts"),
        of("tidegate.version"),
        of("tidegate.upstream"),
        of("tidegate.drawn"),
        of("tidegate.decision"),
        of("http.version"),
        of("error.message")
    )
}
