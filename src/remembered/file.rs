//! The form of what is kept: one moment by the wall clock, and all others as so long before or after it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use proxy::endpoint::{Down, Ejected, Memory, REMEMBERED, Unhealthy};
use proxy::routing::Remembered;
use serde::{Deserialize, Serialize};

pub(super) const NAME: &str = "health.json";
/// More is not read.
const LONGEST: u64 = 16 << 20;
/// More endpoints are not kept.
const MOST: usize = 10_000;

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// When it was written, in RFC 3339.
    at: String,
    endpoints: Vec<KeptEndpoint>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptEndpoint {
    service: String,
    version: String,
    endpoint: String,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    down: Option<KeptDown>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unhealthy: Option<KeptUnhealthy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ejected: Option<KeptEjected>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptDown {
    since_ms: i64,
    until_ms: i64,
    tries: u32,
    why: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptUnhealthy {
    since_ms: i64,
    why: String,
    check: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptEjected {
    since_ms: i64,
    until_ms: i64,
    times: u32,
    cause: String,
}

/// What was kept, as far as it still holds now. Nothing where nothing was, or it was too long ago.
///
/// # Errors
/// Where it cannot be read, or understood.
pub(super) fn read(directory: &Path, now: Instant, wall: SystemTime) -> io::Result<Vec<Remembered>> {
    let file = match File::open(directory.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    let Kept { at, endpoints } = serde_json::from_slice(&bytes)?;
    let at: Timestamp = at.parse().map_err(io::Error::other)?;
    // Where the clock went back meanwhile, no time has passed as far as anybody knows.
    let age = wall.duration_since(at.into()).unwrap_or_default();
    if age >= REMEMBERED {
        return Ok(Vec::new());
    }
    let moment = |ms: i64| moment(now, age, ms);
    let remembered = endpoints.into_iter().take(MOST).map(|it| Remembered {
        memory: Memory {
            down: it.down.map(|it| Down {
                since: moment(it.since_ms),
                until: moment(it.until_ms),
                tries: it.tries,
                why: it.why,
            }),
            unhealthy: it.unhealthy.map(|it| Unhealthy { since: moment(it.since_ms), why: it.why, check: it.check }),
            ejected: it.ejected.map(|it| Ejected {
                since: moment(it.since_ms),
                until: moment(it.until_ms),
                times: it.times,
                cause: it.cause,
            }),
        },
        service: it.service,
        version: it.version,
        written: it.endpoint,
        address: it.address,
    });
    Ok(remembered.collect())
}

/// Keeps this in place of what was kept: whole or not at all. It is not waited for the disk: what a loss of power takes is
/// learnt anew.
///
/// # Errors
/// Where the directory cannot be written.
pub(super) fn write(directory: &Path, remembered: &[Remembered], now: Instant, wall: SystemTime) -> io::Result<()> {
    let ms = |at: Instant| match at.checked_duration_since(now) {
        Some(later) => whole_ms(later),
        None => -whole_ms(now.saturating_duration_since(at)),
    };
    let endpoint = |it: &Remembered| KeptEndpoint {
        service: it.service.clone(),
        version: it.version.clone(),
        endpoint: it.written.clone(),
        address: it.address.clone(),
        down: it.memory.down.as_ref().map(|it| KeptDown {
            since_ms: ms(it.since),
            until_ms: ms(it.until),
            tries: it.tries,
            why: it.why.clone(),
        }),
        unhealthy: it.memory.unhealthy.as_ref().map(|it| KeptUnhealthy {
            since_ms: ms(it.since),
            why: it.why.clone(),
            check: it.check.clone(),
        }),
        ejected: it.memory.ejected.as_ref().map(|it| KeptEjected {
            since_ms: ms(it.since),
            until_ms: ms(it.until),
            times: it.times,
            cause: it.cause.clone(),
        }),
    };
    let at = Timestamp::try_from(wall).map_err(io::Error::other)?;
    let kept = Kept { at: at.to_string(), endpoints: remembered.iter().take(MOST).map(endpoint).collect() };
    let next = directory.join(format!("{NAME}.next"));
    fs::write(&next, serde_json::to_vec(&kept)?)?;
    fs::rename(next, directory.join(NAME))
}

fn whole_ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// The moment that was so long after (or before) another, which was so long ago. Now, where no clock reaches it.
fn moment(now: Instant, age: Duration, ms: i64) -> Instant {
    let length = Duration::from_millis(ms.unsigned_abs());
    let moved = if ms < 0 {
        now.checked_sub(length).and_then(|at| at.checked_sub(age))
    } else if let Some(left) = length.checked_sub(age) {
        now.checked_add(left)
    } else {
        now.checked_sub(age.saturating_sub(length))
    };
    moved.unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What is known of an endpoint of which everything is, as of 100 s after this moment.
    fn remembered(began: Instant) -> Remembered {
        let at = |seconds| began + SECOND * seconds;
        Remembered {
            service: "shop".into(),
            version: "v1".into(),
            written: "shop.internal:80".into(),
            address: "10.0.0.1:80".into(),
            memory: Memory {
                down: Some(Down { since: at(40), until: at(110), tries: 3, why: Some("no way".into()) }),
                unhealthy: Some(Unhealthy { since: at(50), why: "503".into(), check: "7".into() }),
                ejected: Some(Ejected { since: at(20), until: at(30), times: 2, cause: "bad".into() }),
            },
        }
    }

    fn here() -> (Instant, SystemTime) {
        super::super::now()
    }

    #[test]
    fn what_is_kept_is_the_same_at_whatever_moment_it_is_read_again() {
        let place = tempfile::tempdir().unwrap();
        let (began, wall) = here();
        let (now, known) = (began + SECOND * 100, remembered(began));
        assert_eq!(read(place.path(), now, wall).unwrap(), []);
        write(place.path(), std::slice::from_ref(&known), now, wall).unwrap();
        for later in [0, 5, 599].map(|seconds| SECOND * seconds) {
            let found = read(place.path(), now + later, wall + later).unwrap();
            // The wall clock is kept more finely than the rest.
            assert_eq!(found, std::slice::from_ref(&known), "{later:?}");
        }
        assert_eq!(read(place.path(), now + SECOND * 600, wall + SECOND * 600).unwrap(), [], "too long ago");
        let back = read(place.path(), now + SECOND, wall - SECOND * 86_400).unwrap();
        assert_eq!(back[0].memory.down.as_ref().unwrap().until, now + SECOND * 11, "no time has passed");
    }

    #[test]
    fn what_is_no_such_file_is_an_error_and_no_number_in_it_is_a_panic() {
        let place = tempfile::tempdir().unwrap();
        let (now, wall) = here();
        for broken in [&b""[..], b"\0\0\0\0", b"{", b"[]", b"\xff", br#"{"at":"yesterday","endpoints":[]}"#] {
            fs::write(place.path().join(NAME), broken).unwrap();
            assert!(read(place.path(), now, wall).is_err());
        }
        let (least, most) = (i64::MIN, i64::MAX);
        for (since, until) in [(least, most), (most, least), (least, least), (most, most)] {
            let down = format!(r#""down":{{"since_ms":{since},"until_ms":{until},"tries":4294967295,"why":null}}"#);
            let ejected =
                format!(r#""ejected":{{"since_ms":{since},"until_ms":{until},"times":4294967295,"cause":""}}"#);
            let at = Timestamp::try_from(wall).unwrap();
            let endpoint = r#""service":"s","version":"v","endpoint":"e","address":"a""#;
            let text = format!(r#"{{"at":"{at}","endpoints":[{{{endpoint},{down},{ejected}}}]}}"#);
            fs::write(place.path().join(NAME), text).unwrap();
            assert_eq!(read(place.path(), now, wall).unwrap().len(), 1);
        }
    }
}
