//! Bodies of changes: read within bounds, and their fields taken one by one, so that all that is wrong is told at
//! once.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use config::Name;
use futures::StreamExt;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::nearest::{did_you_mean, quoted};
use super::problem::{Kind, Problem};

/// More than this is not read.
const LARGEST: usize = 64 * 1024;
/// A body that is too large is still taken in up to here: a client that writes all of it before it reads would
/// otherwise meet a broken connection instead of the answer.
const SWALLOWED: usize = 1024 * 1024;
/// A body may take this long.
const BODY: Duration = Duration::from_secs(10);
/// A reason may have this many characters.
const REASON: usize = 1_000;

/// The JSON object of a change; empty where the body is.
#[derive(Debug)]
pub(super) struct Change(Map<String, Value>);

impl<S: Sync> FromRequest<S> for Change {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if head.headers.contains_key(EXPECT) && announced.is_some_and(|length| length > LARGEST) {
            return Err(too_large());
        }
        let bytes = timeout(BODY, read(body)).await.map_err(|_| {
            Problem::new(Kind::BodyTooSlow, format!("the body did not come whole within {} s", BODY.as_secs()))
        })??;
        // Asked for an empty body too: it keeps forms of foreign pages out.
        if !is_json(&head.headers) {
            return Err(Problem::new(
                Kind::NotJson,
                "a change wants the header Content-Type: application/json, with an empty body too",
            ));
        }
        parse(&bytes).map(Self)
    }
}

fn too_large() -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("the body is larger than {} KiB", LARGEST / 1024))
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let mut parts = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Problem::new(Kind::Malformed, "the body ended before it was whole"))?;
        length = length.saturating_add(part.len());
        if length <= LARGEST {
            bytes.extend_from_slice(&part);
        } else if length > SWALLOWED {
            break;
        }
    }
    if length > LARGEST { Err(too_large()) } else { Ok(bytes) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => match written_twice(bytes) {
            Some(key) => {
                Err(Problem::new(Kind::InvalidValues, format!("the field {} is there more than once", quoted(&key))))
            }
            None => Ok(object),
        },
        Ok(other) => {
            Err(Problem::new(Kind::InvalidValues, format!("the body is {}; an object is wanted", kind(&other))))
        }
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            Err(Problem::new(Kind::Malformed, format!("the body is not JSON: {error}"))
                .with("line", json!(line))
                .with("column", json!(column)))
        }
    }
}

/// The first key that an object has twice. JSON leaves open which of the two counts, so nobody may guess.
fn written_twice(object: &[u8]) -> Option<String> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut seen, mut twice) = (BTreeSet::new(), None);
            while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                if seen.contains(&key) {
                    twice.get_or_insert(key);
                } else {
                    seen.insert(key);
                }
            }
            Ok(twice)
        }
    }
    serde_json::Deserializer::from_slice(object).deserialize_map(Keys).ok().flatten()
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// The fields of a [`Change`], and what is wrong with those looked at so far.
#[derive(Debug)]
pub(super) struct Fields {
    object: Map<String, Value>,
    wrong: Vec<(String, String)>,
}

impl Change {
    /// The fields, where these and no others are legal.
    pub(super) fn fields(self, legal: &[&str]) -> Fields {
        let mut fields = Fields { object: self.0, wrong: Vec::new() };
        let unknown: Vec<String> = fields.object.keys().filter(|key| !legal.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            let tail = did_you_mean(&key, legal.iter().copied(), "legal are");
            fields.wrong.push((key.clone(), format!("there is no field {}{tail}", quoted(&key))));
        }
        fields
    }
}

impl Fields {
    fn wrong<T>(&mut self, field: &str, detail: String) -> Option<T> {
        self.wrong.push((field.to_owned(), detail));
        None
    }

    /// The value of a field that is there; `null` is as good as absent.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.object.remove(field).filter(|value| !value.is_null())
    }

    /// Says that a field must be there, if it is not.
    pub(super) fn require(&mut self, field: &str, what: &str) {
        if self.object.get(field).is_none_or(Value::is_null) {
            self.wrong.push((field.to_owned(), format!("the field {field:?} is missing: {what}")));
        }
    }

    /// A field of text.
    pub(super) fn text(&mut self, field: &str) -> Option<String> {
        let value = self.take(field)?;
        match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong(field, format!("{field} is {}; text is wanted", kind(&value))),
        }
    }

    /// Why, in a person's words.
    pub(super) fn reason(&mut self) -> Option<String> {
        let text = self.text("reason")?;
        let length = text.chars().count();
        if length > REASON {
            return self.wrong("reason", format!("reason has {length} characters; legal are at most {REASON}"));
        }
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// The name of a version or plan.
    pub(super) fn name(&mut self, field: &str) -> Option<Name> {
        let text = self.text(field)?;
        match Name::new(&text) {
            Some(name) => Some(name),
            None => {
                self.wrong(field, format!("{field} is {}, which is no name: legal are {}", quoted(&text), Name::LEGAL))
            }
        }
    }

    /// A whole number from 0 to `largest`. `hint` helps who wrote something else.
    pub(super) fn whole(&mut self, field: &str, largest: u64, hint: &str) -> Option<u64> {
        let value = self.take(field)?;
        match value.as_u64() {
            Some(number) if number <= largest => Some(number),
            Some(_) | None => {
                let given = kind(&value);
                self.wrong(field, format!("{field} is {given}; legal is a whole number from 0 to {largest}{hint}"))
            }
        }
    }

    /// Ends the reading: a problem that names all that is wrong.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        let detail: Vec<&str> = self.wrong.iter().take(10).map(|(_, detail)| detail.as_str()).collect();
        let errors: Vec<Value> = self
            .wrong
            .iter()
            .take(10)
            .map(|(field, detail)| json!({ "pointer": format!("#/{}", escaped(field)), "detail": detail }))
            .collect();
        Err(Problem::new(Kind::InvalidValues, detail.join("; and ")).with("errors", Value::Array(errors)))
    }
}

/// A key as a JSON Pointer writes it.
fn escaped(key: &str) -> String {
    key.chars().take(64).collect::<String>().replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Change(parse(text.as_bytes()).unwrap()).fields(&["canary", "weight", "reason"])
    }

    fn details(fields: Fields) -> Vec<String> {
        fields.wrong.into_iter().map(|(_, detail)| detail).collect()
    }

    #[test]
    fn all_that_is_wrong_with_a_body_is_told_at_once() {
        let mut fields = fields(r#"{"wieght": 1, "weight": "10%", "canary": "-v2", "reason": 3}"#);
        assert_eq!((fields.name("canary"), fields.whole("weight", 10_000, ""), fields.reason()), (None, None, None));
        assert_eq!(
            details(fields),
            [
                "there is no field \"wieght\"; did you mean \"weight\"?; legal are canary, weight, reason",
                "canary is \"-v2\", which is no name: legal are 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit",
                "weight is the text \"10%\"; legal is a whole number from 0 to 10000",
                "reason is the number 3; text is wanted",
            ]
        );
    }

    #[test]
    fn numbers_that_are_not_whole_or_not_in_range_are_no_weights() {
        for number in ["-1", "10001", "0.5", "1e2", "1e400", "18446744073709551616", "true", "[]"] {
            let text = format!("{{\"weight\": {number}}}");
            let Ok(object) = parse(text.as_bytes()) else { continue };
            let mut fields = Change(object).fields(&["weight"]);
            assert_eq!(fields.whole("weight", 10_000, ""), None, "{number}");
            assert_eq!(fields.wrong.len(), 1, "{number}");
        }
        assert_eq!(fields("{\"weight\": 10000}").whole("weight", 10_000, ""), Some(10_000));
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let mut fields = fields(r#"{"canary": null, "reason": "  "}"#);
        assert_eq!((fields.name("canary"), fields.reason()), (None, None));
        fields.require("canary", "the version");
        assert!(fields.finish().is_err());
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        for twice in [
            r#"{"weight": 1, "weight": 2}"#,
            r#"{"weight": null, "reason": "x", "weight": 1}"#,
            r#"{"weight": {"a": [1]}, "w\u0065ight": 2}"#,
        ] {
            let problem = parse(twice.as_bytes()).unwrap_err();
            assert!(format!("{problem:?}").contains("weight"), "{twice}: {problem:?}");
        }
        assert!(parse(br#"{"weight": {"a": 1}, "reason": {"a": 1}}"#).is_ok());
    }

    #[test]
    fn a_body_nested_without_end_is_refused_and_not_followed() {
        let deep = "[".repeat(LARGEST);
        assert!(parse(deep.as_bytes()).is_err());
    }
}
