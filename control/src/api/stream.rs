//! `/events`: what happens, as server-sent events.
//!
//! A reader first gets what is kept since its `Last-Event-ID` (all that is kept, without one), then what follows. One
//! that falls behind is told what it lost in an event of kind `lost`, and goes on with the oldest that is left.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response, sse};
use futures::stream;
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Api;
use super::connections::stopped;
use super::problem::{Kind, Problem};
use super::routes::Named;
use crate::events::EventLog;
use crate::view::Event;

/// How many may read events at once. Fewer than connections, so that readers never shut out a change.
pub(super) const READERS: usize = 64;
/// A comment is sent after this long without an event, so that both ends learn of a broken connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /events`.
pub(super) async fn all(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    open(&api, &headers, None)
}

/// `GET /services/{service}/events`.
pub(super) async fn of_service(
    State(api): State<Api>,
    Named(service): Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.service(service.as_str())?;
    open(&api, &headers, Some(service.as_str().to_owned()))
}

fn open(api: &Api, headers: &HeaderMap, service: Option<String>) -> Result<Response, Problem> {
    let last_id = last_event_id(headers)?;
    let seat = Arc::clone(&api.readers).try_acquire_owned().map_err(|_| {
        Problem::new(Kind::TooManyReaders, format!("{READERS} event streams are open already; close one, or try later"))
    })?;
    let reader = Reader::new(&api.handle.events, last_id, service, api.stopping.clone());
    let events = stream::unfold((reader, seat), |(mut reader, seat): (Reader, OwnedSemaphorePermit)| async move {
        let sent = reader.next().await?;
        Some((Ok::<_, Infallible>(sent.into_event()), (reader, seat)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    match value.to_str().ok().map(str::trim) {
        Some("") => Ok(None),
        Some(text) if text.parse::<u64>().is_ok() => Ok(text.parse().ok()),
        Some(_) | None => {
            Err(Problem::new(Kind::Malformed, "Last-Event-ID is not an id of ours: it is the whole number after id:"))
        }
    }
}

/// What a reader is sent.
#[derive(Debug, PartialEq)]
enum Sent {
    /// The stream is open. Without it a proxy in between might hold back the response's head.
    Opened,
    /// Something happened.
    Happened(Arc<Event>),
    /// So many events of all services were overwritten before this reader took them.
    Lagged(u64),
    /// Events after the first id and before the second are not kept any more.
    NotKept(u64, u64),
}

impl Sent {
    fn into_event(self) -> sse::Event {
        match self {
            Self::Opened => sse::Event::default().comment("open").retry(Duration::from_secs(1)),
            Self::Happened(event) => {
                // A view of plain fields always serialises; were it not so, the reader still gets the sentence.
                let data = serde_json::to_string(&event).unwrap_or_else(|_| json!({ "text": event.text }).to_string());
                let kind: String = event.kind.chars().filter(|c| !c.is_control()).collect();
                sse::Event::default().id(event.id.to_string()).event(kind).data(data)
            }
            Self::Lagged(lost) => {
                let text = format!("{lost} events were lost: this reader was too slow");
                sse::Event::default().event("lost").data(json!({ "lost": lost, "text": text }).to_string())
            }
            Self::NotKept(after, before) => {
                let text = format!("events after {after} and before {before} are no longer kept");
                let data = json!({ "lost": null, "after": after, "before": before, "text": text });
                sse::Event::default().event("lost").data(data.to_string())
            }
        }
    }
}

struct Reader {
    ready: VecDeque<Sent>,
    live: broadcast::Receiver<Arc<Event>>,
    service: Option<String>,
    stopping: watch::Receiver<bool>,
}

impl Reader {
    fn new(log: &EventLog, last_id: Option<u64>, service: Option<String>, stopping: watch::Receiver<bool>) -> Self {
        let (kept, live) = log.follow(None);
        let mut ready = VecDeque::from([Sent::Opened]);
        let newest = kept.last().map_or(0, |event| event.id);
        // An id from the future was given by a process that is no more: nothing that is kept here was seen.
        let last_id = last_id.filter(|id| *id <= newest || kept.is_empty());
        if let (Some(last), Some(oldest)) = (last_id, kept.first())
            && oldest.id > last.saturating_add(1)
        {
            ready.push_back(Sent::NotKept(last, oldest.id));
        }
        let mut reader = Self { ready, live, service, stopping };
        for event in kept {
            if last_id.is_none_or(|last| event.id > last) && reader.wants(&event) {
                reader.ready.push_back(Sent::Happened(event));
            }
        }
        reader
    }

    fn wants(&self, event: &Event) -> bool {
        self.service.is_none() || self.service == event.service
    }

    /// The next to send; `None` when the server stops or the log is gone.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let received = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => return None,
                received = self.live.recv() => received,
            };
            match received {
                Ok(event) if self.wants(&event) => return Some(Sent::Happened(event)),
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => return Some(Sent::Lagged(lost)),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use tokio::task::unconstrained;

    fn event(id: u64, service: &str) -> Event {
        Event {
            id,
            at: "2026-11-22T01:20:00Z".into(),
            service: Some(service.into()),
            kind: "weight".into(),
            text: String::new(),
            rollout: None,
        }
    }

    /// A reader, and what keeps its server running.
    fn reader(log: &EventLog, last_id: Option<u64>, service: Option<&str>) -> (Reader, watch::Sender<bool>) {
        let (server, stopping) = watch::channel(false);
        (Reader::new(log, last_id, service.map(str::to_owned), stopping), server)
    }

    /// What can be sent without waiting, after the opening; an event by its id.
    fn sent(reader: &mut Reader) -> Vec<Result<u64, Sent>> {
        let mut all = Vec::new();
        // Unconstrained: the runtime would otherwise make a long run of ready events wait.
        while let Some(Some(sent)) = unconstrained(reader.next()).now_or_never() {
            match sent {
                Sent::Happened(event) => all.push(Ok(event.id)),
                Sent::Opened => {}
                lost @ (Sent::Lagged(_) | Sent::NotKept(..)) => all.push(Err(lost)),
            }
        }
        all
    }

    #[tokio::test]
    async fn a_reader_that_resumes_gets_what_it_missed_and_then_what_follows() {
        let log = EventLog::default();
        (0..3).for_each(|_| log.append(event(7, "shop")));
        let (mut reader, _server) = reader(&log, Some(7), None);
        assert_eq!(sent(&mut reader), [Ok(8), Ok(9)]);
        log.append(event(0, "shop"));
        assert_eq!(sent(&mut reader), [Ok(10)]);
    }

    #[tokio::test]
    async fn a_reader_of_one_service_gets_that_services_events_alone() {
        let log = EventLog::default();
        ["shop", "mail", "shop"].iter().for_each(|service| log.append(event(1, service)));
        let (mut reader, _server) = reader(&log, None, Some("shop"));
        assert_eq!(sent(&mut reader), [Ok(1), Ok(3)]);
        log.append(event(0, "mail"));
        assert_eq!(sent(&mut reader), []);
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_told_how_many_it_lost() {
        let log = EventLog::default();
        let (mut reader, _server) = reader(&log, None, None);
        (0..1_030).for_each(|_| log.append(event(1, "shop")));
        let all = sent(&mut reader);
        assert_eq!(all[0], Err(Sent::Lagged(6)));
        assert_eq!(all[1], Ok(7));
        assert_eq!(all.len(), 1_025);
    }

    #[tokio::test]
    async fn a_reader_that_resumes_too_late_is_told_what_is_no_longer_kept() {
        let log = EventLog::default();
        (0..1_030).for_each(|_| log.append(event(1, "shop")));
        let (mut reader, _server) = reader(&log, Some(3), None);
        let all = sent(&mut reader);
        assert_eq!(all[..2], [Err(Sent::NotKept(3, 7)), Ok(7)]);
    }

    #[tokio::test]
    async fn an_id_that_was_never_given_out_resumes_at_the_oldest() {
        let log = EventLog::default();
        (0..2).for_each(|_| log.append(event(1, "shop")));
        let (mut reader, _server) = reader(&log, Some(99), None);
        assert_eq!(sent(&mut reader), [Ok(1), Ok(2)]);
    }
}
