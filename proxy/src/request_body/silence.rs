//! Silence within the body of a request over HTTP/2, where pingora waits for ever.
//!
//! (Over HTTP/1.1 the client's stream keeps that time itself: see `client_stream`.) Whoever serves the request looks at
//! the time each time that it has waited in vain. A client that is silent for too long is told so, by way of its
//! endpoint: that connection is ended, and what is waited for fails. Where the connection carries other requests as
//! well, the stream is reset without a word. The client's own connection goes on in either case.

use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::{Sleep, sleep_until};

use super::taker::Taker;
use crate::deadlines;

/// A request that was ended has so long to be answered.
const MOMENT: Duration = Duration::from_secs(1);

tokio::task_local! {
    static PRESENT: Arc<Silence>;
}

/// How long the client of one request has been silent.
#[derive(Debug)]
pub(crate) struct Silence {
    /// For so long it may be.
    longest: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When it is too long; none while nothing is waited for.
    due: Option<Instant>,
    /// The connection to the endpoint, where it carries this request alone.
    fd: Option<RawFd>,
    /// What knows whether the endpoint takes what it is sent.
    taker: Option<Taker>,
    is_over: bool,
    /// It is over for what the endpoint did not take.
    was_untaken: bool,
    /// The request has been answered: nobody needs the rest of its body.
    is_for_nobody: bool,
}

/// How an endpoint takes what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing waits for it.
    Well,
    /// Something waits for it, of which it takes nothing.
    Nothing,
    /// For longer than it may.
    NothingForTooLong,
}

impl Takes {
    fn of(taker: Option<&Taker>, now: Instant) -> Self {
        match taker.filter(|taker| taker.untaken_since().is_some()) {
            None => Self::Well,
            Some(taker) if taker.is_untaken(now) => Self::NothingForTooLong,
            Some(_) => Self::Nothing,
        }
    }
}

/// What comes of a silence that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing: something was said meanwhile, or it is the endpoint that takes nothing.
    Wait,
    /// The request's connection to its endpoint was ended: whoever waits for it will say so.
    Tell,
    /// Nobody is left to say it.
    Leave,
}

impl Silence {
    fn new(longest: Duration) -> Self {
        Self { longest, state: Mutex::default() }
    }

    /// That of the request that this task serves; none where there is nothing to wait for, or another limit holds.
    pub(crate) fn present() -> Option<Arc<Self>> {
        PRESENT.try_with(Arc::clone).ok()
    }

    /// Whether the request was ended for it.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().is_over
    }

    /// Whether that was not for its client's silence, but for its endpoint's.
    pub(crate) fn was_untaken(&self) -> bool {
        self.state.lock().was_untaken
    }

    fn due(&self) -> Option<Instant> {
        self.state.lock().due
    }

    fn wait(&self, fd: Option<RawFd>, taker: Option<Taker>, now: Instant) {
        *self.state.lock() = State { due: now.checked_add(self.longest), fd, taker, ..State::default() };
    }

    /// The request has been answered. Whether its endpoint takes the rest of the body does not matter any more.
    pub(crate) fn is_for_nobody(&self) {
        self.state.lock().is_for_nobody = true;
    }

    /// A piece of the body came: the last one, where it is `whole`.
    pub(crate) fn heard(&self, whole: bool, now: Instant) {
        let mut state = self.state.lock();
        if state.due.is_some() {
            state.due = now.checked_add(self.longest).filter(|_| !whole);
        }
    }

    /// Its time may be over. `takes` tells how an endpoint takes what it is sent, `end` ends its connection.
    fn look(&self, now: Instant, takes: impl Fn(Option<&Taker>) -> Takes, end: impl Fn(RawFd)) -> Then {
        let mut state = self.state.lock();
        if state.due.is_none_or(|due| now < due) {
            return Then::Wait;
        }
        let takes = if state.is_over || state.is_for_nobody { Takes::Well } else { takes(state.taker.as_ref()) };
        match (takes, state.fd) {
            (Takes::Nothing, _) | (Takes::NothingForTooLong, Some(_)) => {
                // Its client may be waiting for it.
                state.due = now.checked_add(self.longest);
                Then::Wait
            }
            (Takes::NothingForTooLong, None) => {
                (state.is_over, state.was_untaken) = (true, true);
                Then::Leave
            }
            (Takes::Well, Some(fd)) if !state.is_over => {
                state.is_over = true;
                state.due = now.checked_add(MOMENT);
                end(fd);
                Then::Tell
            }
            (Takes::Well, Some(_) | None) => {
                state.is_over = true;
                Then::Leave
            }
        }
    }
}

/// An attempt waits for the client's body; no more when this is dropped, which is before its connection is closed or
/// given back.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Silence>);

impl Waiting {
    /// Begins to wait. `fd`: the connection to the endpoint, where it carries this request alone.
    pub(crate) fn begin(silence: &Arc<Silence>, fd: Option<RawFd>, taker: Option<Taker>, now: Instant) -> Self {
        silence.wait(fd, taker, now);
        Self(Arc::clone(silence))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        (state.due, state.fd, state.taker) = (None, None, None);
    }
}

/// Serves a request, as long as its client is not silent for too long.
#[derive(Debug)]
pub(crate) struct Listening<F> {
    serving: Pin<Box<TaskLocalFuture<Arc<Silence>, F>>>,
    silence: Arc<Silence>,
    /// Made when it is first needed.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Listening<F> {
    pub(crate) fn new(serving: F, longest: Duration) -> Self {
        let silence = Arc::new(Silence::new(longest));
        let serving = Box::pin(PRESENT.scope(Arc::clone(&silence), serving));
        Self { serving, silence, alarm: None }
    }
}

impl<T, F: Future<Output = Option<T>>> Future for Listening<F> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        loop {
            if let Poll::Ready(served) = this.serving.as_mut().poll(cx) {
                return Poll::Ready(served);
            }
            let Some(due) = this.silence.due() else { return Poll::Pending };
            let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
            if alarm.deadline() != due.into() {
                alarm.as_mut().reset(due.into());
            }
            ready!(alarm.as_mut().poll(cx));
            let now = Instant::now();
            match this.silence.look(now, |taker| Takes::of(taker, now), deadlines::end) {
                Then::Wait | Then::Tell => {}
                // Dropped with this: its stream is reset.
                Then::Leave => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What a look comes to, and which connections it ends.
    fn look(silence: &Silence, now: Instant, takes: Takes) -> (Then, Vec<RawFd>) {
        let ended = RefCell::new(Vec::new());
        let then = silence.look(now, |_| takes, |fd| ended.borrow_mut().push(fd));
        (then, ended.into_inner())
    }

    #[test]
    fn whoever_is_silent_for_too_long_is_told_and_then_left() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let silence = Arc::new(Silence::new(Duration::from_secs(5)));
        assert_eq!(look(&silence, at(100), Takes::Well), (Then::Wait, vec![]), "nothing is waited for yet");
        let waiting = Waiting::begin(&silence, Some(7), None, now);
        assert_eq!(look(&silence, at(4), Takes::Well), (Then::Wait, vec![]));
        silence.heard(false, at(4));
        assert_eq!(look(&silence, at(8), Takes::Well), (Then::Wait, vec![]));
        assert_eq!(look(&silence, at(9), Takes::Well), (Then::Tell, vec![7]));
        assert!(silence.is_over());
        assert_eq!(look(&silence, at(10), Takes::Well), (Then::Leave, vec![]));
        drop(waiting);
        assert_eq!(silence.due(), None);
    }

    #[test]
    fn a_client_whose_endpoint_takes_nothing_is_not_the_one_that_is_silent() {
        let now = Instant::now();
        let silence = Arc::new(Silence::new(Duration::from_secs(5)));
        let _waiting = Waiting::begin(&silence, Some(7), None, now);
        let late = now + Duration::from_secs(5);
        assert_eq!(look(&silence, late, Takes::Nothing), (Then::Wait, vec![]));
        assert_eq!(silence.due(), Some(late + Duration::from_secs(5)));
        assert!(!silence.is_over());
    }

    #[test]
    fn after_the_last_piece_nothing_is_waited_for() {
        let now = Instant::now();
        let silence = Arc::new(Silence::new(Duration::from_secs(5)));
        let _waiting = Waiting::begin(&silence, None, None, now);
        silence.heard(true, now);
        assert_eq!(silence.due(), None);
        // Trailers may follow it.
        silence.heard(true, now);
        assert_eq!(silence.due(), None);
    }

    #[test]
    fn an_endpoint_that_takes_nothing_for_too_long_is_left_where_nobody_else_can_end_it() {
        let now = Instant::now();
        for (fd, wanted) in [(Some(7), Then::Wait), (None, Then::Leave)] {
            let silence = Arc::new(Silence::new(Duration::from_secs(5)));
            let _waiting = Waiting::begin(&silence, fd, None, now);
            let (then, ended) = look(&silence, now + Duration::from_secs(5), Takes::NothingForTooLong);
            assert_eq!((then, ended, silence.was_untaken()), (wanted, vec![], fd.is_none()));
        }
    }

    #[test]
    fn a_connection_that_carries_others_is_left_alone() {
        let now = Instant::now();
        let silence = Arc::new(Silence::new(Duration::from_secs(5)));
        let _waiting = Waiting::begin(&silence, None, None, now);
        assert_eq!(look(&silence, now + Duration::from_secs(5), Takes::Well), (Then::Leave, vec![]));
    }
}
