//! Headers by which a peer claims who the client is, where it came from, or how; or that a request is a copy.

/// Beside everything that begins with `x-forwarded`: what well-known edges and proxies set, and what origins read.
const NAMES: [&str; 18] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-envoy-external-address",
    "x-scheme",
    "x-url-scheme",
    "client-ip",
    // Whoever ends TLS says these alone (RFC 9440, section 4).
    "client-cert",
    "client-cert-chain",
    "cf-connecting-ip",
    "fastly-client-ip",
    "front-end-https",
    "tidegate-mirror",
    "true-client-ip",
    "x-arr-ssl",
];

/// Whether a header claims such a thing. Many origins cannot tell an underscore from a hyphen, so neither is told here.
pub(super) fn is_claim(name: &str) -> bool {
    // Few names begin so, and every name of every request is asked.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'c' | b't')) {
        return false;
    }
    begins_with(name, "x-forwarded") || NAMES.iter().any(|claim| claim.len() == name.len() && begins_with(name, claim))
}

fn begins_with(name: &str, beginning: &str) -> bool {
    let alike = |(a, b): (u8, u8)| a == b || (a == b'_' && b == b'-');
    name.len() >= beginning.len() && name.bytes().zip(beginning.bytes()).all(alike)
}
