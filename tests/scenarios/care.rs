//! One of three endpoints of a version is ill: what users see of it, and how it comes back.

use std::time::Duration;

use control::plane::EndpointHealth;
use control::view::EndpointView;
use loadtest::{Behaviour, Fraction, Load, Origin, Setting, failures};

use crate::patience::{until, until_true};
use crate::shop::{Place, Server, origin};

/// Requests of one endpoint that may fail, at 300 a second, until it is known to be ill: failures in a row, and what was
/// on its way there meanwhile.
const FEW: u64 = 30;

struct Site {
    server: Server,
    origins: [Origin; 3],
    _place: Place,
}

impl Site {
    /// A shop whose v1 has three endpoints, with these further keys.
    fn open(more: &str) -> Self {
        let origins = ["a", "b", "c"].map(origin);
        let place = Place::new();
        let addresses = origins.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
        let head = place.head();
        place.write(&format!(
            "{head}  shop:\n    timeouts: {{ first_byte: 300ms }}\n    versions:\n      v1: {{ endpoints: [{addresses}], slow_start: 2s, {more} }}\n"
        ));
        Self { server: place.serve(), origins, _place: place }
    }

    fn endpoints(&self) -> Vec<EndpointView> {
        self.server.admin.service("shop").versions.remove(0).endpoints
    }

    /// Waits until the third endpoint is so.
    fn until(&self, state: EndpointHealth) -> EndpointView {
        until(state.word(), || Some(self.endpoints().remove(2)).filter(|endpoint| endpoint.state == state))
    }

    fn turn(&self, behaviour: Behaviour, errors: f64) {
        let errors = Fraction::new(errors).unwrap();
        self.origins[2].dial().set(Setting { behaviour, errors, ..Setting::default() });
    }
}

/// The third endpoint falls ill so, is seen to be in this state, gets well again, and comes back slowly.
fn falls_ill_and_comes_back(behaviour: Behaviour, errors: f64, state: EndpointHealth) {
    let site = Site::open("ejection: { first: 2s }");
    let load = Load { timeout: Some(Duration::from_secs(10)), ..site.server.load(300.0) }.start().unwrap();
    until_true("traffic", || load.live().answered > 100);
    site.turn(behaviour, errors);
    let ill = site.until(state);
    assert!(!ill.healthy && ill.reason.is_some() && ill.since.is_some() && ill.next_try.is_some(), "{ill:?}");
    let endpoint = format!("endpoint=\"{}\"}} 0", ill.address);
    until_true("its metric", || site.server.admin.text("/metrics").lines().any(|line| line.ends_with(&endpoint)));
    let status = site.server.tidegate(&["status", "shop"]).out;
    assert!(status.contains(&format!("{} of v1 ", ill.address)), "{status}");
    site.turn(Behaviour::Serve, 0.0);
    let back = site.until(EndpointHealth::Well);
    assert!(back.share < 1.0, "{behaviour:?}: {back:?}");
    until_true("its full share", || site.endpoints()[2].share >= 1.0);
    let before = site.origins[2].arrivals().requests;
    until_true("traffic there", || site.origins[2].arrivals().requests > before + 50);
    let report = load.stop();
    assert!(failures(&report) <= FEW, "{behaviour:?} {errors}: {report}");
    site.server.stop();
}

#[test]
fn an_endpoint_that_answers_500_costs_few_requests_and_comes_back_slowly() {
    falls_ill_and_comes_back(Behaviour::Serve, 1.0, EndpointHealth::Ejected);
}

#[test]
fn an_endpoint_that_resets_costs_few_requests_and_comes_back_slowly() {
    falls_ill_and_comes_back(Behaviour::Reset, 0.0, EndpointHealth::Ejected);
}

/// Users see nothing of it but a wait.
#[test]
fn an_endpoint_that_hangs_costs_few_requests_and_comes_back_slowly() {
    falls_ill_and_comes_back(Behaviour::Hang, 0.0, EndpointHealth::Ejected);
}

#[test]
fn an_endpoint_that_refuses_costs_few_requests_and_comes_back_slowly() {
    falls_ill_and_comes_back(Behaviour::Refuse, 0.0, EndpointHealth::Down);
}

/// It never fails often enough in a row: the others show how ill it is.
#[test]
fn an_endpoint_that_fails_far_more_often_than_four_others_is_ejected_and_comes_back_slowly() {
    let origins = ["a", "b", "c", "d", "e"].map(origin);
    let place = Place::new();
    let addresses = origins.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
    let (head, rule) = (place.head(), "slow_start: 2s, ejection: { failures: 1000, first: 2s }");
    place.write(&format!("{head}  shop: {{ versions: {{ v1: {{ endpoints: [{addresses}], {rule} }} }} }}\n"));
    let server = place.serve();
    let load = server.load(500.0).start().unwrap();
    let third = || server.admin.service("shop").versions.remove(0).endpoints.remove(2);
    origins[2].dial().set_errors(Fraction::new(0.3).unwrap());
    let ill = until("its ejection", || Some(third()).filter(|third| third.state == EndpointHealth::Ejected));
    assert_eq!(ill.reason.as_deref(), Some("it fails far more often than the others"));
    origins[2].dial().set_errors(Fraction::ZERO);
    let back = until("its return", || Some(third()).filter(|third| third.state == EndpointHealth::Well));
    assert!(back.share < 1.0, "{back:?}");
    until_true("its full share", || third().share >= 1.0);
    let report = load.stop();
    let bad = origins[2].arrivals().bad;
    assert_eq!((report.server_errors, failures(&report)), (bad, bad), "{report}");
    server.stop();
}

#[test]
fn a_health_check_takes_away_an_endpoint_that_serves_and_says_that_it_is_not_ready() {
    let site = Site::open("ejection: off, health: { path: /healthz, interval: 100ms, unhealthy: 2 }");
    let checked = |what: &str| {
        let text = site.server.admin.text("/metrics");
        let series = format!("tidegate_health_checks_total{{service=\"shop\",version=\"v1\",result=\"{what}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(series.as_str())?.parse::<u64>().ok());
        count.unwrap_or_else(|| panic!("no {series}in {text}"))
    };
    until_true("checks", || checked("passed") >= 6);
    site.turn(Behaviour::Serve, 1.0);
    let reason = site.until(EndpointHealth::Unhealthy).reason.unwrap();
    assert_eq!(reason, "its health check fails: it answered 500 (200 to 299 pass)");
    let answered = site.server.answers(300);
    assert_eq!((answered("a") + answered("b"), answered("c")), (300, 0));
    until_true("the count", || checked("failed") >= 2);
    site.turn(Behaviour::Serve, 0.0);
    site.until(EndpointHealth::Well);
    let said = || site.server.process.errors();
    until_true("the log", || said().contains("endpoint takes requests again"));
    assert!(said().contains("endpoint takes no requests"), "{}", said());
    site.server.stop();
}
