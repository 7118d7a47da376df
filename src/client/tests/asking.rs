//! Commands that ask once, and servers that are not there.

use std::net::TcpListener;
use std::thread;

use expect_test::expect;

use super::*;

#[test]
fn a_refusal_says_why_and_nothing_is_printed() {
    let refused = World::new().refused("status shpo");
    assert_eq!(refused, "refused: there is no service \"shpo\"; did you mean \"shop\"?; the services are shop");
}

#[test]
fn an_action_reaches_the_control_loop_with_its_reason() {
    let world = World::new();
    let (ended, out) = world.run("rollout pause shop --reason lunch");
    assert_eq!(ended.unwrap(), Exit::Done);
    assert!(out.starts_with("shop: paused\nrollout of v2 (plan default): paused, step 2 of 4"), "{out}");
    assert_eq!(world.asked.recv().unwrap(), "pause shop lunch");
    for action in Action::ALL {
        let (ended, out) = world.run(&format!("rollout {} shop --json", action.word()));
        assert_eq!(ended.unwrap(), Exit::Done);
        assert_eq!(serde_json::from_str::<RolloutView>(&out).unwrap(), rollout(Phase::Paused));
        assert_eq!(world.asked.recv().unwrap(), format!("{} shop -", action.word()));
    }
}

#[test]
fn a_rollout_is_started_with_its_plan_and_reason() {
    let world = World::new();
    let (ended, out) = world.run("rollout start shop --canary v2 --plan slow --reason release");
    assert_eq!(ended.unwrap(), Exit::Done);
    assert!(out.starts_with("shop: started\n"), "{out}");
    assert_eq!(world.asked.recv().unwrap(), "start shop v2 slow release");
}

#[test]
fn a_weight_is_set_by_hand_and_a_moved_generation_is_told() {
    let world = World::new();
    assert_eq!(world.run("weight shop v2=0.25% --reason look").0.unwrap(), Exit::Done);
    assert_eq!(world.asked.recv().unwrap(), "weight shop v2 0.25% look");
    assert_eq!(world.run("weight shop 10% --json").0.unwrap(), Exit::Done);
    assert_eq!(world.asked.recv().unwrap(), "weight shop - 10% -");
    let refused = world.refused("weight shop 10% --if-generation 41");
    assert_eq!(refused, "refused: the generation moved (present generation: 42)");
}

#[test]
fn a_reload_prints_every_problem() {
    expect![[r#"
        refused: the configuration has problems, nothing was changed
        a.yaml:3:5: services.shop: missing
        a.yaml:9:1: sate: unknown"#]]
    .assert_eq(&World::new().refused("reload"));
}

#[test]
fn a_probe_needs_no_token_and_fails_where_the_server_is_not_ready() {
    let mut world = World::new();
    let bare = Connection::new(world.url.clone(), None);
    assert!(bare.probe("/readyz").is_ok());
    assert!(bare.get::<Value>("/api/v1/services").unwrap_err().to_string().contains("TIDEGATE_TOKEN"));
    world.snapshot.store(Arc::new(Snapshot::default()));
    assert!(world.refused("healthcheck").starts_with("refused: "));
    world.stop();
    assert!(world.refused("healthcheck").starts_with("cannot reach the control API at http://127.0.0.1:"));
}

#[test]
fn a_server_that_is_not_there_is_named_with_the_way_to_another() {
    let mut world = World::new();
    world.stop();
    let url = world.url.clone();
    assert_eq!(
        world.refused("status"),
        format!(
            "cannot reach the control API at {url}: connection refused; is the server running? Another address: \
             --admin URL or TIDEGATE_ADMIN"
        )
    );
}

#[test]
fn a_server_that_takes_the_connection_and_says_nothing_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: AdminUrl = listener.local_addr().unwrap().to_string().parse().unwrap();
    let failure = Connection::new(url.clone(), None).probe("/readyz").unwrap_err().to_string();
    assert!(failure.starts_with(&format!("the control API at {url} gave no answer in time: ")), "{failure}");
    drop(listener);
}

#[test]
fn somebody_else_on_the_admin_address_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: AdminUrl = listener.local_addr().unwrap().to_string().parse().unwrap();
    let other = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    });
    let failure = Connection::new(url, None).get::<Value>("/api/v1/services").unwrap_err();
    assert!(failure.to_string().contains("is no control API"), "{failure}");
    other.join().unwrap();
}
