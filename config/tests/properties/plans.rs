//! Plans: what they default to, and that each that can be is read as it is written.

use std::time::Duration;

use config::{
    Advance, Alpha, Baseline, Beta, CookieMatch, Deadline, Fraction, Gate, GateRole, GateRule, HeaderMatch,
    LatencyMargin, LatencyOf, Match, MirrorLimits, Name, OnDeadline, PathPrefix, Plan, Quantile, Step, Stretch,
    Tolerance, Weight,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::writing::written_plan;
use crate::{FULL, read};

/// The plan of a service with three versions.
fn plan(text: &str) -> Plan {
    let versions = "versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] }, v3: { endpoints: ['c:1'] } }";
    read(&format!("services: {{ shop: {{ stable: v1, {versions}, plan: {text} }} }}")).services.remove(0).plan
}

/// The rule of a plan's only gate.
fn rule(text: &str) -> GateRule {
    plan(&format!("{{ gates: [{text}] }}")).gates[0].rule
}

#[test]
fn every_key_of_a_plan_defaults_alone() {
    let built_in = Plan::built_in();
    let with = |change: fn(&mut Plan)| {
        let mut plan = built_in.clone();
        change(&mut plan);
        plan
    };
    assert_eq!(plan("{}"), built_in);
    assert_eq!(plan("{ alpha: 2% }"), with(|plan| plan.alpha = "2%".parse().unwrap()));
    assert_eq!(plan("{ beta: 10% }"), with(|plan| plan.beta = "10%".parse().unwrap()));
    assert_eq!(plan("{ min_requests: 7 }"), with(|plan| plan.min_requests = 7));
    assert_eq!(plan("{ warmup: 0s }"), with(|plan| plan.warmup = Duration::ZERO));
    assert_eq!(plan("{ warmup: 1h }"), with(|plan| plan.warmup = Duration::from_secs(3600)));
    assert_eq!(plan("{ advance: proof }"), with(|plan| plan.advance = Advance::Proof));
    assert_eq!(plan("{ baseline: equal }"), with(|plan| plan.baseline = Baseline::Equal));
    assert_eq!(plan("{ baseline: v3 }"), with(|plan| plan.baseline = Baseline::Version(Name::new("v3").unwrap())));
    assert_eq!(plan("{ dry_run: true }"), with(|plan| plan.dry_run = true));
    assert_eq!(plan("{ gates: [] }"), with(|plan| plan.gates = Vec::new()));
    assert_eq!(
        plan("{ steps: [{ weight: 5% }] }"),
        with(|plan| plan.steps = vec![Step::of_weight("5%".parse().unwrap(), Step::HOLD)])
    );
}

#[test]
fn a_match_is_read_in_lower_case_and_holds_for_five_minutes_where_nothing_is_written() {
    let steps = "{ steps: [{ match: { X-Team: blue, x-beta: '*', COOKIE: Beta=* } }, { weight: 5% }, \
                 { match: { cookie: a=b=c }, hold: 1s, judged: true }, { match: nobody }, \
                 { match: nobody, hold: 1m }] }";
    let header = |name: &str, value: Option<&str>| HeaderMatch { name: name.into(), value: value.map(str::to_owned) };
    let cookie =
        |name: &str, value: Option<&str>| Some(CookieMatch { name: name.into(), value: value.map(str::to_owned) });
    let both = vec![header("x-beta", None), header("x-team", Some("blue"))];
    let first = Match { headers: both, cookie: cookie("Beta", None), judged: false };
    assert_eq!(first.to_string(), "x-beta: *, x-team: blue, cookie: Beta=*");
    let second = Match { headers: Vec::new(), cookie: cookie("a", Some("b=c")), judged: true };
    let plan = plan(steps);
    assert!(plan.leaves_people_out());
    assert_eq!(
        plan.steps,
        [
            Step::Match { who: Some(first), hold: Step::HOLD },
            Step::of_weight("5%".parse().unwrap(), Step::HOLD),
            Step::Match { who: Some(second), hold: Duration::from_secs(1) },
            Step::Match { who: None, hold: Duration::ZERO },
            Step::Match { who: None, hold: Duration::from_secs(60) },
        ]
    );
    let judged = self::plan("{ steps: [{ match: { x-beta: '1' }, judged: true }, { weight: 5% }] }");
    assert!(!judged.leaves_people_out());
}

#[test]
fn what_a_plan_says_of_its_steps_holds_for_each_that_does_not_say_it_itself() {
    let hour = Duration::from_secs(3600);
    let endings = |text: &str| -> Vec<(bool, Option<Deadline>)> {
        let steps = plan(text).steps.into_iter();
        let ending = steps.filter_map(|step| match step {
            Step::Weight { early, deadline, .. } => Some((early, deadline)),
            Step::Match { .. } | Step::Mirror { .. } | Step::Approval => None,
        });
        ending.collect()
    };
    let deadline = |after, then| Some(Deadline { after, then });
    assert_eq!(endings("{ early: true, deadline: 1h }"), [(true, deadline(hour, OnDeadline::Hold)); 4]);
    assert_eq!(
        endings(
            "{ deadline: 2h, on_deadline: roll-back, steps: [{ weight: 1% }, { approval: true }, { weight: 2%, early: \
             true, deadline: 1h }, { weight: 3%, on_deadline: promote }] }"
        ),
        [
            (false, deadline(2 * hour, OnDeadline::RollBack)),
            (true, deadline(hour, OnDeadline::RollBack)),
            (false, deadline(2 * hour, OnDeadline::Promote)),
        ]
    );
    assert_eq!(
        endings("{ on_deadline: promote, steps: [{ weight: 1% }, { weight: 2%, deadline: 1h }] }"),
        [(false, None), (false, deadline(hour, OnDeadline::Promote))]
    );
}

#[test]
fn gates_have_the_names_and_figures_that_they_default_to() {
    let configuration = read(FULL);
    let gates: Vec<_> =
        configuration.services[0].plan.gates.iter().map(|gate| (gate.name.as_str(), gate.rule)).collect();
    let harm = |ratio, points: &str| Tolerance { ratio, points: points.parse().unwrap() };
    let errors = |tolerance, margin| GateRule::Errors { tolerance, margin };
    let of = |limit: &str| limit.parse().ok();
    let stretch = |percent: &str| percent.parse::<Stretch>().unwrap();
    let limit = |quantile: &str, seconds: f64, of| GateRule::LatencyLimit {
        quantile: quantile.parse().unwrap(),
        limit: Duration::from_secs_f64(seconds),
        of,
    };
    let latency = |quantile: Option<&str>, tolerance, (body, tail), of| GateRule::Latency {
        quantile: quantile.map(|quantile| quantile.parse().unwrap()),
        tolerance: stretch(tolerance),
        margin: LatencyMargin { body: stretch(body), tail: stretch(tail) },
        of,
    };
    assert_eq!(
        gates,
        [
            ("errors", errors(harm(1.0, "0.1%"), harm(1.5, "0.2%"))),
            ("doubled", errors(harm(2.0, "0.02%"), harm(3.0, "0.02%"))),
            ("plain", errors(harm(1.1, "0.05%"), harm(1.5, "0.1%"))),
            ("errors-limit", GateRule::ErrorLimit { limit: "5%".parse().unwrap() }),
            ("latency-p99", limit("p99", 0.3, LatencyOf::Head)),
            ("latency-p99.9", limit("p99.9", 2.0, LatencyOf::Total)),
            ("latency", latency(None, "5%", ("25%", "50%"), LatencyOf::Head)),
            ("latency-p95", latency(Some("p95"), "40%", ("60%", "60%"), LatencyOf::Total)),
            ("latency-checkout-cart", latency(None, "30%", ("60%", "50%"), LatencyOf::Head)),
            ("errors-checkout-pay", errors(harm(1.1, "0.05%"), harm(1.1, "0.5%"))),
            ("mirror", GateRule::Mirror(MirrorLimits { errors: of("0.5%"), status: of("1%"), body: of("99%") })),
        ]
    );
}

#[test]
fn each_limit_on_copies_is_a_test_named_after_its_gate() {
    let names = |gate: &str| {
        let plan =
            plan(&format!("{{ steps: [{{ mirror: 1% }}, {{ weight: 1% }}], gates: [{gate}, {{ errors: {{}} }}] }}"));
        plan.gates.iter().flat_map(Gate::tests).collect::<Vec<_>>()
    };
    assert_eq!(names("{ mirror: { status: 1% } }"), ["mirror-status", "errors"]);
    assert_eq!(
        names("{ mirror: { body: 5%, errors: 1%, status: 1% }, name: copies }"),
        ["copies-errors", "copies-status", "copies-body", "errors"]
    );
}

#[test]
fn a_mirror_holds_five_minutes_and_connections_that_last_may_stay_for_ten_where_nothing_is_written() {
    let read = plan("{ steps: [{ mirror: 0.25% }, { approval: true }, { mirror: 100%, hold: 1s }, { weight: 5% }] }");
    let share = |text: &str| text.parse().unwrap();
    let mirror = |at: &str, hold| Step::Mirror { share: share(at), hold };
    assert_eq!(read.steps[0], mirror("0.25%", Duration::from_secs(300)));
    assert_eq!((&read.steps[2], read.mirrors()), (&mirror("100%", Duration::from_secs(1)), true));
    assert_eq!((read.drain, plan("{}").mirrors()), (Some(Duration::from_secs(600)), false));
    let drain = |text: &str| plan(&format!("{{ drain: {text} }}")).drain;
    assert_eq!(
        [drain("never"), drain("0s"), drain("24h")].map(|time| time.map(|time| time.as_secs())),
        [None, Some(0), Some(86_400)]
    );
}

#[test]
fn the_default_gates_are_those_that_say_nothing_more() {
    assert_eq!(plan("{ gates: [{ errors: {} }, { latency: {} }] }"), Plan::built_in());
}

#[test]
fn a_gate_judges_the_requests_below_its_path_and_says_whether_it_rolls_back() {
    let gates =
        plan("{ gates: [{ errors: {} }, { errors: {}, path: /a/, role: signal }, { latency: {}, path: /a }] }").gates;
    let said: Vec<_> = gates.iter().map(|gate| (gate.path.as_ref().map(PathPrefix::as_str), gate.role)).collect();
    assert_eq!(said, [(None, GateRole::Guardrail), (Some("/a"), GateRole::Signal), (Some("/a"), GateRole::Guardrail)]);
    let sixteen: Vec<String> = (0..16).map(|i| format!("{{ errors: {{}}, path: /{i} }}")).collect();
    assert_eq!(
        plan(&format!("{{ gates: [{}, {{ latency: {{}}, path: /7 }}] }}", sixteen.join(", "))).paths().len(),
        16
    );
}

#[test]
fn a_tolerance_in_points_has_the_ratio_1_and_one_as_a_ratio_has_no_points() {
    let tolerance = |text: &str| {
        let rule = rule(&format!("{{ errors: {{ tolerance: {text} }} }}"));
        let GateRule::Errors { tolerance, .. } = rule else { panic!("{text} became {rule:?}") };
        (tolerance.ratio, tolerance.points.get())
    };
    assert_eq!(tolerance("0.1%"), (1.0, 0.001));
    assert_eq!(tolerance("{ points: 0.1% }"), (1.0, 0.001));
    assert_eq!(tolerance("{ ratio: 1.5 }"), (1.5, 0.0));
    assert_eq!(tolerance("{ ratio: 1.5, points: 0.2% }"), (1.5, 0.002));
}

#[test]
fn a_part_of_a_margin_that_is_not_written_is_the_tolerances() {
    let margin = |text: &str| {
        let rule = rule(&format!("{{ errors: {text} }}"));
        let GateRule::Errors { margin, .. } = rule else { panic!("{text} became {rule:?}") };
        (margin.ratio, margin.points.get())
    };
    assert_eq!(margin("{ margin: 0.5% }"), (1.1, 0.005));
    assert_eq!(margin("{ tolerance: 0.1%, margin: 0.5% }"), (1.0, 0.005));
    assert_eq!(margin("{ tolerance: { ratio: 2, points: 1% }, margin: 2% }"), (2.0, 0.02));
    assert_eq!(margin("{ tolerance: { ratio: 2, points: 1% }, margin: { ratio: 3 } }"), (3.0, 0.01));
    assert_eq!(margin("{ tolerance: { ratio: 2, points: 1% }, margin: { ratio: 2, points: 2% } }"), (2.0, 0.02));
}

proptest! {
    #[test]
    fn a_margin_that_is_not_written_is_more_than_its_tolerance(
        ratio in 1.0..=1000.0, points in 0.0..1.0, stretch in 0.0..=10.0,
    ) {
        let tolerance = Tolerance { ratio, points: Fraction::new(points).unwrap() };
        let margin = tolerance.usual_margin();
        prop_assert!(margin.is_more_than(tolerance) && !tolerance.is_more_than(margin), "{margin:?}");
        prop_assert!(margin.ratio >= 1.5 && (0.001..=1.0).contains(&margin.points.get()), "{margin:?}");
        let tolerance = Stretch::new(stretch).unwrap();
        let margin = LatencyMargin::usual(tolerance);
        prop_assert!(margin.body > tolerance && margin.tail > tolerance, "{margin:?}");
    }

    #[test]
    fn every_plan_is_read_as_it_is_written(expected in any_plan()) {
        prop_assert_eq!(plan(&written_plan(&expected).to_string()), expected);
    }
}

/// Millionths as a fraction: what a percentage of four digits after the point can say exactly.
fn millionths(number: u32) -> f64 {
    f64::from(number) / 1e6
}

fn time(most_seconds: u64) -> impl Strategy<Value = Duration> {
    (0..=most_seconds * 1000).prop_map(Duration::from_millis)
}

fn any_errors() -> impl Strategy<Value = GateRule> {
    let margin = prop::option::of((0_u32..50, 1_u32..100_000));
    (100_u32..2000, 0_u32..400_000, margin).prop_map(|(hundredths, tolerated, margin)| {
        let harm = |ratio, points| Tolerance { ratio, points: Fraction::new(millionths(points)).unwrap() };
        let ratio = f64::from(hundredths) / 100.0;
        let tolerance = harm(ratio, tolerated);
        let margin =
            margin.map_or(tolerance.usual_margin(), |(more, points)| harm(ratio + f64::from(more), tolerated + points));
        GateRule::Errors { tolerance, margin }
    })
}

fn any_latency() -> impl Strategy<Value = GateRule> {
    let quantile = prop::option::of((100_u32..=999).prop_map(|q| Quantile::new(f64::from(q) / 1000.0).unwrap()));
    let of = select(vec![LatencyOf::Head, LatencyOf::Total]);
    let margin = prop::option::of(1_u32..500_000);
    (quantile, 0_u32..=10_000_000, margin, of).prop_map(|(quantile, tolerated, margin, of)| {
        let stretch = |number| Stretch::new(millionths(number)).unwrap();
        let tolerance = stretch(tolerated);
        let both = |margin| LatencyMargin { body: margin, tail: margin };
        let margin = margin.map_or(LatencyMargin::usual(tolerance), |more| both(stretch(tolerated + more)));
        GateRule::Latency { quantile, tolerance, margin, of }
    })
}

fn any_rule() -> impl Strategy<Value = GateRule> {
    let quantile = (100_u32..=9_999).prop_map(|q| format!("p{}", f64::from(q) / 100.0).parse::<Quantile>().unwrap());
    let limit = (1_u64..=60_000).prop_map(Duration::from_millis);
    let of = select(vec![LatencyOf::Head, LatencyOf::Total]);
    prop_oneof![
        any_errors(),
        (1_u32..1_000_000).prop_map(|limit| GateRule::ErrorLimit { limit: Fraction::new(millionths(limit)).unwrap() }),
        any_latency(),
        (quantile, limit, of).prop_map(|(quantile, limit, of)| GateRule::LatencyLimit { quantile, limit, of }),
    ]
}

fn any_gates() -> impl Strategy<Value = Vec<Gate>> {
    let role = select(vec![GateRole::Guardrail, GateRole::Signal]);
    let path = prop::option::of("/[a-z]{1,3}(/[a-z0-9_.%-]{3}){0,2}")
        .prop_map(|path| path.map(|path| PathPrefix::new(&path).unwrap()));
    let limit = || prop::option::of((1_u32..1_000_000).prop_map(|limit| Fraction::new(millionths(limit)).unwrap()));
    let limits = (limit(), limit(), limit()).prop_map(|(errors, status, body)| MirrorLimits { errors, status, body });
    let copies = limits.prop_map(|limits| {
        let some = limits.parts().next().is_some();
        some.then_some((GateRule::Mirror(limits), GateRole::Guardrail, None))
    });
    (prop::collection::vec((any_rule(), role, path), 1..6), copies).prop_map(|(mut gates, copies)| {
        gates.extend(copies);
        let named = gates.into_iter().enumerate().map(|(number, (rule, role, path))| Gate {
            name: Name::new(&format!("gate-{number}")).unwrap(),
            role,
            path,
            rule,
        });
        named.collect()
    })
}

/// Steps that send copies, which come before the others.
fn any_mirrors() -> impl Strategy<Value = Vec<Step>> {
    let step = (1_u16..=10_000, time(9000)).prop_map(|(share, hold)| {
        let share = Weight::from_basis_points(share).unwrap();
        Step::Mirror { share, hold }
    });
    prop::collection::vec(step, 0..3)
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let then = select(vec![OnDeadline::Hold, OnDeadline::Promote, OnDeadline::RollBack]);
    let deadline = prop::option::of((time(9000), then));
    let step = (prop::option::of(1_u16..1000), time(9000), any::<bool>(), deadline, prop::option::of(any_match()));
    (any_mirrors(), prop::collection::vec(step, 1..6)).prop_map(|(mirrors, steps)| {
        let mut weight = 1;
        let mut steps: Vec<Step> = steps
            .into_iter()
            .map(|(more, hold, early, deadline, who)| {
                let Some(more) = more else {
                    return if early { Step::Approval } else { Step::Match { who, hold } };
                };
                weight += more;
                let deadline =
                    deadline.map(|(later, then)| Deadline { after: hold + later + Duration::from_millis(1), then });
                Step::Weight { weight: Weight::from_basis_points(weight).unwrap(), hold, early, deadline }
            })
            .collect();
        steps.push(Step::of_weight(Weight::from_basis_points(9_999).unwrap(), Duration::ZERO));
        mirrors.into_iter().chain(steps).collect()
    })
}

fn any_match() -> impl Strategy<Value = Match> {
    let value = || prop::option::of("[a-z0-9]([ -)+-~]{0,5}[a-z0-9])?");
    let header = ("x-[a-z]{1,4}", value()).prop_map(|(name, value)| HeaderMatch { name, value });
    let cookie = ("[a-z_]{1,5}", prop::option::of("[a-z0-9=%]{2,6}"));
    let cookie = cookie.prop_map(|(name, value)| CookieMatch { name, value });
    let headers = prop::collection::vec(header, 0..4).prop_map(|mut headers| {
        headers.sort_by(|one, other| one.name.cmp(&other.name));
        headers.dedup_by(|one, other| one.name == other.name);
        headers
    });
    let matched = (headers, prop::option::of(cookie));
    let matched = matched.prop_filter("everybody", |(headers, cookie)| cookie.is_some() || !headers.is_empty());
    matched.prop_map(|(headers, cookie)| Match { headers, cookie, judged: false })
}

pub(crate) fn any_plan() -> impl Strategy<Value = Plan> {
    let rate = || (1_u32..=50_000).prop_map(|thousandths| f64::from(thousandths) / 1e5);
    let baseline = select(vec![
        Baseline::Stable,
        Baseline::Equal,
        Baseline::Version(Name::new("v2").unwrap()),
        Baseline::Version(Name::new("v3").unwrap()),
    ]);
    let drain = prop::option::of(time(86_400));
    let figures = (rate(), rate(), 1_u64..=1_000_000_000, time(3600), drain);
    let advance = select(vec![Advance::Time, Advance::Proof]);
    (figures, advance, baseline, any::<bool>(), any_steps(), any_gates()).prop_map(
        |((alpha, beta, min_requests, warmup, drain), advance, baseline, dry_run, steps, gates)| Plan {
            alpha: Alpha::new(alpha).unwrap(),
            beta: Beta::new(beta).unwrap(),
            min_requests,
            warmup,
            advance,
            baseline,
            dry_run,
            drain,
            steps,
            gates,
        },
    )
}
