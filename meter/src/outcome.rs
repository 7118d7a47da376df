//! One attempt's outcome, and the classes that outcomes fall into.

/// How many groups the affinity keys (or client connections) are hashed into. The spread of errors over groups of
/// stable traffic tells how bursty errors are (statistics, section 2.5).
pub const GROUPS: usize = 16;

/// What became of an attempt, or of a whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Status 200 to 299.
    Success,
    /// Status 300 to 399.
    Redirect,
    /// Status 400 to 499.
    ClientError,
    /// Status 500 to 599.
    ServerError,
    /// A gRPC status that means failure.
    GrpcError,
    /// No connection, or no live endpoint to connect to.
    ConnectError,
    /// No response head, or no further byte, in time.
    Timeout,
    /// The connection ended before the response did. Outranks the status it followed.
    Reset,
    /// A response that is not HTTP.
    ProtocolError,
    /// Status 101: a tunnel from here on.
    Upgrade,
    /// The client left first. No error of the version, but its age is a latency.
    ClientAbort,
    /// Answered by the proxy itself, no version involved.
    Local,
}

impl Class {
    /// Every class, in the order of its number.
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
        Self::GrpcError,
        Self::ConnectError,
        Self::Timeout,
        Self::Reset,
        Self::ProtocolError,
        Self::Upgrade,
        Self::ClientAbort,
        Self::Local,
    ];

    /// The class of a response that arrived whole, by its status.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            101 => Self::Upgrade,
            0..=299 => Self::Success,
            300..=399 => Self::Redirect,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    /// Whether the version failed (statistics, section 5, rule 3).
    #[must_use]
    pub const fn is_bad(self) -> bool {
        match self {
            Self::ServerError
            | Self::GrpcError
            | Self::ConnectError
            | Self::Timeout
            | Self::Reset
            | Self::ProtocolError => true,
            Self::Success | Self::Redirect | Self::ClientError | Self::Upgrade | Self::ClientAbort | Self::Local => {
                false
            }
        }
    }

    /// The label that metrics and status carry.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::GrpcError => "grpc_error",
            Self::ConnectError => "connect_error",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::ProtocolError => "protocol_error",
            Self::Upgrade => "upgrade",
            Self::ClientAbort => "client_abort",
            Self::Local => "local",
        }
    }
}

/// Which attempt of a request this was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Attempt {
    /// The first, on the version drawn. The only kind that is judged.
    First,
    /// A further attempt on the same version.
    Retry,
    /// An attempt on stable in place of another version.
    Shield,
}

impl Attempt {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 3] = [Self::First, Self::Retry, Self::Shield];

    /// The label that metrics carry.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::Shield => "shield",
        }
    }
}

/// One attempt that ended, as it is recorded on its version's meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Which attempt of its request.
    pub attempt: Attempt,
    /// What became of it.
    pub class: Class,
    /// Whether the gates may judge it: false for forced, mirrored and synthetic requests.
    pub judged: bool,
    /// The endpoint's place in its version; `None` where no endpoint was tried.
    pub endpoint: Option<u16>,
    /// The group of the affinity key, below [`GROUPS`]. Where it is not keyed it says nothing.
    pub group: u8,
    /// Whether it was drawn by an affinity key. Requests drawn at random have a coin each, so whatever their clients do
    /// together falls on both versions by chance: only keyed ones say how bursty clients are.
    pub keyed: bool,
    /// Which of the paths that gates judge by themselves the request is on: bit `n` stands for the `n`-th.
    pub paths: u16,
    /// Microseconds from a ready upstream connection, or from the request's last byte where that was sent later, to the
    /// response head, or to the failure or the client's leaving where there was no head. `None` for upgrades, where no
    /// connection was ready, and where the client left before it had sent all of its request.
    pub latency_us: Option<u64>,
    /// As `latency_us`, but from the ready connection, and to the last byte of the response, or to where it broke off.
    pub total_us: Option<u64>,
}
