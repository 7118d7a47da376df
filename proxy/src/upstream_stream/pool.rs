//! Connections to endpoints that wait for their next request: those of one core.
//!
//! pingora's own pool tells connections by their file descriptors, and keeps none that it did not make itself. This one
//! costs less as well: no task for each connection that waits, and no look at the socket's address for each that is
//! taken. Once a second, while any waits, all are looked through for those that their endpoint closed or that have
//! waited long enough.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Handle;

/// So many wait at most, for all endpoints of a core together.
const MOST: usize = 1024;
/// How often those that wait are looked through.
const ROUND: Duration = Duration::from_secs(1);

/// The connections of one core that wait.
pub(crate) struct Pool {
    connector: Arc<TransportConnector>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// By what they lead to, the one that has waited longest first.
    waiting: BTreeMap<u64, VecDeque<Waiting>>,
    count: usize,
    /// Somebody looks through them.
    is_swept: bool,
}

struct Waiting {
    stream: Stream,
    until: Instant,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("waiting", &self.idle.lock().count).finish_non_exhaustive()
    }
}

impl Pool {
    /// One where nothing waits. `connector` makes the connections.
    pub(crate) fn new(connector: Arc<TransportConnector>) -> Self {
        Self { connector, idle: Mutex::default() }
    }

    /// What makes connections.
    pub(super) fn connector(&self) -> &TransportConnector {
        &self.connector
    }

    /// A connection that leads there and is still good: the one that waited shortest.
    pub(super) fn take(&self, key: u64) -> Option<Stream> {
        let mut idle = self.idle.lock();
        loop {
            let mut waiting = idle.waiting.get_mut(&key)?.pop_back()?;
            idle.count -= 1;
            if is_quiet(&mut waiting.stream) {
                return Some(waiting.stream);
            }
        }
    }

    /// A connection waits for the next request that leads there, for as long as told.
    pub(super) fn put(self: &Arc<Self>, key: u64, mut stream: Stream, patience: Duration) {
        let now = Instant::now();
        let Some(until) = now.checked_add(patience).filter(|until| *until > now) else { return };
        if !is_quiet(&mut stream) {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.count >= MOST {
            idle.evict();
        }
        idle.waiting.entry(key).or_default().push_back(Waiting { stream, until });
        idle.count += 1;
        if !idle.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            idle.is_swept = true;
            drop(runtime.spawn(keep_sweeping(Arc::downgrade(self))));
        }
    }

    /// Closes what has waited long enough or was closed by its endpoint. Says whether any is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.lock();
        let mut left = 0;
        idle.waiting.retain(|_, waiting| {
            waiting.retain_mut(|one| one.until > now && is_quiet(&mut one.stream));
            left += waiting.len();
            !waiting.is_empty()
        });
        idle.count = left;
        idle.is_swept = left > 0;
        left > 0
    }
}

impl Idle {
    /// Closes the one that would be closed first.
    fn evict(&mut self) {
        let oldest = self.waiting.values_mut().filter(|waiting| !waiting.is_empty());
        let oldest = oldest.min_by_key(|waiting| waiting.front().map(|one| one.until));
        if oldest.and_then(VecDeque::pop_front).is_some() {
            self.count -= 1;
        }
    }
}

async fn keep_sweeping(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(ROUND).await;
        if !pool.upgrade().is_some_and(|pool| pool.sweep(Instant::now())) {
            return;
        }
    }
}

/// Whether nothing has come on a connection on which nothing is awaited: its end neither.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0; 1];
    let read = Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
    matches!(read, Poll::Pending)
}
