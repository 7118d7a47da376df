use super::*;
use meter::MirrorCounts;

use crate::mirror::print::Print;

fn answer(status: u16, grpc: Option<u32>, body: &[u8], coding: Option<&'static str>) -> End {
    let mut print = Print::new();
    print.take(body);
    let coding = coding.map(|coding| (header::CONTENT_ENCODING, http::HeaderValue::from_static(coding)));
    End::Answered(Answer { status, grpc, fields: HeaderMap::from_iter(coding), body: print.printed() })
}

fn plain(status: u16, body: &[u8]) -> End {
    answer(status, None, body, None)
}

fn request() -> RequestHeader {
    RequestHeader::build("GET", b"/cart?id=7", None).unwrap()
}

fn ended(stable: End, canary: End) -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::default());
    let (first, second) = Pair::begin(&request(), GrpcCodes::default(), &ledger);
    first.end(stable);
    assert_eq!(ledger.counts(), MirrorCounts::default(), "one side alone says nothing");
    second.end(canary);
    ledger
}

#[test]
fn two_answers_are_compared_by_status_and_then_by_body() {
    for (stable, canary, comparison) in [
        (plain(200, b"a"), plain(200, b"a"), Comparison::Alike),
        (plain(200, b"a"), plain(200, b"b"), Comparison::Body),
        (plain(200, b""), plain(204, b""), Comparison::Status { failed: false }),
        (plain(200, b"a"), plain(404, b"b"), Comparison::Status { failed: false }),
        (plain(200, b"a"), plain(500, b"b"), Comparison::Status { failed: true }),
        (plain(200, b"a"), End::Failed(Class::Timeout), Comparison::NoAnswer),
        (End::Failed(Class::ServerError), End::Failed(Class::Reset), Comparison::BothFailed),
        (End::Failed(Class::ServerError), plain(503, b""), Comparison::BothFailed),
        (End::Failed(Class::ServerError), plain(200, b""), Comparison::StableFailed),
    ] {
        let shown = format!("{stable:?} {canary:?}");
        let (method, target, errors) = (Method::GET, Uri::default(), GrpcCodes::default());
        let (stable, canary, is_half_over) = (OnceLock::from(stable), OnceLock::from(canary), AtomicBool::default());
        let pair = Pair { method, target, errors, stable, canary, is_half_over };
        assert_eq!(pair.comparison(), Some(comparison), "{shown}");
    }
}

#[test]
fn bodies_that_are_coded_differently_differ() {
    let body = |coding| ended(answer(200, None, b"a", Some("gzip")), answer(200, None, b"a", coding)).counts().body;
    assert_eq!((body(Some("br")), body(None), body(Some("gzip"))), (1, 1, 0));
}

#[test]
fn a_call_is_compared_by_its_code_and_fails_by_it() {
    // Unavailable counts as an error, not found does not.
    let of = |code| ended(answer(200, Some(0), b"", None), answer(200, Some(code), b"", None)).counts();
    assert_eq!((of(14).status, of(14).failed), (1, 1));
    assert_eq!((of(5).status, of(5).failed), (1, 0));
    assert_eq!((of(0).status, of(0).failed), (0, 0));
}

#[test]
fn where_the_client_left_or_the_process_ends_nothing_is_judged() {
    for counts in [
        ended(End::Unknown, plain(500, b"")).counts(),
        ended(plain(200, b""), End::Unknown).counts(),
        ended(End::Unknown, End::Failed(Class::ConnectError)).counts(),
    ] {
        assert_eq!(counts, MirrorCounts::default());
    }
    let ledger = Arc::new(Ledger::default());
    drop(Pair::begin(&request(), GrpcCodes::default(), &ledger));
    assert_eq!(ledger.counts(), MirrorCounts::default());
}

#[test]
fn it_is_judged_once_whichever_side_ends_last() {
    let ledger = Arc::new(Ledger::default());
    for _ in 0..200 {
        let (stable, canary) = Pair::begin(&request(), GrpcCodes::default(), &ledger);
        std::thread::scope(|scope| {
            scope.spawn(|| stable.end(plain(200, b"a")));
            scope.spawn(|| canary.end(plain(200, b"b")));
        });
    }
    let counts = ledger.counts();
    assert_eq!((counts.ended, counts.compared, counts.body), (200, 200, 200));
}

#[test]
fn the_latest_differences_are_kept_and_those_that_are_alike_are_not() {
    let ledger = Arc::new(Ledger::default());
    let end = |stable: End, canary: End| {
        let (first, second) = Pair::begin(&request(), GrpcCodes::default(), &ledger);
        first.end(stable);
        second.end(canary);
    };
    end(plain(200, b"a"), plain(200, b"a"));
    end(End::Failed(Class::Reset), plain(200, b"a"));
    assert!(ledger.samples().is_empty());
    for status in 401..412 {
        end(plain(200, b"stable"), plain(status, b"canary"));
    }
    end(plain(200, b"stable"), End::Failed(Class::Timeout));
    let samples = ledger.samples();
    let statuses: Vec<_> = samples.iter().map(|sample| sample.canary.as_ref().ok().map(|told| told.status)).collect();
    let latest = [None, Some(411), Some(410), Some(409), Some(408), Some(407), Some(406), Some(405)];
    assert_eq!(statuses, latest, "the last one first");
    assert_eq!((samples[0].method.as_str(), samples[0].path.as_str()), ("GET", "/cart"));
    assert_eq!((samples[0].what.word(), samples[0].canary.as_ref().err()), ("failed", Some(&Class::Timeout)));
    let hash = |body: &[u8]| xxhash_rust::xxh3::xxh3_64(body);
    let told = samples[1].canary.as_ref().unwrap();
    assert_eq!((samples[1].stable.body_hash, told.body_hash), (hash(b"stable"), hash(b"canary")));
}

#[test]
fn what_is_kept_of_a_difference_holds_nothing_of_its_version() {
    let ledger = ended(plain(200, b"a"), plain(500, b""));
    assert_eq!((ledger.samples().len(), Arc::strong_count(&ledger)), (1, 1), "or a version that is gone would stay");
}
