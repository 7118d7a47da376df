//! What the fuzzers kept of responses (`fuzz/corpus`), replayed.

use super::{inbound, response_head};
use crate::client_stream::corpus::replay;
use crate::client_stream::head_check;

#[path = "../../../fuzz/properties/response_head.rs"]
mod response_head_property;

#[test]
fn the_corpus_of_responses_holds() {
    replay("response_head", response_head_property::holds, 20);
}
