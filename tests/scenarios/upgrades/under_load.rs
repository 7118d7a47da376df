//! Many upgrades in a row under load of every kind: nothing fails, and the rollout goes on.

use std::net::SocketAddr;

use control::view::Phase;
use loadtest::{Load, Protocol, failures};

use super::clients::Client;
use super::{pid, upgrade};
use crate::authority::Authority;
use crate::edge::{address, head, listener};
use crate::page::PageOrigin;
use crate::patience::until_true;
use crate::process::{Signal, runs, send};
use crate::shop::{Place, origin, shop};

/// So many in a row.
const UPGRADES: usize = 20;
/// So many connections at least are opened meanwhile.
const CONNECTIONS: u64 = 10_000;

#[test]
#[expect(clippy::print_stderr, reason = "the figures are what is looked for")]
fn twenty_upgrades_in_a_row_under_load_fail_nothing_and_the_rollout_and_its_evidence_go_on() {
    let (v1, v2, sockets, place) = (origin("v1"), origin("v2"), PageOrigin::start("v1"), Place::new());
    let ca = Authority::new(&place);
    ca.write("shop", &["shop.test"]);
    let addresses = |v1: SocketAddr, v2: SocketAddr| {
        shop("v1", &[("v1", &[v1]), ("v2", &[v2])], "{ alpha: 0.1%, steps: [{ weight: 20%, hold: 1h }] }")
    };
    // WebSockets go to an origin of their own, and last longer than the usual drain.
    let chat =
        format!("  chat:\n    path: /socket\n    versions:\n      v1: {{ endpoints: ['{}'] }}\n", sockets.address());
    let head = head(&place, &[listener(&[ca.certificate("shop")], "")]);
    place.write(&format!("drain: {{ deadline: 10m }}\n{head}{}{chat}", addresses(v1.address(), v2.address())));
    let mut server = place.serve();
    let secure = address(&server, 1);

    let kept = server.load(100.0).start().unwrap();
    let fresh = Load { idle_connections: 0, seed: 2, ..server.load(400.0) }.start().unwrap();
    let streams = Load { protocol: Protocol::H2c, seed: 3, ..server.load(100.0) }.start().unwrap();
    let tls = Client::over_tls(secure, ca.client(&rustls::version::TLS13));
    let chats = [Client::over_websocket(server.address), Client::over_websocket(server.address)];
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    let begun =
        server.admin.until("shop", "evidence", |rollout| rollout.gates.iter().any(|it| it.log_evidence.is_some()));

    let mut judged = begun.requests.stable + begun.requests.canary;
    for number in 1..=UPGRADES {
        let (chatted, asked) = (chats.each_ref().map(Client::done), tls.done());
        upgrade(&server);
        let now = server.admin.rollout("shop");
        assert_eq!((&now.id, now.phase, now.weight), (&begun.id, Phase::Progressing, 2_000), "{number}: {now:?}");
        let requests = now.requests.stable + now.requests.canary;
        assert!(requests >= judged, "{number}: evidence was lost: {requests} after {judged}");
        assert!(now.gates.iter().any(|gate| gate.log_evidence.is_some()), "{number}: {now:?}");
        judged = requests;
        // The next one begins when every kind of client has seen this one.
        server.admin.until("shop", "requests judged by the new process", |rollout| {
            rollout.requests.stable + rollout.requests.canary > judged + 50
        });
        until_true("every client to go on", || {
            let opened = fresh.live().sent >= CONNECTIONS / UPGRADES as u64 * number as u64;
            opened && tls.done() > asked && chats.iter().zip(chatted).all(|(chat, before)| chat.done() > before)
        });
    }

    let last = pid(&server);
    let reports = [kept.stop(), fresh.stop(), streams.stop()];
    let by_tls = tls.end();
    for report in &reports {
        assert_eq!((failures(report), report.not_sent), (0, 0), "{report}");
    }
    let said = chats.map(Client::end);
    assert!(said.iter().all(|messages| *messages > 0));
    assert!(reports[1].sent >= CONNECTIONS, "{}", reports[1]);
    eprintln!(
        "{UPGRADES} upgrades, nothing failed: {} requests on kept connections, {} on connections of their own, {} over \
         HTTP/2, {by_tls} over TLS, {} messages over WebSockets that lasted all the time",
        reports[0].sent,
        reports[1].sent,
        reports[2].sent,
        said.iter().sum::<u64>()
    );
    // The processes before the last one end once the WebSockets have; each was told nothing but to hand over.
    assert_eq!(server.process.leaves(), Some(0));
    let started = server.process.started();
    // One that was put off since the disk hung was started, too, and ended.
    let put_off = server.process.errors().matches("the disk of the state directory does not answer").count();
    assert_eq!((started.len(), started.last()), (UPGRADES + put_off, Some(&last)));
    until_true("all but the last process to end", || started[..started.len() - 1].iter().all(|pid| !runs(*pid)));
    // Nothing is judged twice: the tests know of no more requests than were sent, and of most of them.
    let sent = reports.iter().map(|report| report.sent).sum::<u64>() + by_tls;
    let mut settled = 0;
    until_true("the last requests to be judged", || {
        let now = server.admin.rollout("shop");
        let before = std::mem::replace(&mut settled, now.requests.stable + now.requests.canary);
        before == settled
    });
    assert!(settled <= sent, "{settled} were judged of {sent}");
    assert!(settled >= sent / 2, "only {settled} were judged of {sent}");
    send(Signal::Term, last);
    until_true("the last process to end", || !runs(last));
}
