//! What two processes say that write to one log.

use super::Upgradable;
use crate::process::{Signal, send};

#[test]
fn the_lines_of_a_process_that_is_replaced_end_with_its_number_and_no_others_do() {
    let mut shop = Upgradable::open("{ steps: [{ weight: 20%, hold: 1h }] }", "");
    let old = shop.server.process.id();
    let number = format!("process={old}");
    shop.replace_by_bytes(b"no program");
    shop.server.process.signal(Signal::Usr2);
    shop.server.process.has_said("not upgraded, this process serves on");
    shop.server.process.signal(Signal::Hup);
    shop.server.process.has_said("configuration reloaded");
    shop.replace_by_itself();
    let new = shop.upgrade();
    assert_eq!(shop.server.process.leaves(), Some(0));

    let said = shop.server.process.errors();
    let line = |what: &str| said.lines().rfind(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {said}"));
    assert!(line("upgraded: the new process serves").ends_with(&format!("pid={new} {number}")), "{said}");
    assert!(line("ended").ends_with(&number), "{said}");
    assert!(!line("configuration reloaded").contains("process="), "it serves on: {said}");
    assert!(!line("serving address=").contains("process="), "of the new one: {said}");
    send(Signal::Term, new);
}
