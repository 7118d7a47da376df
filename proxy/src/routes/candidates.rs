//! The services of one host and prefix: by method and headers, the more specific first.

use std::collections::HashMap;

use http::HeaderMap;

use super::Asked;
use super::condition::Condition;

/// So many conditions are looked at one after the other: that is faster than a hash map.
const FEW: usize = 8;

/// The services of one host and prefix.
#[derive(Debug)]
pub(super) enum Candidates {
    /// Only one, which asks for nothing else: by far the most usual.
    Plain(usize),
    /// The more specific first.
    Each(Vec<(Condition, usize)>),
    /// Too many to look at each: a header for each tenant, say.
    Many(Box<Many>),
}

/// Services by a header that they want: of those that a request has the headers of, few are left to look at.
#[derive(Debug)]
pub(super) struct Many {
    /// The more specific first.
    each: Vec<(Condition, usize)>,
    /// Places in `each` by a header of the condition, the one that the fewest others want as well; in ascending order.
    by_header: HashMap<Box<str>, ByValue>,
    /// Places of those that want no header. They differ by method, so they are few.
    without: Vec<usize>,
}

/// Who wants a header.
#[derive(Debug, Default)]
struct ByValue {
    any: Vec<usize>,
    this: HashMap<Box<[u8]>, Vec<usize>>,
}

impl Candidates {
    pub(super) fn new(place: usize, condition: Condition) -> Self {
        if condition.is_none() { Self::Plain(place) } else { Self::Each(vec![(condition, place)]) }
    }

    pub(super) fn add(&mut self, place: usize, condition: Condition) {
        if let Self::Plain(other) = self {
            *self = Self::Each(vec![(Condition::default(), *other)]);
        }
        if let Self::Each(each) = self {
            // Behind those of its own rank: where a request could match both, the first of the file is the one.
            let at = each.partition_point(|(other, _)| other.rank() >= condition.rank());
            each.insert(at, (condition, place));
        }
    }

    /// All are added.
    pub(super) fn finish(&mut self) {
        if let Self::Each(each) = self
            && each.len() > FEW
        {
            *self = Self::Many(Box::new(Many::of(std::mem::take(each))));
        }
    }

    /// The first whose condition is met.
    #[inline]
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        match self {
            Self::Plain(place) => Some(*place),
            Self::Each(each) => each
                .iter()
                .find(|(condition, _)| condition.is_met(asked.method, asked.headers))
                .map(|(_, place)| *place),
            Self::Many(many) => many.find(asked),
        }
    }
}

impl Many {
    fn of(each: Vec<(Condition, usize)>) -> Self {
        let mut wanted: HashMap<(&str, Option<&str>), usize> = HashMap::new();
        for header in each.iter().flat_map(|(condition, _)| condition.headers()) {
            *wanted.entry((&header.name, header.value.as_deref())).or_default() += 1;
        }
        let (mut by_header, mut without) = (HashMap::<Box<str>, ByValue>::new(), Vec::new());
        for (at, (condition, _)) in each.iter().enumerate() {
            let by = |header: &&config::HeaderMatch| wanted.get(&(&*header.name, header.value.as_deref())).copied();
            let Some(header) = condition.headers().iter().min_by_key(by) else {
                without.push(at);
                continue;
            };
            let by_value = by_header.entry(header.name.as_str().into()).or_default();
            match &header.value {
                Some(value) => by_value.this.entry(value.as_bytes().into()).or_default().push(at),
                None => by_value.any.push(at),
            }
        }
        Self { each, by_header, without }
    }

    fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        let mut first = self.first(&self.without, self.each.len(), asked);
        for by_value in self.of_headers(asked.headers) {
            let (of, value) = by_value;
            first = self.first(&of.any, first, asked);
            if let Some(this) = of.this.get(value) {
                first = self.first(this, first, asked);
            }
        }
        self.each.get(first).map(|(_, place)| *place)
    }

    /// The first of these whose condition is met; `before` where none is that stands before it.
    fn first(&self, places: &[usize], before: usize, asked: &Asked<'_>) -> usize {
        let is_met = |at: &usize| self.each[*at].0.is_met(asked.method, asked.headers);
        places.iter().copied().take_while(|at| *at < before).find(is_met).unwrap_or(before)
    }

    /// Who wants a header that the request has, with its first value: who wants a value wants no other beside it. Neither
    /// many headers of a request nor many of the file are all looked at.
    fn of_headers<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = (&'a ByValue, &'a [u8])> {
        let is_short = self.by_header.len() < headers.keys_len();
        let of_file = self.by_header.iter().filter(move |_| is_short);
        let of_file = of_file.filter_map(|(name, of)| Some((of, headers.get(&**name)?.as_bytes())));
        let of_request = headers.keys().filter(move |_| !is_short);
        let of_request =
            of_request.filter_map(|name| Some((self.by_header.get(name.as_str())?, headers.get(name)?.as_bytes())));
        of_file.chain(of_request)
    }
}
