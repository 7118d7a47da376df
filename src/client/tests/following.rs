//! Commands that follow a rollout to its end.

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

/// Hands each printed line to the test.
struct Lines(mpsc::Sender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.0.send(line).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A rollout that is being followed.
struct Followed {
    lines: mpsc::Receiver<String>,
    interrupt: mpsc::Sender<()>,
    ended: thread::JoinHandle<anyhow::Result<Exit>>,
}

fn following(world: &World, following: Following) -> Followed {
    let (tell, lines) = mpsc::channel();
    let (interrupt, interrupts) = mpsc::channel();
    let connection = world.connection();
    let ended = thread::spawn(move || {
        let mut out = Lines(tell, Vec::new());
        follow(rollout(Phase::Progressing), following, &connection, &mut Screen::new(&mut out), &interrupts)
    });
    Followed { lines, interrupt, ended }
}

const WITHOUT_END: Following = Following { timeout: None, json: false };

impl Followed {
    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    fn end(self) -> anyhow::Result<Exit> {
        self.ended.join().unwrap()
    }
}

#[test]
fn following_prints_each_change_and_ends_with_the_outcome() {
    for (phase, exit) in
        [(Phase::Promoted, Exit::Done), (Phase::RolledBack, Exit::RolledBack), (Phase::Aborted, Exit::Aborted)]
    {
        let world = World::new();
        let followed = following(&world, WITHOUT_END);
        assert_eq!(followed.line(), "shop: v2 at 5%, step 2 of 4, to hold 2 min, progressing");
        assert!(followed.line().starts_with("  gate errors: inconclusive: v2 fails 0.13 %"));
        assert!(followed.line().starts_with("  gate latency: no-data"));
        world.show(rollout(Phase::AwaitingApproval), Vec::new());
        assert_eq!(
            followed.line(),
            "shop: v2 at 5%, step 2 of 4, awaiting-approval; approve with: tidegate rollout approve shop"
        );
        world.show(RolloutView { reason: Some("it was\nso".into()), ..rollout(phase) }, Vec::new());
        let last = followed.line();
        assert!(last.contains(phase.word()) && last.ends_with(": it was so"), "{last}");
        assert_eq!(followed.end().unwrap(), exit);
    }
}

#[test]
fn following_as_json_is_a_line_for_each_change() {
    let world = World::new();
    let followed = following(&world, Following { json: true, ..WITHOUT_END });
    let phase = |line: &str| serde_json::from_str::<RolloutView>(line).unwrap().phase;
    assert_eq!(phase(&followed.line()), Phase::Progressing);
    world.show(rollout(Phase::RolledBack), Vec::new());
    assert_eq!(phase(&followed.line()), Phase::RolledBack);
    assert_eq!(followed.end().unwrap(), Exit::RolledBack);
}

#[test]
fn a_rollout_that_another_replaced_is_found_in_the_history() {
    for (history, exit) in [
        (vec![rollout(Phase::RolledBack)], Exit::RolledBack),
        (vec![rollout(Phase::Superseded)], Exit::Aborted),
        (Vec::new(), Exit::Aborted),
    ] {
        let world = World::new();
        let followed = following(&world, WITHOUT_END);
        world.show(RolloutView { id: "01JNEXT".into(), ..rollout(Phase::Progressing) }, history);
        assert_eq!(followed.end().unwrap(), exit);
    }
}

#[test]
fn ctrl_c_ends_the_following_and_says_that_the_rollout_goes_on() {
    let world = World::new();
    let followed = following(&world, WITHOUT_END);
    (0..3).for_each(|_| drop(followed.line()));
    followed.interrupt.send(()).unwrap();
    assert_eq!(followed.line(), "interrupted; the rollout of v2 goes on: tidegate rollout watch shop");
    assert_eq!(followed.end().unwrap(), Exit::Interrupted);
}

#[test]
fn following_gives_up_at_its_timeout() {
    let world = World::new();
    for (asked, told) in [(Duration::ZERO, "0 s"), (Duration::from_millis(1), "1ms")] {
        let followed = following(&world, Following { timeout: Some(asked), json: false });
        (0..3).for_each(|_| drop(followed.line()));
        let line = followed.line();
        assert!(line.starts_with(&format!("no end within {told}; the rollout of v2 goes on")), "{line}");
        assert_eq!(followed.end().unwrap(), Exit::NoEnd);
    }
}

#[test]
fn a_server_that_goes_away_ends_the_following_in_failure() {
    let mut world = World::new();
    let followed = following(&world, WITHOUT_END);
    (0..3).for_each(|_| drop(followed.line()));
    world.stop();
    // Kept, as Ctrl-C stays possible while the server is gone.
    let Followed { lines: _lines, interrupt: _interrupt, ended } = followed;
    assert!(ended.join().unwrap().unwrap_err().to_string().starts_with("cannot reach the control API"));
}
