//! The name or address of a host, with or without a port. Pure.

/// How far a host with an optional port has been read (RFC 3986, section 3.2.2, without what no name in use has).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    Begin,
    Name,
    /// Within the brackets of an IPv6 address.
    Brackets,
    AfterBrackets,
    Port,
}

impl Host {
    pub(super) fn then(self, byte: u8) -> Option<Self> {
        let is_name = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        match (self, byte) {
            (Self::Begin, b'[') => Some(Self::Brackets),
            (Self::Begin | Self::Name, _) if is_name => Some(Self::Name),
            (Self::Name | Self::AfterBrackets, b':') => Some(Self::Port),
            (Self::Brackets, b']') => Some(Self::AfterBrackets),
            (Self::Brackets, _) if byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.') => Some(Self::Brackets),
            (Self::Port, b'0'..=b'9') => Some(Self::Port),
            (Self::Begin | Self::Name | Self::Brackets | Self::AfterBrackets | Self::Port, _) => None,
        }
    }

    pub(super) const fn is_whole(self) -> bool {
        matches!(self, Self::Name | Self::AfterBrackets | Self::Port)
    }
}

/// Whether this is the name or address of one host, with or without a port.
#[must_use]
pub(crate) fn is_host(name: &[u8]) -> bool {
    name.iter().try_fold(Host::Begin, |host, byte| host.then(*byte)).is_some_and(Host::is_whole)
}
