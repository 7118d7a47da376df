use super::*;
use crate::view::Role;

#[test]
fn rates_that_look_like_harm_are_never_called_harmless() {
    let said = |failed: u64, bursts: Option<f64>| {
        let requests = Arms { stable: 1_000, canary: 100 };
        let seen = Sighting { requests, events: Arms { stable: 10, canary: failed } };
        let above = Above { ratio: 1.1, points: 0.0005 };
        let rule = Rule::Errors { tolerance: above, margin: above };
        let gate = GateSetting { name: "errors".to_owned(), role: Role::Guardrail, path: None, rule };
        let words = Words { stable: "v1", all: "v1", canary: "v2", paths: &[] };
        words.well(Told { gate: &gate, seen, compared: None }, None, bursts)
    };
    assert_eq!(said(1, Some(60.2)), "v2 fails 1 % of requests, v1 1 %: no harm seen yet");
    let worse = "v2 fails 45 % of requests, v1 1 %: worse so far, not enough evidence of harm";
    assert_eq!(said(45, None), worse);
    assert_eq!(said(45, Some(60.2)), format!("{worse} (evidence counts 1/60, as v1's came in bursts)"));
}

#[test]
fn margins_are_said_as_they_were_written() {
    let said = [(1.5, 0.001), (1.0, 0.002), (2.0, 0.0)].map(|(ratio, points)| more_than(Above { ratio, points }, "v1"));
    assert_eq!(
        said,
        [
            "more than 1.5 times v1's rate plus 0.1 points",
            "more than 0.2 points above v1's rate",
            "more than 2 times v1's rate"
        ]
    );
}
