//! What became of an attempt: the class of an error, and whose it was.

use meter::Class;
use pingora_core::protocols::http::v2::client::PING_TIMEDOUT;
use pingora_error::{Error, ErrorSource, ErrorType};

use crate::upstream_stream::{Malformed, Silent, Untaken};

/// The class of an attempt that ended in an error. A client that left is not the version's fault; everything that
/// came from upstream is.
#[must_use]
pub fn class_of(error: &Error) -> Class {
    match error.esource() {
        ErrorSource::Downstream => Class::ClientAbort,
        ErrorSource::Internal | ErrorSource::Unset => Class::Local,
        ErrorSource::Upstream => class_of_upstream(error),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "pingora's error types are open: what is not known ended the connection"
)]
fn class_of_upstream(error: &Error) -> Class {
    if let Some(cause) = error.root_cause().downcast_ref::<h2::Error>() {
        return class_of_http2(cause);
    }
    if malformed(error).is_some() {
        return Class::ProtocolError;
    }
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError => Class::ConnectError,
        // Nobody may connect to it (a socket of another mode, SELinux, a firewall here): whatever the cause, it serves nobody.
        ErrorType::InternalError if is_denied(error) => Class::ConnectError,
        // Out of descriptors or ports: the proxy's own trouble.
        ErrorType::InternalError | ErrorType::BindError | ErrorType::SocketError => Class::Local,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Class::Timeout,
        // An HTTP/2 endpoint that no longer answers a ping.
        kind if *kind == PING_TIMEDOUT => Class::Timeout,
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::H2Error | ErrorType::InvalidH2 => {
            Class::ProtocolError
        }
        _ => Class::Reset,
    }
}

/// Whether the system denied a connection.
fn is_denied(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.root_cause());
    while let Some(present) = cause {
        if let Some(error) = present.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::PermissionDenied;
        }
        cause = present.source();
    }
    false
}

/// What was wrong with a response in its bytes, where that is what ended the attempt.
#[must_use]
pub(crate) fn malformed(error: &Error) -> Option<Malformed> {
    cause_of_ours(error).copied()
}

/// Whether the endpoint said nothing for as long as it may, which pingora takes for a connection that broke.
#[must_use]
pub(crate) fn is_silent(error: &Error) -> bool {
    cause_of_ours::<Silent>(error).is_some()
}

/// Whether the endpoint took nothing of the request for as long as it may, which pingora takes for a connection that broke.
#[must_use]
pub(crate) fn is_untaken(error: &Error) -> bool {
    cause_of_ours::<Untaken>(error).is_some()
}

/// What our own IO types gave for a reason.
fn cause_of_ours<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    error.root_cause().downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

/// What was wrong in HTTP/2: what the endpoint sent, or that it ended the stream or the connection.
fn class_of_http2(error: &h2::Error) -> Class {
    if error.is_io() || error.is_remote() { Class::Reset } else { Class::ProtocolError }
}

/// The class of an attempt for which no connection was to be had: the endpoint's failure, whatever it was that failed
/// (TLS and HTTP/2 included), but for the proxy's own trouble.
#[must_use]
pub fn class_of_connect(error: &Error) -> Class {
    match class_of(error) {
        Class::Local => Class::Local,
        Class::ClientAbort => Class::ClientAbort,
        Class::ConnectError
        | Class::Timeout
        | Class::Reset
        | Class::ProtocolError
        | Class::Success
        | Class::Redirect
        | Class::ClientError
        | Class::ServerError
        | Class::GrpcError
        | Class::Upgrade => Class::ConnectError,
    }
}

/// Whether a request found its HTTP/2 connection ended before it could begin a stream on it. A new connection that is
/// ended so soon gives the same error.
#[must_use]
pub(crate) fn is_stale_http2(error: &Error) -> bool {
    *error.etype() == ErrorType::H2Error && error.root_cause().is::<h2::Error>()
}

/// Why an HTTP/2 endpoint has not touched a request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unprocessed {
    /// It leaves: it takes no more streams on this connection (GOAWAY without an error).
    Leaving,
    /// It refused this stream (REFUSED_STREAM), or ends the connection for a reason before it looked at it.
    Refused,
}

/// Whether the endpoint has certainly not touched the request, so that another may have it whatever the method
/// (RFC 9113, section 8.7). A GOAWAY is the error of a stream only where its number is above the last one that was looked
/// at, or where it was never begun; what it says for a reason changes nothing about that.
#[must_use]
pub(crate) fn unprocessed(error: &Error) -> Option<Unprocessed> {
    let cause = error.root_cause().downcast_ref::<h2::Error>().filter(|cause| cause.is_remote())?;
    match cause.reason()? {
        h2::Reason::NO_ERROR if cause.is_go_away() => Some(Unprocessed::Leaving),
        _ if cause.is_go_away() => Some(Unprocessed::Refused),
        h2::Reason::REFUSED_STREAM if cause.is_reset() => Some(Unprocessed::Refused),
        _ => None,
    }
}

/// The status that a client gets where its request could not be served.
#[must_use]
pub fn status_for(error: &Error) -> u16 {
    if let ErrorType::HTTPStatus(status) = error.etype() {
        return *status;
    }
    match class_of(error) {
        Class::Timeout => 504,
        Class::ConnectError | Class::Reset | Class::ProtocolError => 502,
        Class::ClientAbort if matches!(error.etype(), ErrorType::ReadTimedout) => 408,
        // A client that sent something wrong is still there to hear of it; one that left is not.
        Class::ClientAbort if is_gone(error) => 0,
        Class::ClientAbort => 400,
        Class::Success
        | Class::Redirect
        | Class::ClientError
        | Class::ServerError
        | Class::GrpcError
        | Class::Upgrade => 500,
        Class::Local => 503,
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed | ErrorType::H2Error
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(kind: ErrorType) -> Box<Error> {
        Error::new_up(kind)
    }

    #[test]
    fn every_upstream_error_is_a_failure_of_the_version() {
        for kind in [
            ErrorType::ConnectTimedout,
            ErrorType::ConnectRefused,
            ErrorType::ReadTimedout,
            ErrorType::ConnectionClosed,
            ErrorType::ReadError,
            ErrorType::WriteError,
            ErrorType::InvalidHTTPHeader,
            ErrorType::UnknownError,
        ] {
            assert!(class_of(&upstream(kind.clone())).is_bad(), "{kind:?}");
        }
    }

    #[test]
    fn a_proxy_that_is_out_of_descriptors_blames_no_version() {
        for kind in [ErrorType::InternalError, ErrorType::SocketError, ErrorType::BindError] {
            assert_eq!((class_of(&upstream(kind.clone())), status_for(&upstream(kind))), (Class::Local, 503));
        }
    }

    #[test]
    fn an_endpoint_that_nobody_may_connect_to_fails_its_version() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = Error::because(ErrorType::InternalError, "Fail to connect", denied).into_up();
        assert_eq!((class_of(&error), status_for(&error)), (Class::ConnectError, 502));
        let out = std::io::Error::from_raw_os_error(24);
        let error = Error::because(ErrorType::InternalError, "Fail to connect", out).into_up();
        assert_eq!((class_of(&error), status_for(&error)), (Class::Local, 503));
    }

    #[test]
    fn a_client_that_left_is_no_failure_of_the_version_and_gets_no_answer() {
        let error = Error::new_down(ErrorType::ConnectionClosed);
        assert_eq!((class_of(&error), status_for(&error)), (Class::ClientAbort, 0));
    }

    #[test]
    fn a_slow_version_is_504_and_a_broken_one_502() {
        assert_eq!(status_for(&upstream(ErrorType::ReadTimedout)), 504);
        assert_eq!(status_for(&upstream(ErrorType::ConnectRefused)), 502);
        assert_eq!(status_for(&upstream(ErrorType::ConnectionClosed)), 502);
    }
}
