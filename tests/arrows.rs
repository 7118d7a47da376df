//! Holds the arrows between the crates: who may depend on what.

#![expect(clippy::unwrap_used, reason = "a test that cannot ask cargo has failed")]

use std::process::Command;

/// Every crate that `package` needs to run, itself included.
fn needs(package: &str) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{lib}"])
        .args(["--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let names: Vec<String> = String::from_utf8(tree.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(names.iter().any(|name| name == package), "{package} is not in its own tree: {names:?}");
    names
}

fn assert_free_of(package: &str, banned: &[&str]) {
    let found: Vec<String> =
        needs(package).into_iter().filter(|name| banned.iter().any(|ban| name.starts_with(ban))).collect();
    assert!(found.is_empty(), "{package} must not depend on {found:?}");
}

#[test]
fn config_and_meter_know_neither_tokio_nor_pingora_nor_each_other() {
    assert_free_of("config", &["tokio", "pingora", "meter", "control", "proxy", "loadtest"]);
    assert_free_of("meter", &["tokio", "pingora", "config", "control", "proxy", "loadtest"]);
}

#[test]
fn control_knows_no_pingora_and_no_proxy() {
    assert_free_of("control", &["pingora", "proxy", "loadtest"]);
}

#[test]
fn proxy_knows_no_control() {
    assert_free_of("proxy", &["control", "loadtest"]);
    assert!(needs("proxy").iter().any(|name| name == "pingora_proxy"), "this test would not see pingora anywhere");
}
