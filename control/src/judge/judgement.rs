//! What a judge says.

use super::{Copies, Unanswered};
use crate::view::{Arms, Matched};

/// What the tests say now.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Harm beyond the tolerance is established: take the canary back. The sentence says what was seen.
    pub harm: Option<Harm>,
    /// A limit is broken on both versions: hold and alert, no rollback. In a sentence.
    pub hold: Option<String>,
    /// A gate whose role is to signal established harm, or the check of clients that leave: pause and ask. Until
    /// [`Judge::acknowledge`](super::Judge::acknowledge).
    pub signal: Option<Harm>,
    /// Requests were lost or are not drawn as the split says, or the version in stable's place is worse than stable: what
    /// is measured cannot be trusted. In a sentence.
    /// Until [`Judge::acknowledge`](super::Judge::acknowledge).
    pub traffic: Option<String>,
    /// Every gate passes: harm of its margin's size is ruled out since the step began. Signals without data are not
    /// waited for.
    pub proven: bool,
    /// The family's evidence is at 10 or above: no step forward.
    pub suspicion: bool,
    /// Judged first attempts since the rollout began.
    pub requests: Arms<u64>,
    /// How many of them failed.
    pub failed: Arms<u64>,
    /// Judged first attempts since the present step began; where clients leave more of the canary's than is tolerated,
    /// without those that they left.
    pub step_requests: Arms<u64>,
    /// How many more there were, that do not count because their clients left before they had their whole answer.
    pub left_in_step: Arms<u64>,
    /// Those who went to the canary whatever its weight and are left out by the gates that compare.
    pub matched: Matched,
    /// How many requests of theirs the canary served well since the present step began.
    pub matched_in_step: u64,
    /// Copies of requests since the rollout began; none of any kind where the plan sends none.
    pub copies: Copies,
    /// Copies of requests since the present step began.
    pub copies_in_step: Copies,
    /// Whether a batch closed in the last 30 s: of the service and of every path that a guardrail judges, or of copies
    /// where the step sends them.
    pub has_data: bool,
    /// For how many seconds the gates that compare latencies wait for the canary to warm up again; 0 where none compares
    /// any, and while it warms up for the first time. Until then no step ends and nothing is proven.
    pub warms_up_for: u64,
    /// What a guardrail waits for that compares latencies and could compare none yet, since too few of stable's are known: no
    /// step forward. In a sentence; none where most requests have no latency (tunnels), as nobody would wait for those.
    pub uncompared: Option<String>,
    /// By the figures of the present step the canary fails more than the margin or the limit of a guardrail, for seconds on
    /// end: no step forward, though nothing is established. In a sentence.
    pub beyond: Option<String>,
    /// Requests that wait for the canary's answer, where they are many beside those that wait for stable's: no step
    /// forward. The judge knows of answers alone, so whoever looks at the traffic adds this.
    pub unanswered: Option<Unanswered>,
    /// Requests fail for the proxy's own want of descriptors or ports, which is charged to no version: no step forward.
    /// Added by whoever looks at the traffic as well.
    pub is_short: bool,
}

/// Established harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harm {
    /// The gate that established it; `breaker` for the circuit breaker that is always on.
    pub gate: String,
    /// What was seen, in a sentence for the operator.
    pub explain: String,
}
