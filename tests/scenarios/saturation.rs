//! A data plane at its limit.

use std::time::Duration;

use loadtest::{Length, Load, failures};
use ureq::http::Method;

use crate::shop::Shop;

#[test]
fn a_saturated_data_plane_does_not_silence_the_control_api() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    // More than it can take: whenever one of 200 requests ends, another takes its place.
    let length = Length::Lasts(Duration::from_secs(3));
    let load = Load { in_flight: 200, length, ..shop.server.load(50_000.0) }.start().unwrap();
    let mut answers = 0;

    while !load.is_over() {
        assert_eq!(shop.admin().status_of("/livez"), Some(200));
        let service = shop.admin().service("shop");
        assert_eq!(service.stable, "v1");
        let scraped = shop.admin().ask(Method::GET, "/metrics", &[], "").unwrap();
        assert_eq!(scraped.status, 200);
        // A step forward goes through the control loop and the disk.
        let weight = 100 + answers % 2;
        assert_eq!(shop.admin().set_weight("shop", "v2", weight).status, 200);
        answers += 1;
    }

    let report = load.wait();
    assert!(report.not_sent > 0, "the data plane was not saturated: {report}");
    assert_eq!(failures(&report), 0, "{report}");
    assert!(answers >= 10, "only {answers} rounds were answered in 3 s");
}
