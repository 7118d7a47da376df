//! An attempt that failed: whose fault it was, and whether another follows.

use std::time::Instant;

use meter::Class;
use pingora_error::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;

use super::{Edge, client_stream};
use crate::attempt::{Unprocessed, class_of, is_silent, is_untaken, malformed, unprocessed};
use crate::client_stream::ClientStream;
use crate::deadlines::Overdue;
use crate::endpoint::Unreachable;
use crate::request::{Repeatable, Request};
use crate::retries::Failure;

impl Edge {
    /// What comes of an attempt that failed after it was connected: whose fault it was, what the client gets, and whether
    /// another attempt follows. `client_reused`: its connection came from the pool.
    pub(super) fn failed(
        &self,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Request,
        client_reused: bool,
    ) -> Box<Error> {
        let now = Instant::now();
        if ctx.has_left() {
            return e;
        }
        if ctx.ending().is_some() {
            ctx.end_attempt(Class::Local, now);
            return ended();
        }
        if is_of_reading(&e) && ctx.has_passed_on() {
            // The answer was all there is to say; what is left of the request is of no use to anybody.
            return e;
        }
        if is_silent(&e) {
            e.etype = ErrorType::ReadTimedout;
        }
        if is_untaken(&e) {
            e.etype = ErrorType::WriteTimedout;
            ctx.why.get_or_insert(UNTAKEN);
        }
        if let Some(malformed) = malformed(&e) {
            ctx.malformed(malformed);
        }
        let client_reused = ctx.is_reused().unwrap_or(client_reused);
        if ctx.fell_silent() {
            ctx.end_attempt(Class::ClientAbort, now);
            return stopped_in_its_body();
        }
        match ctx.overdue() {
            Some(Overdue::Head | Overdue::Whole | Overdue::Answer)
                if is_uploading(session) && !ctx.takes_nothing(now) =>
            {
                ctx.end_attempt(Class::ClientAbort, now);
                return Error::explain(ErrorType::HTTPStatus(408), "the request took too long to arrive").into_down();
            }
            Some(Overdue::Whole) if !ctx.is_too_slow(now) => {
                ctx.end_attempt(Class::ClientAbort, now);
                return Error::explain(ErrorType::HTTPStatus(504), "the client's own deadline has passed").into_down();
            }
            Some(
                overdue @ (Overdue::Head | Overdue::Whole | Overdue::Silence | Overdue::Untaken | Overdue::Answer),
            ) => {
                let mut late = Error::explain(ErrorType::ReadTimedout, "no response in time").into_up();
                ctx.why.get_or_insert(match overdue {
                    Overdue::Untaken => UNTAKEN,
                    Overdue::Head | Overdue::Whole | Overdue::Answer if is_uploading(session) => UNTAKEN,
                    Overdue::Silence => SILENT,
                    Overdue::Whole => "no whole response in time (timeouts.total)",
                    Overdue::Head | Overdue::Answer | Overdue::Ended(_) => NO_HEAD,
                });
                let failure = if overdue == Overdue::Answer { Failure::Left } else { Failure::Late };
                late.set_retry(self.goes_again(failure, session, ctx, now));
                if overdue == Overdue::Answer && ctx.all_are_silent(now) {
                    // It left where others have to wait. Those who can wait for it are no worse for that.
                    ctx.is_excused();
                }
                ctx.end_attempt(Class::Timeout, now);
                return late;
            }
            Some(Overdue::Ended(_)) | None => {}
        }
        if *e.etype() == ErrorType::ConnectError {
            // Connected, and then of no use: nothing was sent.
            e.set_retry(self.goes_again(Failure::Unreachable, session, ctx, now));
            ctx.failed_to_connect(Class::ConnectError, Unreachable::of(&e), now);
            return e;
        }
        if !client_reused
            && ctx.is_unheard()
            && let Some(why) = Unreachable::by_alert(&e)
        {
            // In TLS 1.3 a handshake that was refused looks like one that was not, until something is read. Nobody there
            // has read the request.
            e.set_retry(self.goes_again(Failure::Unreachable, session, ctx, now));
            ctx.refused_by_alert(why, now);
            return e;
        }
        if is_client_stalling(session, &e) {
            ctx.end_attempt(Class::ClientAbort, now);
            return stopped_in_its_body();
        }
        let unprocessed = unprocessed(&e);
        let may_repeat = unprocessed.is_some() || session.req_header().method.is_idempotent();
        if may_repeat && !session.as_ref().retry_buffer_truncated() {
            // pingora marks a pooled connection that was closed before it answered; retry() would panic undecided.
            e.retry.decide_reuse(client_reused);
        } else {
            e.set_retry(false);
        }
        // An interim head is an answer, and a connection that has answered was not stale.
        let is_stale = unprocessed == Some(Unprocessed::Leaving)
            || ctx.may_be_stale(now) && session.response_written().is_none() && may_come_twice(session, ctx);
        if e.retry() && client_reused && is_stale && !ctx.forgiven && ctx.may_be_forgiven(now) {
            ctx.stale_connection();
        } else if class_of(&e) == Class::Reset && ctx.is_stalled(now) {
            // An endpoint that cannot get rid of its response gives up in the end.
            ctx.end_attempt(Class::ClientAbort, now);
            e.set_retry(false);
            e.as_down();
        } else if class_of(&e) == Class::Reset && is_dripping(session, ctx, now) {
            ctx.end_attempt(Class::ClientAbort, now);
            return Error::explain(ErrorType::HTTPStatus(408), "the request took too long to arrive").into_down();
        } else {
            if let Some(why) = why_cut(&e, ctx) {
                ctx.why.get_or_insert(why);
            }
            let failure = failure_of(&e);
            e.set_retry(failure.is_some_and(|failure| self.goes_again(failure, session, ctx, now)));
            ctx.end_attempt(class_of(&e), now);
        }
        e
    }

    /// Whether a request whose attempt failed so is tried again, where the next attempt will be made.
    pub(super) fn goes_again(&self, failure: Failure, session: &Session, ctx: &mut Request, now: Instant) -> bool {
        let Some(service) = ctx.found().map(|matched| self.present(&matched.service)) else { return false };
        ctx.goes_again(failure, repeatable(session), &service, now)
    }
}

/// What may be done with the request once more.
pub(super) fn repeatable(session: &Session) -> Repeatable {
    let client = session.as_downstream();
    // Interim heads leave room for a response.
    let is_unanswered = session.response_written().is_none_or(|head| head.status.is_informational());
    Repeatable {
        idempotent: session.req_header().method.is_idempotent(),
        whole: is_unanswered && !client.retry_buffer_truncated(),
    }
}

/// Whether a request may be sent anew where it cannot be told whether it was read. Who wants no retries wants nothing
/// carried out twice; what is safe carries nothing out (RFC 9110, section 9.2.1).
fn may_come_twice(session: &Session, ctx: &Request) -> bool {
    let retries = ctx.found().is_none_or(|matched| matched.service.written.retries.most > 0);
    retries || session.req_header().method.is_safe()
}

/// How an attempt failed, where that is not the client's doing or ours.
fn failure_of(error: &Error) -> Option<Failure> {
    if unprocessed(error).is_some() {
        return Some(Failure::Unprocessed);
    }
    match class_of(error) {
        Class::Timeout => Some(Failure::Late),
        Class::ConnectError | Class::Reset | Class::ProtocolError => Some(Failure::Broken),
        Class::ClientAbort
        | Class::Local
        | Class::Success
        | Class::Redirect
        | Class::ClientError
        | Class::ServerError
        | Class::GrpcError
        | Class::Upgrade => None,
    }
}

/// Why a response was cut that had begun, for a person.
const SILENT: &str = "the response fell silent (timeouts.response, or timeouts.tunnel)";

/// Why a request was given up that never came to its end.
const UNTAKEN: &str = "the service took nothing of the request's body (timeouts.response)";

/// Why a response never began.
const NO_HEAD: &str = "no response head in time (timeouts.first_byte)";

/// What ended a response, where nothing else tells: where it had begun, its status was good.
fn why_cut(error: &Error, ctx: &Request) -> Option<&'static str> {
    let is_unheard = ctx.is_unheard();
    match class_of(error) {
        Class::Timeout if is_unheard => Some(NO_HEAD),
        // The proxy's own answer tells.
        _ if is_unheard => None,
        Class::Timeout => Some(SILENT),
        Class::Reset => Some("the service ended the connection before the end of its response"),
        Class::ProtocolError => Some("the rest of the response is not HTTP as it should be"),
        Class::ConnectError
        | Class::ClientAbort
        | Class::Local
        | Class::Success
        | Class::Redirect
        | Class::ClientError
        | Class::ServerError
        | Class::GrpcError
        | Class::Upgrade => None,
    }
}

/// It lasted, and we ended it.
pub(super) fn ended() -> Box<Error> {
    Error::new_in(ErrorType::Custom("ended"))
}

/// Whether something was wrong with what the client sent, or that it sent nothing more: not with what it was sent.
fn is_of_reading(error: &Error) -> bool {
    let is_of_writing = matches!(error.etype(), ErrorType::WriteError | ErrorType::WriteTimedout | ErrorType::H2Error);
    *error.esource() == ErrorSource::Downstream && !is_of_writing
}

fn stopped_in_its_body() -> Box<Error> {
    Error::explain(ErrorType::HTTPStatus(408), "the client stopped in its body").into_down()
}

/// Whether a version is silent because it waits for a client that stopped in its body.
fn is_client_stalling(session: &mut Session, error: &Error) -> bool {
    *error.esource() == ErrorSource::Upstream
        && matches!(error.etype(), ErrorType::ReadTimedout)
        && is_uploading(session)
}

/// Whether a version has ended the connection of a client that sends its body so slowly that it may have had enough.
fn is_dripping(session: &mut Session, ctx: &Request, now: Instant) -> bool {
    is_uploading(session) && !ctx.takes_nothing(now) && ctx.drips(session.as_downstream().body_bytes_read(), now)
}

/// Whether a part of the request is still the client's to send. One that has not been told to go on
/// (`Expect: 100-continue`) waits for the version.
fn is_uploading(session: &mut Session) -> bool {
    let awaits_leave = client_stream(session).is_some_and(ClientStream::awaits_leave);
    !awaits_leave && !session.as_downstream_mut().is_body_done()
}
