//! How the process does, by what Linux says of it (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};

/// A look at a process.
#[derive(Debug, Clone)]
pub(crate) struct Vitals {
    /// The process.
    pub(crate) process: u32,
    /// Memory in RAM, in bytes.
    pub(crate) resident: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
    /// Its threads by number: their names, and the time for which each has run.
    pub(crate) threads: BTreeMap<u32, (String, Duration)>,
}

/// Looks at a process.
///
/// # Errors
/// Where there is none, or no Linux.
pub(crate) fn look(process: u32) -> anyhow::Result<Vitals> {
    let of =
        |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).with_context(|| format!("/proc: {file}"));
    let status = of("status")?;
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    let Some(resident): Option<u64> = resident else { bail!("/proc/PID/status has no VmRSS") };
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64;
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let id: u32 = task?.file_name().to_string_lossy().parse()?;
        // One that has just ended is gone.
        if let Ok(stat) = of(&format!("task/{id}/stat"))
            && let Some(thread) = thread(&stat)
        {
            threads.insert(id, thread);
        }
    }
    Ok(Vitals { process, resident: resident << 10, descriptors, threads })
}

/// The name, which is in parentheses, and user and system time (fields 14 and 15) in hundredths of a second.
fn thread(stat: &str) -> Option<(String, Duration)> {
    let (name, rest) = (stat.split_once('(')?.1.rsplit_once(')')?.0, stat.rsplit_once(')')?.1);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some((name.to_owned(), Duration::from_millis((ticks(11)? + ticks(12)?) * 10)))
}
