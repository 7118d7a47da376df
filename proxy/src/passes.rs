//! Requests that go in circles. Each process of this kind that a request passes adds a word of its own to one field, so that
//! the request is known where it comes back.
//!
//! `Via` (RFC 9110, section 7.6.3) is for that, and is not sent: there are origins that leave their responses without
//! compression for whoever sends it (nginx by default).

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::told::Told;

static PASSES: HeaderName = HeaderName::from_static("tidegate-passes");
/// A request may come this often: a service may lead through the same process on purpose.
const MOST_HERE: usize = 3;
/// And pass as many in all.
const MOST: usize = 16;

/// A process among its kind, by a word of its own.
#[derive(Debug, Clone)]
pub(crate) struct Instance(Arc<[u8]>);

impl Instance {
    /// A new one, unlike any other.
    pub(crate) fn new() -> Self {
        Self(format!("{:016x}", fastrand::u64(..)).into_bytes().into())
    }

    /// Whether a request has been here too often, or elsewhere.
    pub(crate) fn has_seen_enough_of(&self, request: &HeaderMap) -> bool {
        let mut words = words(request).peekable();
        if words.peek().is_none() {
            return false;
        }
        let (mut all, mut here) = (0, 0);
        for word in words.take(MOST) {
            all += 1;
            here += usize::from(*word == *self.0);
        }
        all >= MOST || here >= MOST_HERE
    }

    /// Whether a request has been here.
    pub(crate) fn has_seen(&self, request: &HeaderMap) -> bool {
        words(request).take(MOST).any(|word| *word == *self.0)
    }

    /// Tells the origin that its request has been here, behind where it has been before.
    pub(crate) fn to_origin(&self, told: &mut Told, request: &HeaderMap) {
        told.tell(&PASSES, |value| {
            for word in words(request) {
                value.extend_from_slice(word);
                value.extend_from_slice(b", ");
            }
            value.extend_from_slice(&self.0);
        });
    }
}

fn words(request: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = request.get_all(&PASSES).iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a request that has passed these.
    fn passed(by: &[&Instance]) -> HeaderMap {
        let mut request = HeaderMap::new();
        for instance in by {
            let mut told = Told::nothing();
            instance.to_origin(&mut told, &request);
            request.clear();
            told.set(&mut request);
        }
        request
    }

    #[test]
    fn a_request_may_come_three_times_and_pass_others_between() {
        let (here, there) = (Instance::new(), Instance::new());
        assert!(!here.has_seen_enough_of(&passed(&[])));
        assert!(!here.has_seen_enough_of(&passed(&[&there])));
        assert!(!here.has_seen_enough_of(&passed(&[&here, &there, &here])));
        let often = passed(&[&here, &there, &here, &here]);
        assert!(here.has_seen_enough_of(&often) && !there.has_seen_enough_of(&often));
        assert!(there.has_seen(&often) && !Instance::new().has_seen(&often));
    }

    #[test]
    fn a_request_that_has_passed_very_many_goes_no_further() {
        let all: Vec<Instance> = (0..MOST).map(|_| Instance::new()).collect();
        let by: Vec<&Instance> = all.iter().collect();
        assert!(!Instance::new().has_seen_enough_of(&passed(&by[1..])));
        assert!(Instance::new().has_seen_enough_of(&passed(&by)));
    }

    #[test]
    fn whatever_a_client_says_in_that_field_is_understood() {
        let mut request = HeaderMap::new();
        for value in ["", ",,,", "a b", "\u{e9}"] {
            request.append(&PASSES, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        assert!(!Instance::new().has_seen_enough_of(&request));
        request.append(&PASSES, http::HeaderValue::from_bytes(&b",".repeat(8_000)).unwrap());
        assert!(Instance::new().has_seen_enough_of(&request));
    }
}
