//! Connections to endpoints that wait for their next request: those of one core.
//!
//! pingora's own pool tells connections by their file descriptors, and keeps none that it did not make itself. This one
//! costs less as well: no task for each connection that waits, and no look at the socket's address for each that is
//! taken. Once a second, while any waits, all are looked through for those that their endpoint closed or that have
//! waited long enough.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora_core::connectors::TransportConnector;
use tokio::runtime::Handle;

use super::line::Line;

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
    line: Line,
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
    pub(crate) fn connector(&self) -> &TransportConnector {
        &self.connector
    }

    /// A connection that leads there and is still good: the one that waited shortest.
    pub(super) fn take(&self, key: u64, now: Instant) -> Option<Line> {
        let mut idle = self.idle.lock();
        loop {
            let mut waiting = idle.waiting.get_mut(&key)?.pop_back()?;
            idle.count -= 1;
            if waiting.until > now && waiting.line.is_quiet() {
                return Some(waiting.line);
            }
        }
    }

    /// How many wait that lead there.
    pub(crate) fn waiting(&self, key: u64) -> usize {
        self.idle.lock().waiting.get(&key).map_or(0, VecDeque::len)
    }

    /// A connection waits for the next request that leads there, for as long as told.
    pub(crate) fn put(self: &Arc<Self>, key: u64, mut line: Line, patience: Duration) {
        let now = Instant::now();
        let Some(until) = now.checked_add(patience).filter(|until| *until > now) else { return };
        if !line.is_quiet() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.count >= MOST {
            let _ = idle.evict();
        }
        idle.waiting.entry(key).or_default().push_back(Waiting { line, until });
        idle.count += 1;
        if !idle.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            idle.is_swept = true;
            drop(runtime.spawn(keep_sweeping(Arc::downgrade(self))));
        }
    }

    /// Closes the connection that would be closed first, so that its descriptor is free. False where none waits.
    pub(super) fn make_room(&self) -> bool {
        self.idle.lock().evict()
    }

    /// Closes what has waited long enough or was closed by its endpoint. Says whether any is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.lock();
        let mut left = 0;
        idle.waiting.retain(|_, waiting| {
            waiting.retain_mut(|one| one.until > now && one.line.is_quiet());
            left += waiting.len();
            !waiting.is_empty()
        });
        idle.count = left;
        idle.is_swept = left > 0;
        left > 0
    }
}

impl Idle {
    /// Closes the one that would be closed first; false where there is none.
    fn evict(&mut self) -> bool {
        let oldest = self.waiting.values_mut().filter(|waiting| !waiting.is_empty());
        let oldest = oldest.min_by_key(|waiting| waiting.front().map(|one| one.until));
        let is_any = oldest.and_then(VecDeque::pop_front).is_some();
        self.count -= usize::from(is_any);
        is_any
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use pingora_core::protocols::Stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const LONG: Duration = Duration::from_secs(60);

    fn pool() -> Arc<Pool> {
        Arc::new(Pool::new(Arc::new(TransportConnector::new(None))))
    }

    fn take(pool: &Pool, key: u64) -> Option<Line> {
        pool.take(key, Instant::now())
    }

    /// A connection, and its endpoint's side.
    fn connection() -> (Line, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Line::from(Box::new(ours) as Stream), theirs)
    }

    #[tokio::test]
    async fn the_connection_that_waited_shortest_is_taken_and_only_for_what_it_leads_to() {
        let pool = pool();
        let (mut endpoints, mut byte) = (Vec::new(), [0]);
        for _ in 0..2 {
            let (ours, theirs) = connection();
            pool.put(1, ours, LONG);
            endpoints.push(theirs);
        }
        assert!(take(&pool, 2).is_none());
        let mut taken = take(&pool, 1).unwrap();
        poll_fn(|cx| taken.poll_write(cx, b"x")).await.unwrap();
        endpoints[1].read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"x");
        assert!(take(&pool, 1).is_some() && take(&pool, 1).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_ended_or_on_which_something_came_is_not_taken() {
        let pool = pool();
        let (ours, ended) = connection();
        pool.put(1, ours, LONG);
        drop(ended);
        let (ours, mut talking) = connection();
        pool.put(1, ours, LONG);
        talking.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        assert!(take(&pool, 1).is_none());
        // Nor is it kept in the first place.
        let (ours, ended) = connection();
        drop(ended);
        pool.put(1, ours, LONG);
        assert_eq!(pool.idle.lock().count, 0);
    }

    #[tokio::test]
    async fn a_connection_that_has_waited_long_enough_is_not_taken_before_anybody_has_looked() {
        let pool = pool();
        let ((long, _long_end), (short, mut short_end)) = (connection(), connection());
        pool.put(1, long, LONG);
        pool.put(1, short, Duration::from_secs(1));
        let then = Instant::now() + Duration::from_secs(2);
        assert!(pool.take(1, then).is_some());
        assert_eq!(short_end.read(&mut [0]).await.unwrap(), 0, "closed");
        assert!(pool.take(1, then).is_none());
    }

    #[tokio::test]
    async fn what_has_waited_long_enough_or_ended_is_closed_and_the_rest_is_not() {
        let pool = pool();
        let ((short, mut short_end), (long, _long_end), (ended, end)) = (connection(), connection(), connection());
        pool.put(1, short, Duration::from_secs(1));
        pool.put(1, long, LONG);
        pool.put(2, ended, LONG);
        drop(end);
        let now = Instant::now();
        assert!(pool.sweep(now + Duration::from_secs(2)));
        assert_eq!(short_end.read(&mut [0]).await.unwrap(), 0, "closed");
        assert_eq!(pool.idle.lock().waiting.keys().collect::<Vec<_>>(), [&1]);
        assert!(take(&pool, 1).is_some() && take(&pool, 1).is_none());
        assert!(!pool.sweep(now), "nobody needs to look again");
    }

    #[tokio::test]
    async fn no_more_wait_than_may_and_the_one_that_waited_longest_makes_room() {
        let pool = pool();
        let mut endpoints = Vec::new();
        for place in 0..=MOST {
            let (ours, theirs) = connection();
            pool.put(place as u64 % 7, ours, LONG);
            endpoints.push(theirs);
        }
        assert_eq!(pool.idle.lock().count, MOST);
        assert_eq!(endpoints[0].read(&mut [0]).await.unwrap(), 0, "closed");
        let quiet = endpoints[1..].iter_mut().map(|end| tokio::time::timeout(Duration::ZERO, end.read_u8()));
        for end in quiet {
            assert!(end.await.is_err(), "still open");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_any_waits_somebody_looks_for_those_that_ended() {
        let pool = pool();
        let (ours, theirs) = connection();
        pool.put(1, ours, LONG);
        drop(theirs);
        tokio::time::timeout(ROUND * 2, async {
            while pool.idle.lock().count > 0 {
                tokio::time::sleep(ROUND / 10).await;
            }
        })
        .await
        .unwrap();
        assert!(!pool.idle.lock().is_swept);
    }

    #[tokio::test]
    async fn a_connection_that_may_not_wait_is_closed() {
        let pool = pool();
        let (ours, mut theirs) = connection();
        pool.put(1, ours, Duration::ZERO);
        assert_eq!(pool.waiting(1), 0);
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
    }
}
