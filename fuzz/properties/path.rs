//! What must hold of any path that is made plain.

use super::path::plain;

/// The first byte says whether slashes may be encoded.
pub(super) fn holds(data: &[u8]) {
    let Some((mode, path)) = data.split_first() else { return };
    let Ok(path) = str::from_utf8(path) else { return };
    let slashes = mode % 2 == 1;
    let Ok(made) = plain(path, slashes) else { return };
    let made = made.unwrap_or_else(|| path.to_owned());
    assert!(made.starts_with('/'), "{made}");
    assert!(matches!(plain(&made, slashes), Ok(None)), "{made} stays as it is");
    // Where there is no step, it means what it meant, to whoever decodes it once.
    let meant = decoded(path.as_bytes());
    if !meant.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b"..")) {
        assert_eq!(decoded(made.as_bytes()), meant, "{path} became {made}");
    }
    // For a server that takes everything for what it may mean.
    let read = made.replace("%2e", ".").replace("%2E", ".").replace("%3b", ";").replace("%3B", ";");
    let read = ["%2f", "%2F", "%5c", "%5C", "\\"].iter().fold(read, |read, slash| read.replace(slash, "/"));
    for segment in read.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        assert!(!matches!(name, "." | ".."), "{path} became {made}, with a step in it");
    }
}

/// What is encoded, as the bytes that it stands for.
fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut bytes, mut at) = (Vec::new(), 0);
    while let Some(byte) = path.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    bytes
}
