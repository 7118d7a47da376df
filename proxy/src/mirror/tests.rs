//! What the tests of the rooms share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use config::{Name, Weight};

use crate::Publisher;
use crate::routing::{Service, Wanted};

/// A service `shop` whose stable v1 has everything, while all of it is copied for v2; `more` is added to what is written
/// of v2.
pub(super) fn service(more: &str) -> Arc<Service> {
    service_with(more, "")
}

/// The same, with further lines for the service.
pub(super) fn service_with(more: &str, lines: &str) -> Arc<Service> {
    let text = format!(
        "services:\n  shop:\n    stable: v1\n    versions:\n      v1: {{ endpoints: ['127.0.0.1:1'] }}\n      v2: {{ endpoints: ['127.0.0.1:2']{more} }}\n{lines}\n"
    );
    let configuration = config::parse(&text, "shop.yaml").unwrap().configuration;
    let mut publisher = Publisher::new(1);
    publisher.install(&configuration, &HashMap::new(), |_| None, Instant::now());
    let (shop, v1, v2) = (Name::new("shop").unwrap(), Name::new("v1").unwrap(), Name::new("v2").unwrap());
    let wanted = Wanted {
        stable: &v1,
        canary: Some((&v2, Weight::ZERO)),
        baseline: None,
        matched: None,
        mirror: Some(Weight::FULL),
        paths: &[],
        generation: 1,
    };
    publisher.steer(&shop, &wanted);
    Arc::clone(publisher.shared().load().service(&shop).unwrap())
}

/// What the header of the version says where it says anything.
pub(super) fn wanted_header() -> Option<&'static str> {
    service("").written.version_header.then_some("v2")
}
