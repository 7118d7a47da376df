//! Names that are resolved again while the loop runs.

use std::net::SocketAddr;

use super::*;
use crate::plane::{NameFailing, NameState};

const NAMED: &str = "services: { shop: { stable: v1, \
    versions: { v1: { endpoints: ['127.0.0.1:1'] }, v2: { endpoints: ['shop.internal:80'] } } } }";

fn at(last: &[u8]) -> Arc<[SocketAddr]> {
    last.iter().map(|last| ([10, 0, 0, *last], 80).into()).collect()
}

fn endpoint(text: &str) -> config::Endpoint {
    text.parse().unwrap()
}

fn named(last: &[u8]) -> Resolved {
    let mut resolved = resolved(NAMED);
    resolved.addresses.insert(endpoint("shop.internal:80"), at(last));
    resolved.addresses.insert(endpoint("127.0.0.1:1"), Arc::from([([127, 0, 0, 1], 1).into()]));
    resolved
}

impl Running {
    fn readdress(&self, changed: Addresses) {
        let (reply, done) = oneshot::channel();
        self.handle.commands.send(Command::Readdress { changed, reply }).unwrap();
        in_time(done).unwrap();
    }

    /// What the plane was told of, in order.
    fn changes(&self) -> Vec<(String, usize)> {
        let changes = self.plane.changes.lock();
        changes.iter().flatten().map(|(endpoint, addresses)| (endpoint.to_string(), addresses.len())).collect()
    }
}

#[test]
fn other_addresses_reach_the_plane_and_leave_the_split_and_the_rollout_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::try_start_with(directory.path(), named(&[1])).unwrap();
    let before = running.start_rollout(None).unwrap();
    let split = running.split();
    running.readdress([(endpoint("shop.internal:80"), at(&[1, 2]))].into());
    assert_eq!(running.changes(), [("shop.internal:80".to_owned(), 2)]);
    assert_eq!(running.split(), split);
    let after = running.view().rollout.unwrap();
    assert_eq!(
        (after.id, after.phase, after.weight, after.generation),
        (before.id, before.phase, before.weight, before.generation)
    );
    running.stop();
}

#[test]
fn what_is_in_use_already_or_no_longer_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::try_start_with(directory.path(), named(&[1])).unwrap();
    running.readdress([(endpoint("shop.internal:80"), at(&[1]))].into());
    running.readdress([(endpoint("other.internal:80"), at(&[7]))].into());
    running.readdress([(endpoint("shop.internal:80"), at(&[]))].into());
    assert_eq!(running.changes(), []);
    running.stop();
}

#[test]
fn names_are_shown_with_their_versions_and_one_that_does_not_resolve_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::try_start_with(directory.path(), named(&[1])).unwrap();
    let since = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let failing = NameFailing { reason: "10.0.0.2:53: no answer within 2s".into(), since };
    let state =
        NameState { addresses: Arc::from([[10, 0, 0, 1].into()]), answered: Some(since), failing: Some(failing) };
    *running.plane.names.lock() =
        Names { resolutions: vec![("timeout", 3)], known: [("shop.internal".into(), state)].into() };
    let shown = loop {
        let (view, ended) = (running.view(), running.thread.is_finished());
        if !view.versions[1].names.is_empty() {
            break view;
        }
        assert!(!ended, "the loop has ended");
        thread::park_timeout(Duration::from_millis(10));
    };
    let name = &shown.versions[1].names[0];
    assert_eq!((name.name.as_str(), name.addresses.as_slice()), ("shop.internal", &["10.0.0.1".to_owned()][..]));
    assert_eq!(name.failing_since.as_deref(), Some("2027-01-15T08:00:00Z"));
    assert_eq!(
        shown.warnings,
        [
            "the name shop.internal does not resolve since 2027-01-15T08:00:00Z (10.0.0.2:53: no answer within 2s); the last \
             addresses stay in use"
        ]
    );
    assert!(shown.versions[0].names.is_empty());
    running.stop();
}
