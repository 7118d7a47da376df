//! What a request does about an attempt that failed.

use std::sync::Arc;
use std::time::Instant;

use config::Retries;

use super::{Request, Underway};
use crate::deadlines::Leave;
use crate::retries::{Case, Failure, Place, Then};
use crate::routing::Service;
use crate::selection::Reason;

/// What may be done with the request once more, as its client's connection says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repeatable {
    /// The method means the same however often it is sent.
    pub(crate) idempotent: bool,
    /// What came of the body is all there to be sent again, and the client has seen nothing of a response.
    pub(crate) whole: bool,
}

impl Request {
    /// The present attempt has failed: whether there will be another one, which is decided by that. `service` is as it is
    /// now. To be asked once a failure, before the attempt is ended.
    pub(crate) fn goes_again(
        &mut self,
        failure: Failure,
        repeatable: Repeatable,
        service: &Service,
        now: Instant,
    ) -> bool {
        let Some(then) = self.after(failure, repeatable, service, now) else { return false };
        let (Some(matched), Some(attempt)) = (&self.matched, &self.attempt) else { return false };
        let (written, budget) = (&matched.service.written.retries, &matched.service.retry_budget);
        match then {
            Then::PassOn => return false,
            // Counted already.
            Then::Retry if failure == Failure::Left => {}
            Then::Retry if failure == Failure::Broken && is_let_down(attempt, written, now) => {}
            Then::Retry if !budget.retry(written, others_are_well(attempt, now), now) => {
                matched.service.meter.refuse_retry(self.core);
                return false;
            }
            Then::Shield => budget.shield(now),
            Then::Retry | Then::Elsewhere(_) => {}
        }
        self.avoided = Some(attempt.at.shared());
        self.tries.go_on(then);
        true
    }

    /// Whether the budget for retries has room for the attempt that follows a stale connection. Endpoints that reset every
    /// connection they are asked on again would have half as much traffic again without it.
    pub(crate) fn may_be_forgiven(&self, now: Instant) -> bool {
        let (Some(matched), Some(attempt)) = (&self.matched, &self.attempt) else { return false };
        let service = &matched.service;
        service.retry_budget.retry(&service.written.retries, others_are_well(attempt, now), now)
    }

    /// Whether the request may leave its endpoint for another attempt, should it turn out to hang. Asked in advance, of the
    /// service as it was when the request came.
    pub(crate) fn leave(&self, repeatable: Repeatable, now: Instant) -> Leave {
        let Some(service) = self.matched.as_ref().map(|matched| &matched.service) else { return Leave::Never };
        match self.after(Failure::Left, repeatable, service, now) {
            None | Some(Then::PassOn) => Leave::Never,
            Some(Then::Retry) => {
                let version = self.attempt.as_ref().map(|attempt| Arc::clone(&attempt.version));
                version.map_or(Leave::Never, |version| Leave::Within(Arc::clone(service), version))
            }
            Some(Then::Shield | Then::Elsewhere(_)) => Leave::Free,
        }
    }

    fn after(&self, failure: Failure, repeatable: Repeatable, service: &Service, now: Instant) -> Option<Then> {
        let (matched, attempt) = (self.matched.as_ref()?, self.attempt.as_ref()?);
        let written = &matched.service.written;
        // Who asks for a version by name wants to see what it does.
        let is_forced = matches!(matched.reason, Reason::Forced(_));
        let case = Case {
            rules: &written.retries,
            on_stable: attempt.version.name == service.stable().name,
            shield: written.shield && !is_forced,
            idempotent: repeatable.idempotent,
            repeatable: repeatable.whole && !self.is_late(now),
        };
        Some(self.tries.after(failure, &case))
    }

    /// Whether the time for all attempts together is over.
    fn is_late(&self, now: Instant) -> bool {
        let due = self.patience().and_then(|patience| self.exchange.whole_due(self.began, self.said_all, patience));
        due.is_some_and(|due| due <= now)
    }

    /// Whether the present attempt was ended though its endpoint went on: what it says is of no use any more.
    pub(crate) const fn has_left(&self) -> bool {
        self.attempt.is_none()
    }

    /// Whether the next attempt may be made on the version drawn, as the service is now.
    pub(crate) fn may_stay(&self, service: &Service) -> bool {
        match self.tries.next {
            Place::Stable => false,
            Place::Version => self.matched.as_ref().is_some_and(|matched| matched.may_stay(service)),
        }
    }

    /// Counts the request, as the budget for retries goes by them.
    pub(super) fn count_for_retries(&self, service: &Arc<Service>) {
        service.retry_budget.request(self.core, self.began);
    }
}

/// Whether an attempt broke with its endpoint, while another is well: no budget is asked, since there are only as many of
/// them as were there when it fell ill (docs/decisions/0036). What an endpoint answers, or does not answer in time, may be
/// for want of strength, which the others would lose as well. Where an operator wants nothing tried again, nothing is.
fn is_let_down(attempt: &Underway, rules: &Retries, now: Instant) -> bool {
    let at = &attempt.at;
    rules.budget.get() > 0.0 && at.endpoint().lets_down(&attempt.version.endpoints, at.came(), now)
}

/// Whether the version has another endpoint that is well.
fn others_are_well(attempt: &Underway, now: Instant) -> bool {
    attempt.at.endpoint().has_others_that_are_well(&attempt.version.endpoints, now)
}
