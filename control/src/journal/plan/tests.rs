use super::*;

/// A plan that uses every key.
const WHOLE: &str = "services: { shop: { stable: v1, \
    versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] } } } }";

fn plans() -> Vec<Plan> {
    let service = config::parse(WHOLE, "test.yaml").unwrap().configuration.services.remove(0);
    let built_in = service.plan;
    let percent = |value: f64| Stretch::new(value).unwrap();
    let gate = |name: &str, role, path: Option<&str>, rule| Gate {
        name: Name::new(name).unwrap(),
        role,
        path: path.map(|path| path.parse().unwrap()),
        rule,
    };
    let latency = |quantile: Option<f64>, of| GateRule::Latency {
        quantile: quantile.map(|quantile| Quantile::new(quantile).unwrap()),
        tolerance: percent(0.1),
        margin: LatencyMargin { body: percent(0.3), tail: percent(0.7) },
        of,
    };
    let limit = GateRule::LatencyLimit {
        quantile: Quantile::new(0.999).unwrap(),
        limit: Duration::from_millis(300),
        of: LatencyOf::Total,
    };
    let tolerance = Tolerance { ratio: 1.25, points: Fraction::new(0.0007).unwrap() };
    let margin = Tolerance { ratio: 2.0, points: Fraction::new(0.003).unwrap() };
    let mirror = MirrorLimits { errors: None, status: Fraction::new(0.01).ok(), body: Fraction::new(0.25).ok() };
    let step = |early, then: Option<OnDeadline>| Step::Weight {
        weight: Weight::from_basis_points(7).unwrap(),
        hold: Duration::from_millis(1_500),
        early,
        deadline: then.map(|then| Deadline { after: Duration::from_secs(90), then }),
    };
    let matched = |value: Option<&str>| {
        let value = value.map(str::to_owned);
        let headers = vec![HeaderMatch { name: "x-beta".to_owned(), value: value.clone() }];
        let cookie = value.is_some().then(|| CookieMatch { name: "beta".to_owned(), value: None });
        let judged = value.is_none();
        Step::Match { who: Some(Match { headers, cookie, judged }), hold: Duration::from_secs(9) }
    };
    let whole = Plan {
        beta: Beta::new(0.2).unwrap(),
        warmup: Duration::from_secs(7),
        advance: Advance::Proof,
        baseline: Baseline::Version(Name::new("v1-fresh").unwrap()),
        dry_run: true,
        drain: None,
        steps: vec![
            step(false, None),
            step(true, Some(OnDeadline::Hold)),
            step(false, Some(OnDeadline::Promote)),
            Step::Mirror { share: Weight::from_basis_points(250).unwrap(), hold: Duration::from_secs(3) },
            Step::Approval,
            matched(None),
            matched(Some("1")),
            Step::Match { who: None, hold: Duration::ZERO },
            step(true, Some(OnDeadline::RollBack)),
        ],
        gates: vec![
            gate("a", GateRole::Guardrail, None, GateRule::Errors { tolerance, margin }),
            gate("b", GateRole::Signal, Some("/checkout"), latency(Some(0.9), LatencyOf::Total)),
            gate("c", GateRole::Guardrail, None, latency(None, LatencyOf::Head)),
            gate("d", GateRole::Guardrail, Some("/"), limit),
            gate("f", GateRole::Guardrail, None, GateRule::Mirror(mirror)),
            gate("e", GateRole::Signal, None, GateRule::ErrorLimit { limit: Fraction::new(0.05).unwrap() }),
        ],
        ..built_in
    };
    vec![built_in.clone(), whole, Plan { baseline: Baseline::Equal, ..built_in }]
}

#[test]
fn a_plan_that_is_written_and_read_is_the_same_plan() {
    for plan in plans() {
        let written = serde_json::to_string(&PlanForm::of(&plan)).unwrap();
        let read: PlanForm = serde_json::from_str(&written).unwrap();
        assert_eq!(read.proven(), Ok(plan), "{written}");
    }
}

#[test]
fn a_plan_of_before_has_the_values_that_it_had_then() {
    let written = r#"{"alpha":0.01,"min_requests":7,
        "steps":[{"weight":{"weight":100,"hold":{"secs":120,"nanos":0}}},"approval"],
        "gates":[{"name":"errors","rule":{"errors":{"ratio":1.1,"points":0.0005}}},
                 {"name":"lax","rule":{"errors":{"ratio":2.0,"points":0.004}}},
                 {"name":"latency-p99","rule":{"latency_limit":{"quantile":0.99,"limit":{"secs":0,"nanos":300000000}}}},
                 {"name":"latency","rule":"latency_shape"}]}"#;
    let plan = serde_json::from_str::<PlanForm>(written).unwrap().proven().unwrap();
    let built_in = Plan::built_in();
    assert_eq!((plan.beta, plan.warmup, plan.advance), (built_in.beta, built_in.warmup, Advance::Time));
    assert_eq!((&plan.baseline, plan.dry_run, plan.drain), (&Baseline::Stable, false, None));
    let Step::Weight { early, deadline, .. } = plan.steps[0] else { panic!("{:?}", plan.steps) };
    assert_eq!((early, deadline), (false, None));
    assert!(plan.gates.iter().all(|gate| gate.role == GateRole::Guardrail && gate.path.is_none()));
    assert_eq!((plan.gates[0].rule, plan.gates[3].rule), (GateRule::ERRORS, GateRule::LATENCY));
    let GateRule::Errors { tolerance, margin } = plan.gates[1].rule else { panic!("{:?}", plan.gates[1]) };
    assert!(margin.ratio > tolerance.ratio && margin.points > tolerance.points, "{margin:?}");
}

#[test]
fn a_plan_with_a_value_that_is_not_legal_is_none() {
    let plan = PlanForm::of(&plans()[1]);
    let with = |break_it: fn(&mut PlanForm)| {
        let mut broken = plan.clone();
        break_it(&mut broken);
        broken.proven().ok()
    };
    assert!(plan.clone().proven().is_ok());
    let everybody = MatchForm { headers: Vec::new(), cookie: None, judged: false };
    let mut broken = plan.clone();
    broken.steps[0] = StepForm::Match { who: Some(everybody), hold: Duration::ZERO };
    assert_eq!(broken.proven().ok(), None, "nobody may be given everybody");
    assert_eq!(with(|plan| plan.steps[0] = StepForm::Mirror { share: 0, hold: Duration::ZERO }), None);
    let nothing = RuleForm::Mirror { errors: None, status: None, body: None };
    broken = plan.clone();
    broken.gates[0].rule = nothing;
    assert_eq!(broken.proven().ok(), None, "a gate that judges nothing");
    let mut broken = plan.clone();
    broken.alpha = 1.0;
    assert!(broken.proven().unwrap_err().starts_with("`alpha` is not legal; legal is "));
    assert_eq!(with(|plan| plan.beta = f64::NAN), None);
    assert_eq!(with(|plan| plan.baseline = BaselineForm::Version("a b".into())), None);
    assert_eq!(with(|plan| plan.gates[1].path = Some("no path".into())), None);
    assert_eq!(with(|plan| plan.gates[0].rule = RuleForm::Errors { ratio: f64::NAN, points: 0.0, margin: None }), None);
    assert_eq!(with(|plan| plan.gates[0].rule = RuleForm::ErrorLimit { limit: 2.0 }), None);
}
