//! What the log hears of names: when one begins to fail and when it ends, and where it moved to. Many at once are one
//! line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tracing::{info, warn};

use super::book::News;

/// So many of a kind have a line each.
const FEW: usize = 5;

/// Tells what was gathered. Of a name that did several things, the last of a kind counts.
pub(super) fn tell(news: &[(Arc<str>, News)]) {
    let (mut failing, mut again, mut moved) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut unknown = BTreeMap::new();
    for (name, news) in news {
        let name: &str = name;
        match news {
            News::Failing(reason, last) => drop(failing.insert(name, (reason, *last))),
            News::Unknown(reason) => drop(unknown.insert(name, reason)),
            News::Resolves(since) => drop(again.insert(name, *since)),
            News::Moved(addresses) => drop(moved.insert(name, addresses)),
        }
    }
    for (name, (reason, last)) in few(&failing) {
        let last_answer = last.map_or_else(|| "before the start".to_owned(), moment);
        warn!(name, %reason, last_answer, "name does not resolve, its last addresses stay in use");
    }
    if let Some((first, (reason, _))) = many(&failing) {
        warn!(names = failing.len(), first, %reason, "names do not resolve, their last addresses stay in use");
    }
    for (name, reason) in few(&unknown) {
        warn!(name, %reason, "name does not resolve: nothing is sent there until it does");
    }
    if let Some((first, reason)) = many(&unknown) {
        warn!(names = unknown.len(), first, %reason, "names do not resolve: nothing is sent there until they do");
    }
    for (name, since) in few(&again) {
        info!(name, since = moment(*since), "name resolves again");
    }
    if let Some((first, since)) = many(&again) {
        info!(names = again.len(), first, since = moment(*since), "names resolve again");
    }
    for (name, addresses) in few(&moved) {
        info!(name, addresses = listed(addresses), "name has other addresses");
    }
    if let Some((first, addresses)) = many(&moved) {
        info!(names = moved.len(), first, addresses = listed(addresses), "names have other addresses");
    }
}

fn few<'a, T>(of_kind: &'a BTreeMap<&'a str, T>) -> impl Iterator<Item = (&'a &'a str, &'a T)> {
    of_kind.iter().filter(|_| of_kind.len() <= FEW)
}

/// The first of many.
fn many<'a, T>(of_kind: &'a BTreeMap<&'a str, T>) -> Option<(&'a &'a str, &'a T)> {
    of_kind.first_key_value().filter(|_| of_kind.len() > FEW)
}

fn moment(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), |time| time.to_string())
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
