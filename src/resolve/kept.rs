//! The last good answers on disk: a process that starts while DNS is down goes on with them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

const FILE: &str = "names.json";
/// More is not read: 10 000 names with 64 addresses each are less.
const LONGEST: u64 = 64 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    names: BTreeMap<String, Vec<IpAddr>>,
}

/// What was kept in this state directory: nothing where nothing was, or where it cannot be read. A name is then resolved
/// or not, as if it was never known.
pub(super) fn read(directory: &Path) -> HashMap<Arc<str>, Arc<[IpAddr]>> {
    let mut bytes = Vec::new();
    let read = File::open(directory.join(FILE)).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    match read.and_then(|_| Ok(serde_json::from_slice::<Kept>(&bytes)?)) {
        Ok(Kept { names }) => {
            let kept = names.into_iter().filter(|(_, addresses)| !addresses.is_empty());
            kept.map(|(name, addresses)| (name.into(), addresses.into())).collect()
        }
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                let file = directory.join(FILE);
                tracing::warn!(file = %file.display(), %error, "the last addresses of names cannot be read");
            }
            HashMap::new()
        }
    }
}

/// Keeps these answers in place of what was kept: whole or not at all.
///
/// # Errors
/// Where the directory cannot be written.
pub(super) fn write(directory: &Path, names: &BTreeMap<Arc<str>, Arc<[IpAddr]>>) -> io::Result<()> {
    let names = names.iter().map(|(name, addresses)| (name.to_string(), addresses.to_vec())).collect();
    let text = serde_json::to_vec(&Kept { names })?;
    let next = directory.join(format!("{FILE}.next"));
    let mut file = File::create(&next)?;
    file.write_all(&text)?;
    file.sync_data()?;
    fs::rename(next, directory.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_cannot_be_read_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(directory.path()).is_empty());
        let addresses: Arc<[IpAddr]> = Arc::from([[10, 0, 0, 1].into(), "fd00::1".parse::<IpAddr>().unwrap()]);
        write(directory.path(), &[("shop.internal".into(), Arc::clone(&addresses))].into()).unwrap();
        assert_eq!(read(directory.path()), HashMap::from([("shop.internal".into(), addresses)]));
        for broken in [&b"{"[..], b"", b"\xff\xfe", br#"{"names":{"a":["no address"]}}"#, br#"{"names":{"a":[]}}"#] {
            fs::write(directory.path().join(FILE), broken).unwrap();
            assert!(read(directory.path()).is_empty());
        }
    }
}
