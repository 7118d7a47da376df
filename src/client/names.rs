//! The names of endpoints, for people.

use std::io;

use control::view::{NameView, VersionView};

use super::screen::{Screen, Tone, plain};

/// Of so many names of a version it is said where they lead; all are in the JSON.
const MOST_NAMES: usize = 10;
/// So many addresses of a name are said.
const MOST_ADDRESSES: usize = 8;

/// Prints where the names of a version lead, and which of them do not resolve now.
pub(super) fn of(version: &VersionView, screen: &mut Screen<'_>) -> io::Result<()> {
    for name in version.names.iter().take(MOST_NAMES) {
        let failing = match &name.problem {
            None => String::new(),
            Some(problem) => {
                let label = screen.toned(Tone::Heed, "does not resolve");
                let since = name.failing_since.as_ref().map_or_else(String::new, |at| format!(", since {}", plain(at)));
                format!(" ({label}: {}{since})", plain(problem))
            }
        };
        screen.line(&format!("  {} of {}: {}{failing}", plain(&name.name), plain(&version.name), addresses(name)))?;
    }
    match version.names.len().saturating_sub(MOST_NAMES) {
        0 => Ok(()),
        more => screen.line(&format!("  and {more} more names of {}", plain(&version.name))),
    }
}

fn addresses(name: &NameView) -> String {
    let shown: Vec<String> = name.addresses.iter().take(MOST_ADDRESSES).map(|address| plain(address)).collect();
    let more = match name.addresses.len().saturating_sub(MOST_ADDRESSES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}
