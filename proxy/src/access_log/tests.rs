use super::*;

use std::fs;
use std::path::Path;
use std::time::Instant;

use config::Fraction;
use proptest::prelude::*;
use serde_json::Value;

const LONG: Duration = Duration::from_secs(20);

fn rules(to: LogTarget) -> Rules {
    let sample = Fraction::new(1.0).unwrap();
    Rules { access_log: Some(config::AccessLog { to, sample }), ..Rules::default() }
}

fn to_file(path: &Path) -> Rules {
    rules(LogTarget::File(path.to_owned()))
}

fn line(path: &str) -> Line<'_> {
    Line { method: "GET", path, ..Line::default() }
}

fn text(line: &Line<'_>) -> String {
    let mut text = Vec::new();
    line.write(&mut text);
    String::from_utf8(text).unwrap()
}

fn parsed(line: &Line<'_>) -> Value {
    let text = text(line);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The paths of the lines in a file, once there are so many.
fn paths(file: &Path, count: usize) -> Vec<String> {
    let until = Instant::now() + LONG;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.is_empty());
        let paths =
            lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["url.path"].as_str().unwrap().to_owned());
        let paths: Vec<_> = paths.collect();
        if paths.len() >= count {
            return paths;
        }
        assert!(Instant::now() < until, "{} holds {paths:?}", file.display());
        thread::yield_now();
    }
}

#[test]
fn lines_reach_the_file_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = AccessLog::default();
    log.prepare(&to_file(&file)).unwrap();
    log.follow(&to_file(&file));
    let sent: Vec<_> = (0..1_000).map(|n| format!("/{n}")).collect();
    for path in &sent {
        log.write(&line(path));
    }
    assert_eq!(paths(&file, 1_000), sent);
    assert_eq!(log.dropped(), 0);
}

#[test]
fn after_a_move_and_a_reopening_lines_go_to_a_new_file_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (file, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = AccessLog::default();
    log.follow(&to_file(&file));
    log.write(&line("/before"));
    assert_eq!(paths(&file, 1), ["/before"]);
    fs::rename(&file, &moved).unwrap();
    log.write(&line("/moved"));
    log.reopen();
    log.write(&line("/after"));
    assert_eq!(paths(&file, 1), ["/after"]);
    assert_eq!(paths(&moved, 2), ["/before", "/moved"]);
}

#[test]
fn another_target_gets_the_lines_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let log = AccessLog::default();
    log.follow(&to_file(&one));
    log.write(&line("/1"));
    log.follow(&to_file(&two));
    log.write(&line("/2"));
    log.follow(&to_file(&two));
    log.write(&line("/3"));
    assert_eq!(paths(&two, 2), ["/2", "/3"]);
    assert_eq!(paths(&one, 1), ["/1"]);
    log.follow(&Rules::default());
    log.end(LONG);
    assert_eq!(paths(&two, 2), ["/2", "/3"]);
}

#[test]
fn at_the_end_what_waits_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = AccessLog::default();
    log.follow(&to_file(&file));
    log.write(&line("/last"));
    log.end(LONG);
    assert!(fs::read_to_string(&file).unwrap().contains("/last"));
    log.write(&line("/too-late"));
    assert_eq!(log.dropped(), 1, "nobody writes any more");
}

#[test]
fn what_cannot_be_a_log_is_refused_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| AccessLog::default().prepare(&to_file(path)).unwrap_err().to_string();
    let missing = folder.path().join("no/such/access.log");
    let said = refusal(&missing);
    assert!(
        said.starts_with(&format!("access_log: cannot write to {}: there is no folder", missing.display())),
        "{said}"
    );
    assert!(refusal(folder.path()).contains("it is a folder"), "{}", refusal(folder.path()));
    // The same is said beforehand, and nothing is created.
    for path in [missing.as_path(), folder.path()] {
        assert_eq!(check(&to_file(path)).unwrap_err().to_string(), refusal(path));
    }
    let good = folder.path().join("access.log");
    assert!(check(&to_file(&good)).is_ok() && !good.exists());
    assert!(check(&Rules::default()).is_ok());
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(refusal(&pipe).contains("write it to stdout"), "{}", refusal(&pipe));
}

#[test]
fn a_full_disk_costs_lines_which_are_counted_and_the_log_goes_on_when_it_can() {
    let log = AccessLog::default();
    // It takes nothing, like a disk without room.
    log.follow(&to_file(Path::new("/dev/full")));
    log.write(&line("/1"));
    log.write(&line("/2"));
    let until = Instant::now() + LONG;
    while log.dropped() < 2 {
        assert!(Instant::now() < until, "{} were counted", log.dropped());
        thread::yield_now();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    log.follow(&to_file(&file));
    log.write(&line("/3"));
    assert_eq!(paths(&file, 1), ["/3"]);
    assert_eq!(log.dropped(), 2);
}

#[test]
fn where_nobody_writes_lines_are_dropped_and_counted_and_memory_stays_bounded() {
    // Its writer never comes to it: no target, and no thread.
    let log = AccessLog::default();
    let path = "/".repeat(4 << 10);
    let (long, mut written) = (line(&path), 0);
    while log.dropped() < 100 {
        log.write(&long);
        written += 1;
    }
    let kept = log.0.waiting.lock().lines.len();
    assert!(kept <= ROOM && kept > ROOM - (4 << 10), "{kept} bytes");
    assert_eq!(kept / text(&long).len() + 100, written);
}

#[test]
fn a_writer_that_is_waited_for_is_asked_for_no_more_than_a_few_things() {
    // Its writer never comes to it.
    let log = AccessLog::default();
    (0..100).for_each(|_| log.reopen());
    assert_eq!(log.0.waiting.lock().turns.len(), 16);
}

#[test]
fn a_share_of_none_and_of_all_are_what_they_say() {
    assert!((0..1_000).all(|_| is_sampled(1.0) && !is_sampled(0.0)));
    let half = (0..10_000).filter(|_| is_sampled(0.5)).count();
    // Nine standard deviations.
    assert!((4_550..5_450).contains(&half), "{half}");
}

/// A line that has every field.
fn whole_line(endpoint: &config::Endpoint) -> Line<'_> {
    Line {
        began: Duration::new(1_795_330_251, 731_042_000),
        lasted: Duration::from_nanos(8_412_077),
        source: Some([10, 0, 0, 7].into()),
        client: Some([203, 0, 113, 9].into()),
        method: "GET",
        domain: "shop.example.com",
        path: "/cart",
        query: Some("id=7"),
        http: Some("1.1"),
        request_bytes: 0,
        status: Some(200),
        response_bytes: 1_520,
        user_agent: Some(b"curl/8.14.1"),
        id: Some(b"f058ebd6-02f7"),
        tls: Some(("1.3", "TLS_AES_256_GCM_SHA384")),
        trace: Some(crate::trace::Trace::of(&{
            let mut request = pingora_http::RequestHeader::build("GET", b"/", None).unwrap();
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            request.insert_header("traceparent", parent).unwrap();
            request
        }))
        .map(|trace| trace.id),
        seen: crate::request::Seen {
            lasted: Duration::from_nanos(8_412_077),
            class: Some(meter::Class::Success),
            service: Some("shop"),
            drawn: Some("v2"),
            version: Some("v1"),
            decision: Some("shield"),
            weight: Some(500),
            attempts: 2,
            endpoint: Some(endpoint),
            ended: None,
            upstream_us: Some(7_904),
            why: Some("there is more than one Content-Length header"),
        },
    }
}

/// The section on the access log.
fn section() -> &'static str {
    let text = include_str!("../../../docs/operating.md");
    let (_, from) = text.split_once("\n## Access log\n").unwrap();
    from.split_once("\n## ").unwrap().0
}

fn names(value: &Value) -> Vec<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_line_that_operating_md_shows_is_one_that_is_written() {
    let endpoint = "10.0.0.1:8080".parse().unwrap();
    let written = text(&whole_line(&endpoint));
    let (_, block) = section().split_once("```json\n").unwrap();
    let (shown, _) = block.split_once("```").unwrap();
    assert_eq!(shown, written);
}

#[test]
fn operating_md_describes_every_field_and_no_other() {
    let endpoint = "10.0.0.1:8080".parse().unwrap();
    let whole = whole_line(&endpoint);
    // One that is ended has one more.
    let ended = Line { seen: crate::request::Seen { ended: Some("version-left"), ..whole.seen }, ..whole };
    let mut written = names(&parsed(&ended));
    let rows = section().lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split_once(" |").map(|(cell, _)| cell));
    let mut described: Vec<String> =
        cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect();
    written.sort();
    described.sort();
    assert_eq!(described, written);
}

#[test]
fn fields_that_say_nothing_are_left_out() {
    let bare = parsed(&Line::unread(Some(400), None, Some([127, 0, 0, 1].into()), Duration::from_secs(1)));
    assert_eq!(
        bare,
        serde_json::json!({
            "@timestamp": "1970-01-01T00:00:01.000000Z",
            "ecs.version": "8.11",
            "event.duration": 0,
            "event.outcome": "success",
            "source.address": "127.0.0.1",
            "client.ip": "127.0.0.1",
            "http.response.status_code": 400,
            "http.response.body.bytes": 0,
            "tidegate.class": "local",
        })
    );
}

#[test]
fn a_line_is_safe_on_a_terminal_and_a_long_value_is_cut_at_a_character() {
    let odd = Line { user_agent: Some(b"\x1b[31m\x07\xc2\x9b\x7f\n\xff\"\\"), ..line("/") };
    let written = text(&odd);
    assert!(written.contains(r#""\u001b[31m\u0007\u009b\u007f\n\ufffd\"\\""#), "{written}");
    for filler in ["ä", "€", "😀", "x"] {
        let long = filler.repeat(3_000);
        let value = parsed(&Line { user_agent: Some(long.as_bytes()), ..line("/") });
        let cut = value["user_agent.original"].as_str().unwrap();
        let kept = cut.strip_suffix('…').unwrap();
        assert!(long.starts_with(kept) && kept.len() <= 2_048 && kept.len() > 2_044, "{filler}: {}", kept.len());
    }
}

proptest! {
    #[test]
    fn a_line_is_valid_json_on_one_line_whatever_a_client_sends(
        path in any::<String>(),
        agent in prop::collection::vec(any::<u8>(), 0..3_000),
        id in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
    ) {
        let line = Line { user_agent: Some(&agent), id: id.as_deref(), ..line(&path) };
        let value = parsed(&line);
        prop_assert!(path.len() > 2_048 || value["url.path"].as_str() == Some(&path));
        prop_assert!(agent.len() > 2_048 || value["user_agent.original"].as_str() == Some(&*String::from_utf8_lossy(&agent)));
        let bare = text(&line);
        prop_assert!(bare.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{}", bare);
    }
}
