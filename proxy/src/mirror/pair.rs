//! A request's two answers, stable's and the canary's, compared by whichever ends last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use config::GrpcCodes;
use http::{HeaderMap, Method, Uri, header};
use meter::{Class, Comparison};
use pingora_http::RequestHeader;

use super::ledger::Ledger;
use super::print::Printed;
use crate::grpc;

/// A request that was copied, and what came of it. Kept for as long as it is among the latest that differ, so it holds
/// nothing of a snapshot, nor what the client sent.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) method: Method,
    /// What was asked for; its path alone is shown.
    pub(super) target: Uri,
    /// The codes of gRPC that count as errors.
    errors: GrpcCodes,
    pub(super) stable: OnceLock<End>,
    pub(super) canary: OnceLock<End>,
    /// One of the two has ended.
    is_half_over: AtomicBool,
}

/// How one of the two ended.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody knows, or it was nobody's doing: the client left, the process ends.
    Unknown,
    /// Without a whole answer, or (stable's) with one that counts as an error.
    Failed(Class),
    /// With an answer.
    Answered(Answer),
}

/// What is kept of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// What a gRPC call came to, where it is one and says so.
    pub(super) grpc: Option<u32>,
    pub(super) fields: HeaderMap,
    pub(super) body: Printed,
}

/// Whose answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Stable,
    Canary,
}

/// One side of a pair. Dropped before it has ended, nobody knows how it would have.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) pair: Arc<Pair>,
    pub(super) ledger: Arc<Ledger>,
    side: Side,
    is_over: bool,
}

impl Pair {
    /// The two sides of a request, stable's first. What comes of it goes into `ledger`;
    /// `errors` are the codes of gRPC that count as such.
    pub(super) fn begin(asked: &RequestHeader, errors: GrpcCodes, ledger: &Arc<Ledger>) -> (Half, Half) {
        let (method, target) = (asked.method.clone(), asked.uri.clone());
        let (stable, canary) = (OnceLock::new(), OnceLock::new());
        let pair = Arc::new(Self { method, target, errors, stable, canary, is_half_over: AtomicBool::new(false) });
        let half = |side| Half { pair: Arc::clone(&pair), ledger: Arc::clone(ledger), side, is_over: false };
        (half(Side::Stable), half(Side::Canary))
    }

    /// How long stable's answer is, once it is there.
    pub(super) fn length_of_stable(&self) -> Option<u64> {
        match self.stable.get()? {
            End::Answered(answer) => Some(answer.body.length),
            End::Unknown | End::Failed(_) => None,
        }
    }

    /// What the copy came to, once both have ended; none where that is not known of one of them.
    pub(super) fn comparison(&self) -> Option<Comparison> {
        let fails = |answer: &Answer| answer.fails(self.errors);
        Some(match (self.stable.get()?, self.canary.get()?) {
            (End::Unknown, _) | (_, End::Unknown) => return None,
            (End::Failed(_), End::Failed(_)) => Comparison::BothFailed,
            (End::Failed(_), End::Answered(canary)) if fails(canary) => Comparison::BothFailed,
            (End::Failed(_), End::Answered(_)) => Comparison::StableFailed,
            (End::Answered(_), End::Failed(_)) => Comparison::NoAnswer,
            (End::Answered(stable), End::Answered(canary)) => {
                if stable.says() != canary.says() {
                    Comparison::Status { failed: fails(canary) }
                } else if stable.coding() != canary.coding() || stable.body != canary.body {
                    Comparison::Body
                } else {
                    Comparison::Alike
                }
            }
        })
    }
}

impl Answer {
    /// What it came to.
    const fn says(&self) -> (u16, Option<u32>) {
        (self.status, self.grpc)
    }

    fn fails(&self, errors: GrpcCodes) -> bool {
        self.status >= 500 || self.grpc.is_some_and(|code| errors.contains(code))
    }

    /// How its body is coded. Two bodies that are coded differently differ: both were asked for in the same words, and a
    /// gate must not pass on what nobody has looked at.
    fn coding(&self) -> Option<&[u8]> {
        self.fields.get(header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes)
    }
}

/// What a gRPC call came to, where these are the fields of its response, or its trailers.
pub(super) fn code_of(head: &HeaderMap, trailers: Option<&HeaderMap>) -> Option<u32> {
    let is_grpc = head.get(header::CONTENT_TYPE).is_some_and(grpc::is_grpc);
    is_grpc.then(|| trailers.and_then(grpc::status).or_else(|| grpc::status(head))).flatten()
}

impl Half {
    /// It has ended so. Whichever side ends last compares the two.
    pub(super) fn end(mut self, end: End) {
        self.note(end);
    }

    fn note(&mut self, end: End) {
        self.is_over = true;
        let own = match self.side {
            Side::Stable => &self.pair.stable,
            Side::Canary => &self.pair.canary,
        };
        // A side ends once.
        let _ = own.set(end);
        let is_last = self.pair.is_half_over.swap(true, Ordering::AcqRel);
        if is_last && let Some(comparison) = self.pair.comparison() {
            self.ledger.meter.ended(comparison);
            match comparison {
                Comparison::Status { .. } | Comparison::Body | Comparison::NoAnswer => self.ledger.keep(&self.pair),
                Comparison::Alike | Comparison::BothFailed | Comparison::StableFailed => {}
            }
        }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if !self.is_over {
            self.note(End::Unknown);
        }
    }
}

#[cfg(test)]
mod tests;
