//! What the fuzzers kept (`fuzz/corpus`), replayed: the same properties, without a nightly compiler.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::{chunks, frames, head_check, inbound};
use crate::proxy_protocol;
use crate::request_check::path;

#[path = "../../../fuzz/properties/chunks.rs"]
mod chunks_property;
#[path = "../../../fuzz/properties/frames.rs"]
mod frames_property;
#[path = "../../../fuzz/properties/head_check.rs"]
mod head_check_property;
#[path = "../../../fuzz/properties/inbound.rs"]
mod inbound_property;
#[path = "../../../fuzz/properties/path.rs"]
mod path_property;
#[path = "../../../fuzz/properties/proxy_protocol.rs"]
mod proxy_protocol_property;

/// Every file of a target's corpus; at least so many as it was begun with.
pub(crate) fn replay(target: &str, holds: impl Fn(&[u8]), at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= at_least, "{} holds only {} files", folder.display(), files.len());
    for file in files {
        holds(&fs::read(file).unwrap());
    }
}

#[test]
fn every_target_of_the_fuzzers_has_a_corpus_that_is_replayed_here() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let here = concat!(include_str!("corpus.rs"), include_str!("../upstream_stream/corpus.rs"));
    let targets: Vec<_> = fs::read_dir(targets).unwrap().map(|target| target.unwrap().path()).collect();
    assert!(targets.len() >= 5, "{targets:?}");
    for target in targets {
        let name = target.file_stem().unwrap().to_str().unwrap();
        assert!(here.contains(&format!("replay(\"{name}\",")), "{name} is not replayed");
    }
}

#[test]
fn the_corpus_of_heads_holds() {
    replay("head_check", head_check_property::holds, 5);
}

#[test]
fn the_corpus_of_chunks_holds() {
    replay("chunks", chunks_property::holds, 5);
}

#[test]
fn the_corpus_of_frames_holds() {
    replay("frames", frames_property::holds, 5);
}

#[test]
fn the_corpus_of_connections_holds() {
    replay("inbound", inbound_property::holds, 5);
}

#[test]
fn the_corpus_of_paths_holds() {
    replay("path", path_property::holds, 5);
}

proptest! {
    #[test]
    fn no_path_hides_a_step(mode: bool, path in r"/(/|\.|\.\.|%2e|%2E|%2f|%5C|\\|;|%3b|a|%|é){0,14}") {
        path_property::holds(&[&[u8::from(mode)], path.as_bytes()].concat());
    }
}

#[test]
fn the_corpus_of_proxy_protocol_headers_holds() {
    replay("proxy_protocol", proxy_protocol_property::holds, 5);
}
