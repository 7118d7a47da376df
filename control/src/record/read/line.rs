//! A line after the first, proven.

use crate::judge::{Copies, Draws};
use crate::record::count::{Count, Named, Object};
use crate::record::form::{LineForm, listed};
use crate::record::header::{Compared, Header};
use crate::record::lines::{Checkpoint, Counted, Line, Mark, Why};
use crate::record::moment::Moment;
use crate::view::{Arms, Phase};

/// A window was merged from at most so many seconds: a day.
const LONGEST_SPAN: u64 = 86_400;
/// So many ticks without anything are one line at most.
const MOST_TIMES: u64 = 1_000;

/// What a line after the first says, where it is as documented; in words what is not.
pub(super) fn proven(header: &Header, form: LineForm) -> Result<Line, String> {
    const LEGAL: &str =
        "a line is a window (`versions`), a `mark`, a `checkpoint`, a `gap` or the `end` (docs/records.md)";
    let LineForm { mark, checkpoint, gap, end, .. } = &form;
    let chosen = [mark.is_some(), checkpoint.is_some(), gap.is_some(), end.is_some()];
    let kinds = chosen.iter().filter(|chosen| **chosen).count();
    if kinds > 1 {
        return Err(format!("the line is of two kinds at once; {LEGAL}"));
    }
    let only = |keys: &[&str]| match form.keys().find(|key| !keys.contains(key)) {
        None => Ok(()),
        Some(stray) => Err(format!("`{stray}` does not belong here, legal are {}", listed(keys.iter().copied()))),
    };
    let at = || match form.t {
        None => Err(format!("`t` is missing (Unix time in seconds); {LEGAL}")),
        Some(t) => Moment::from_seconds(t)
            .ok_or_else(|| format!("`t` is {t}, which is no Unix time in seconds (milliseconds are decimals)")),
    };
    if let Some(word) = mark {
        only(&["t", "mark"])?;
        let known = Mark::ALL.into_iter().find(|mark| mark.word() == word);
        let legal = || format!("{word:?} is no mark; legal are {}", listed(Mark::ALL.map(Mark::word)));
        return Ok(Line::Marked(at()?, known.ok_or_else(legal)?));
    }
    if let Some(Count(windows)) = gap {
        only(&["gap"])?;
        return Ok(Line::Gap(*windows));
    }
    if let Some(word) = end {
        only(&["t", "end"])?;
        let outcome = Phase::ALL.into_iter().find(|phase| phase.has_ended() && phase.word() == word);
        if outcome.is_none() && word != "unknown" {
            let legal = Phase::ALL.into_iter().filter(|phase| phase.has_ended()).map(Phase::word);
            return Err(format!("{word:?} is no outcome; legal are {}, unknown", listed(legal)));
        }
        return Ok(Line::End(at()?, outcome));
    }
    if checkpoint.is_some() {
        only(&["t", "why", "checkpoint"])?;
        let word = form.why.as_deref().unwrap_or("routine");
        let why = Why::ALL.into_iter().find(|why| why.word() == word);
        let legal = || format!("`why`: {word:?} is not known; legal are {}", listed(Why::ALL.map(Why::word)));
        let (at, why) = (at()?, why.ok_or_else(legal)?);
        let state = form.checkpoint.unwrap_or_default();
        return Ok(Line::Checkpoint(Box::new(Checkpoint { at, why, state })));
    }
    if form.why.is_some() {
        return Err(format!("`why` belongs to a checkpoint; {LEGAL}"));
    }
    let at = at()?;
    counted(header, form, at).map(|counted| Line::Counted(Box::new(counted)))
}

fn counted(header: &Header, form: LineForm, at: Moment) -> Result<Counted, String> {
    let whole = |key: &str, count: Option<Count>, legal: std::ops::RangeInclusive<u64>| match count {
        Some(Count(count)) if !legal.contains(&count) => {
            Err(format!("`{key}` is {count}; legal is {} to {}", legal.start(), legal.end()))
        }
        Some(Count(count)) => Ok(Some(count)),
        None => Ok(None),
    };
    let small = |key: &str, count: Count| whole(key, Some(count), 0..=1_000_000).map(|count| count.unwrap_or(0) as u32);
    let draws = match form.draws {
        None => None,
        Some(Object(draws)) => {
            let weight = whole("draws.weight", Some(draws.weight), 1..=9_999)?.unwrap_or(0) as u16;
            let (Count(canary), Count(all)) = (draws.canary, draws.all);
            if canary > all {
                return Err(format!("`draws`: {canary} to the canary are more than {all} in all"));
            }
            Some(Draws { weight, canary, all })
        }
    };
    let endpoints = match form.endpoints {
        None => None,
        Some(Object(endpoints)) => Some(Arms {
            stable: small("endpoints.stable", endpoints.stable)?,
            canary: small("endpoints.canary", endpoints.canary)?,
        }),
    };
    let compared_with_stable = match form.compared.as_deref() {
        None => false,
        Some("stable") => true,
        Some(other) => return Err(format!("`compared` is {other:?}; legal is \"stable\", or nothing")),
    };
    let versions = form.versions.map_or_else(Vec::new, |Named(versions)| versions);
    let baseline = match &header.compared {
        Compared::Version(name) => Some(name.as_str()),
        Compared::Stable | Compared::Slice => None,
    };
    let known = [Some(header.stable.as_str()), Some(header.canary.as_str()), baseline];
    if let Some((stranger, _)) = versions.iter().find(|(name, _)| !known.contains(&Some(name))) {
        let legal = listed(known.into_iter().flatten());
        return Err(format!("{stranger:?} is none of this record's versions; legal are {legal}"));
    }
    if form.slice.is_some() && header.compared != Compared::Slice {
        return Err("`slice` needs \"baseline\": \"equal\" in the first line".to_owned());
    }
    let times = whole("times", form.times, 1..=MOST_TIMES)?.map_or(1, |times| times as u32);
    let beside = form.slice.is_some() || form.matched.is_some();
    let copies = form.copies.map(|Object(copies)| copies.proven());
    let copied = copies.is_some_and(|copies| copies != Copies::default());
    let counts = !versions.is_empty() || beside || copied || draws.is_some_and(|draws| draws.all > 0);
    if times > 1 && counts {
        return Err("`times` is for ticks in which nothing was counted; write other ticks one by one".to_owned());
    }
    Ok(Counted {
        at,
        generation: form.generation.map(|Count(generation)| generation),
        weight: whole("weight", form.weight, 0..=10_000)?.map(|weight| weight as u16),
        times,
        span: whole("span", form.span, 1..=LONGEST_SPAN)?,
        draws,
        copies,
        endpoints,
        compared_with_stable,
        versions,
        slice: form.slice,
        matched: form.matched,
    })
}
