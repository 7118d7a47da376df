//! Tests that an older Tidegate saved are gone on with. The files are what the code before steps by match wrote, of a
//! rollout of thirty seconds under a gate of every kind that there was.

use serde_json::Value;

use super::*;

const EVIDENCE: &str = include_str!("older/evidence.json");
const GATES: &str = include_str!("older/gates.json");

fn saved() -> Judge {
    let saved: Value = serde_json::from_str(EVIDENCE).unwrap();
    serde_json::from_value(saved["01KAMOLD"]["judge"].clone()).unwrap()
}

#[test]
fn what_an_older_tidegate_saved_says_what_it_said_then() {
    let said: Vec<GateView> = serde_json::from_str(GATES).unwrap();
    let now = saved().gates();
    assert_eq!(now.len(), said.len());
    for (now, said) in now.iter().zip(&said) {
        assert_eq!((&now.name, now.verdict, now.log_evidence), (&said.name, said.verdict, said.log_evidence));
        assert_eq!((now.proof, now.counts), (said.proof, said.counts), "{}", now.name);
        // The check of the draws has become a thousand times stricter since.
        let stricter = if now.name == "traffic" { 1_000.0_f64.ln() } else { 0.0 };
        assert!((now.threshold - said.threshold - stricter).abs() < 1e-12, "{}", now.name);
    }
}

#[test]
fn it_goes_on_and_is_saved_again_in_the_form_of_now() {
    let mut judge = saved();
    for tick in 300..340 {
        judge.tick(&Tick::of(tick / 10, &window(30, 1), &window(4, 0)));
    }
    let again: Judge = serde_json::from_str(&serde_json::to_string(&judge).unwrap()).unwrap();
    assert_eq!(again, judge);
    assert!(judge.judgement().requests.canary > saved().judgement().requests.canary);
}
