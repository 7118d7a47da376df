//! Failures everywhere: what is tried again stays a part of what users send.

use std::time::Duration;

use loadtest::{Behaviour, Fraction, Length, Load, LoadReport, Origin, Setting, failures};
use ureq::http::StatusCode;

use crate::patience::until_true;
use crate::shop::{Place, Server, origin};

/// What users got, and how many requests came to the endpoints, all three of which do this.
fn storm(setting: Setting) -> (LoadReport, u64, Server) {
    let origins: [Origin; 3] = ["a", "b", "c"].map(origin);
    origins.iter().for_each(|origin| origin.dial().set(setting));
    let place = Place::new();
    let addresses = origins.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
    let head = place.head();
    place.write(&format!("{head}  shop: {{ versions: {{ v1: {{ endpoints: [{addresses}] }} }} }}\n"));
    let server = place.serve();
    let length = Length::Lasts(Duration::from_secs(6));
    let report = Load { length, ..server.load(500.0) }.start().unwrap().wait();
    let upstream = origins.iter().map(|origin| origin.arrivals().requests).sum();
    (report, upstream, server)
}

#[test]
fn where_every_endpoint_answers_503_to_half_of_its_requests_the_endpoints_get_less_than_three_tenths_more() {
    let errors = Fraction::new(0.5).unwrap();
    let error_status = StatusCode::SERVICE_UNAVAILABLE;
    let (report, upstream, server) = storm(Setting { errors, error_status, ..Setting::default() });
    let of_users = report.sent;
    assert!(upstream * 10 < of_users * 13 && upstream * 10 > of_users * 11, "{upstream} for {of_users}");
    // Half fail at first; what is tried again makes a part of them good.
    let failed = failures(&report);
    assert_eq!(failed, report.server_errors, "{report}");
    assert!(failed * 20 < of_users * 9, "{report}");
    // Few fail three times in a row; all others were passed on for want of a budget.
    let refused = || server.admin.counted("tidegate_retry_budget_exhausted_total", &[("service", "shop")]);
    // Figures come a moment after what they are of.
    until_true("what was passed on to be counted", || refused() * 10 > failed * 8);
    assert!(refused() <= failed, "{} of {failed}", refused());
    server.stop();
}

/// A reset of a kept connection may be its end for want of use; where that is not what it is, it is no way past the budget.
#[test]
fn where_every_endpoint_resets_half_of_its_requests_the_endpoints_get_less_than_three_tenths_more() {
    let affected = Fraction::new(0.5).unwrap();
    let (report, upstream, server) = storm(Setting { behaviour: Behaviour::Reset, affected, ..Setting::default() });
    assert!(upstream * 10 < report.sent * 13 && upstream > report.sent, "{upstream} for {}", report.sent);
    assert_eq!(failures(&report), report.server_errors, "{report}");
    server.stop();
}

#[test]
fn where_every_endpoint_breaks_every_connection_the_endpoints_get_less_than_three_tenths_more() {
    let (report, upstream, server) = storm(Setting { behaviour: Behaviour::Garbage, ..Setting::default() });
    assert!(upstream * 10 < report.sent * 13, "{upstream} for {}", report.sent);
    assert_eq!(failures(&report), report.sent, "{report}");
    server.stop();
}
