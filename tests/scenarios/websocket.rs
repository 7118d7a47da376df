//! A WebSocket client in front of the executable: what it opened stays open, whatever becomes of the split.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::page::PageOrigin;
use crate::patience::{LONG, until_true};
use crate::process::Signal;
use crate::shop::{Place, Server, shop};

/// A client that has opened a WebSocket.
pub(crate) struct Chat {
    runtime: Runtime,
    socket: WebSocketStream<TcpStream>,
}

impl Chat {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (socket, response) = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            client_async("ws://shop/socket", stream).await.unwrap()
        });
        assert_eq!(response.status(), 101);
        Self { runtime, socket }
    }

    /// What is answered to this.
    pub(crate) fn say(&mut self, text: &str) -> String {
        let answer = self.runtime.block_on(async {
            self.socket.send(Message::text(text)).await.unwrap();
            tokio::time::timeout(LONG, self.socket.next()).await.unwrap().unwrap().unwrap()
        });
        answer.into_text().unwrap().to_string()
    }
}

impl Chat {
    /// Waits for the other end to close it, and answers that; the code that it gives.
    pub(crate) fn closed(mut self) -> Option<u16> {
        let said = self.runtime.block_on(async { tokio::time::timeout(LONG, self.socket.next()).await.unwrap() });
        let said = said.unwrap().unwrap();
        let Message::Close(frame) = said else { panic!("it was not closed: {said:?}") };
        // The answer is sent by asking for more.
        let _ = self.runtime.block_on(self.socket.next());
        frame.map(|frame| frame.code.into())
    }
}

#[test]
fn a_websocket_stays_on_its_version_through_changes_of_weight_and_a_reload_and_new_ones_follow_the_weight() {
    let (v1, v2, place) = (PageOrigin::start("v1"), PageOrigin::start("v2"), Place::new());
    place.write(&(place.head() + &shop("v1", &[("v1", &[v1.address()]), ("v2", &[v2.address()])], "{}")));
    let mut server = place.serve();
    let weigh = |server: &Server, weight| assert_eq!(server.admin.set_weight("shop", "v2", weight).status, 200);
    weigh(&server, 10_000);
    let mut on_canary = Chat::open(server.address);
    assert_eq!(on_canary.say("one"), "v2: one");

    weigh(&server, 0);
    let mut on_stable = Chat::open(server.address);
    assert_eq!(on_stable.say("one"), "v1: one");
    server.process.signal(Signal::Hup);
    server.process.has_said("configuration reloaded");

    let long = "x".repeat(300_000);
    assert_eq!(on_canary.say(&long), format!("v2: {long}"));
    assert_eq!(on_stable.say("two"), "v1: two");
    drop((on_canary, on_stable));
    server.stop();
}

#[test]
fn a_websocket_on_a_version_that_left_is_closed_when_its_time_is_over_and_one_on_stable_is_not() {
    let (v1, v2, place) = (PageOrigin::start("v1"), PageOrigin::start("v2"), Place::new());
    let versions = [("v1", &[v1.address()][..]), ("v2", &[v2.address()][..])];
    place.write(&(place.head() + &shop("v1", &versions, "{ drain: 1s }")));
    let server = place.serve();
    let weigh = |weight| assert_eq!(server.admin.set_weight("shop", "v2", weight).status, 200);
    weigh(10_000);
    let mut on_canary = Chat::open(server.address);
    assert_eq!(on_canary.say("one"), "v2: one");
    weigh(0);
    let mut on_stable = Chat::open(server.address);

    // Going away: connect again.
    assert_eq!(on_canary.closed(), Some(1001));

    assert_eq!(on_stable.say("two"), "v1: two");
    let counted = |metric, version| server.admin.counted(metric, &[("service", "shop"), ("version", version)]);
    until_true("the close to be counted", || counted("tidegate_long_lived_ended_total", "v2") == 1);
    let lasting = ["v1", "v2"].map(|version| counted("tidegate_long_lived", version));
    assert_eq!((lasting, counted("tidegate_long_lived_ended_total", "v1")), ([1, 0], 0));
    drop(on_stable);
    server.stop();
}
