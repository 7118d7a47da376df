//! Makes a long record shorter: the older a window, the coarser it becomes.

use meter::Window;

use super::header::Header;
use super::lines::{Counted, Line};
use super::read::{Filled, Reader, Unreadable};
use super::write::{self, Counts, Frame, Names};
use crate::view::Arms;

/// What windows are merged into, in seconds: each time a window is thinned it goes one further.
const SPANS: [u64; 4] = [1, 60, 3_600, 86_400];

/// The same record, of at most `longest` bytes if it can be: the older half is merged one step further, again and again.
/// Behind it is a checkpoint, from which on the record is as it was.
pub(super) fn thinned(bytes: &[u8], longest: usize) -> Result<Vec<u8>, Unreadable> {
    let mut record = thinned_once(bytes)?;
    for _ in SPANS {
        if record.len() <= longest {
            return Ok(record);
        }
        record = thinned_once(&record)?;
    }
    if record.len() > longest { without_the_oldest(&record, longest) } else { Ok(record) }
}

/// One step further.
pub(super) fn thinned_once(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let cut = cut(bytes)?;
    let mut reader = Reader::begin(bytes)?;
    let mut out = bytes[..bytes.len() - reader.input().len()].to_vec();
    let mut merging = Merging::new(reader.header());
    while bytes.len() - reader.input().len() < cut {
        let before = bytes.len() - reader.input().len();
        let Some(line) = reader.read()? else { break };
        let after = bytes.len() - reader.input().len();
        match line {
            Line::Counted(counted) => merging.add(&reader, &counted, &mut out)?,
            // The state here is not that of the merged windows before it.
            Line::Checkpoint(_) => merging.write(&mut out),
            Line::Marked(..) | Line::Gap(_) | Line::End(..) => {
                merging.write(&mut out);
                out.extend(&bytes[before..after]);
            }
        }
    }
    merging.write(&mut out);
    out.extend(&bytes[cut..]);
    Ok(out)
}

/// Where the record stays as it is: at the last checkpoint in its older half, or the first after it; at its end where
/// there is none.
fn cut(bytes: &[u8]) -> Result<usize, Unreadable> {
    let mut reader = Reader::begin(bytes)?;
    let first = bytes.len() - reader.input().len();
    let mut cut = None;
    loop {
        let before = bytes.len() - reader.input().len();
        if before > bytes.len() / 2 && cut.is_some() {
            break;
        }
        let Some(line) = reader.read()? else { break };
        // A checkpoint right behind the first line has nothing to be thinned before it.
        if matches!(line, Line::Checkpoint(_)) && before > first {
            cut = Some(before);
        }
    }
    Ok(cut.unwrap_or(bytes.len()))
}

/// Drops the oldest lines and says how many windows are missing.
fn without_the_oldest(bytes: &[u8], longest: usize) -> Result<Vec<u8>, Unreadable> {
    let mut reader = Reader::begin(bytes)?;
    let head = bytes.len() - reader.input().len();
    let mut lost = 0;
    while head + reader.input().len() > longest {
        match reader.read()? {
            Some(Line::Counted(counted)) => lost += u64::from(counted.times),
            Some(Line::Gap(windows)) => lost += windows,
            Some(Line::Marked(..) | Line::Checkpoint(_) | Line::End(..)) => {}
            None => break,
        }
    }
    let mut out = bytes[..head].to_vec();
    write::gap(&mut out, lost);
    out.extend(*reader.input());
    Ok(out)
}

/// Windows that become one.
#[derive(Debug)]
struct Merging {
    header: Header,
    names: Names,
    merged: Option<Frame>,
    /// Whether the canary was compared with the baseline's window.
    compared: bool,
    sum: Filled,
    read: Filled,
}

impl Merging {
    fn new(header: &Header) -> Self {
        Self {
            header: header.clone(),
            names: Names::of(header),
            merged: None,
            compared: false,
            sum: Filled::default(),
            read: Filled::default(),
        }
    }

    fn add(&mut self, reader: &Reader<&[u8]>, counted: &Counted, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let compared = reader.fill(counted, &mut self.read)?;
        let span = SPANS.into_iter().find(|span| counted.span.is_none_or(|of| of < *span)).unwrap_or(SPANS[3]);
        let joins = self.merged.is_some_and(|merged| {
            let slot = |second: i64| second.div_euclid(span as i64);
            merged.span == Some(span)
                && slot(merged.at.second()) == slot(counted.at.second())
                && (merged.generation, merged.weight) == (counted.generation, counted.weight)
                && merged.draws.map(|draws| draws.weight) == counted.draws.map(|draws| draws.weight)
                && merged.copies.is_some() == counted.copies.is_some()
                && self.compared == compared
        });
        if !joins {
            self.write(out);
        }
        let frame = Frame {
            at: counted.at,
            generation: counted.generation,
            weight: counted.weight,
            times: 1,
            span: Some(span),
            draws: counted.draws,
            copies: counted.copies,
            endpoints: counted.endpoints,
        };
        let merged = self.merged.get_or_insert(Frame { draws: None, copies: None, endpoints: None, ..frame });
        merged.at = frame.at;
        merged.endpoints = frame.endpoints.or(merged.endpoints);
        for _ in 0..counted.times {
            if let Some(draws) = frame.draws {
                let sum = merged.draws.get_or_insert(crate::judge::Draws { canary: 0, all: 0, ..draws });
                sum.canary += draws.canary;
                sum.all += draws.all;
            }
            if let Some(copies) = frame.copies {
                merged.copies.get_or_insert_default().merge(copies);
            }
            for (sum, read) in windows(&mut self.sum).into_iter().zip(windows(&mut self.read)) {
                sum.merge(read);
            }
        }
        self.compared = compared;
        Ok(())
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        let Some(frame) = self.merged.take() else { return };
        let counts = Counts {
            stable: &self.sum.arms.stable,
            canary: &self.sum.arms.canary,
            baseline: self.compared.then_some(&self.sum.baseline),
            matched: Some(&self.sum.matched),
        };
        write::window(out, &self.names, &self.header.compared, &frame, &counts);
        windows(&mut self.sum).into_iter().for_each(Window::clear);
    }
}

fn windows(Filled { arms: Arms { stable, canary }, baseline, matched }: &mut Filled) -> [&mut Window; 4] {
    [stable, canary, baseline, matched]
}
