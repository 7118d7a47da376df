//! Errors as the API tells them: RFC 9457 `application/problem+json`.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// What kind of thing is wrong. Programs tell problems apart by the `type` that this gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not a request that can be read.
    Malformed,
    /// No token, or a wrong one.
    Unauthorized,
    /// No such path, service or rollout.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed,
    /// The body did not come in time.
    BodyTooSlow,
    /// The present state does not allow it.
    Conflict,
    /// More than the API reads.
    BodyTooLarge,
    /// A change that is not `application/json`.
    NotJson,
    /// A Host that is not ours.
    Misdirected,
    /// The fields are not what is legal.
    InvalidValues,
    /// The configuration file has problems.
    InvalidConfiguration,
    /// Every seat of the event stream is taken.
    TooManyReaders,
    /// The first configuration is not installed yet, or the process drains.
    NotReady,
    /// No step forward is taken while the journal cannot be written.
    JournalUnwritable,
    /// The control loop has ended or does not answer.
    ControlLoopSilent,
    /// A fault of ours.
    Internal,
}

impl Kind {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed-request", "The request cannot be read"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid token is needed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow", "The body did not come in time"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "The present state does not allow it"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "Changes are application/json"),
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected", "The Host is not this server"),
            Self::InvalidValues => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-values", "The values are not legal"),
            Self::InvalidConfiguration => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-configuration", "The configuration has problems")
            }
            Self::TooManyReaders => (StatusCode::SERVICE_UNAVAILABLE, "too-many-readers", "Too many event streams"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            Self::JournalUnwritable => {
                (StatusCode::SERVICE_UNAVAILABLE, "journal-unwritable", "The journal cannot be written")
            }
            Self::ControlLoopSilent => {
                (StatusCode::SERVICE_UNAVAILABLE, "control-loop-silent", "The control loop does not answer")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault in Tidegate"),
        }
    }
}

/// One problem. Boxed, so that a `Result` of it stays small.
#[derive(Debug)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    detail: String,
    more: Map<String, Value>,
    challenge: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts { kind, detail: detail.into(), more: Map::new(), challenge: None }))
    }

    /// Adds a member beside the standard ones.
    #[must_use]
    pub(super) fn with(mut self, member: &str, value: Value) -> Self {
        self.0.more.insert(member.to_owned(), value);
        self
    }

    /// Says how to authenticate.
    #[must_use]
    pub(super) fn challenging(mut self, challenge: &'static str) -> Self {
        self.0.challenge = Some(challenge);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { kind, detail, more, challenge } = *self.0;
        let (status, slug, title) = kind.parts();
        let mut body = json!({
            "type": format!("urn:tidegate:problem:{slug}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
        });
        if let Value::Object(members) = &mut body {
            members.extend(more);
        }
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
