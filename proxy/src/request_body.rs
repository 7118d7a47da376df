//! A request's body against its limit: refused by its length before a version sees anything of it, and cut where it
//! turns out to be longer than it may be.

pub(crate) mod silence;
pub(crate) mod taker;

use config::Bytes;
use http::header;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;

use crate::request_check::Refusal;

const TOO_LARGE: Refusal = Refusal::in_doubt(413, "the body of this request is too large");

/// What is left of a body's limit.
#[derive(Debug, Default)]
pub(crate) struct BodyLimit {
    most: Option<u64>,
    left: Option<u64>,
}

impl BodyLimit {
    /// The limit of a request whose head says how long its body is, where it says so.
    pub(crate) fn of(request: &RequestHeader, most: Option<Bytes>) -> Result<Self, Refusal> {
        let most = most.map(Bytes::get);
        let length = request.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match (most, length) {
            (Some(most), Some(length)) if length > most => Err(TOO_LARGE),
            (Some(_), Some(_) | None) | (None, _) => Ok(Self { most, left: most }),
        }
    }

    /// Another attempt begins, which is sent the body from its beginning.
    pub(crate) fn begin_again(&mut self) {
        self.left = self.most;
    }

    /// So many bytes have come. An error is the client's fault, and ends the attempt.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<()> {
        let Some(left) = self.left else { return Ok(()) };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.left = Some(left.checked_sub(bytes).ok_or_else(|| {
            let Refusal { status, why, .. } = TOO_LARGE;
            Error::explain(ErrorType::HTTPStatus(status), why).into_down()
        })?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{class_of, status_for};
    use meter::Class;

    fn post(length: Option<&str>) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/", None).unwrap();
        if let Some(length) = length {
            request.insert_header("content-length", length).unwrap();
        }
        request
    }

    #[test]
    fn a_body_that_says_that_it_is_too_long_is_refused_at_once() {
        let limit = Some(Bytes::new(10).unwrap());
        assert!(BodyLimit::of(&post(Some("10")), limit).is_ok());
        assert_eq!(BodyLimit::of(&post(Some("11")), limit).unwrap_err().status, 413);
        assert!(BodyLimit::of(&post(Some("11")), None).is_ok());
    }

    #[test]
    fn a_body_that_grows_too_long_is_the_clients_fault() {
        let mut limit = BodyLimit::of(&post(None), Some(Bytes::new(10).unwrap())).unwrap();
        assert!(limit.take(4).is_ok() && limit.take(6).is_ok() && limit.take(0).is_ok());
        let error = limit.take(1).unwrap_err();
        assert_eq!((class_of(&error), status_for(&error)), (Class::ClientAbort, 413));
        limit.begin_again();
        assert!(limit.take(10).is_ok());
        assert!(BodyLimit::default().take(usize::MAX).is_ok());
    }
}
