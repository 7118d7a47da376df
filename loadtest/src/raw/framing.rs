//! Where a request ends, read strictly.

/// Headers that a head may have.
const HEADERS: usize = 128;

/// What bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Less than a head.
    Partial,
    /// No HTTP/1 request, whatever follows.
    Malformed,
    /// A head whose body is not there yet.
    Head,
    /// A request of this many bytes.
    Whole {
        /// Head and body.
        length: usize,
    },
}

/// Reads the first request of some bytes.
pub(super) fn request(bytes: &[u8]) -> Request {
    // httparse skips empty lines before a request; a strict reader must not.
    if bytes.starts_with(b"\r") || bytes.starts_with(b"\n") {
        return Request::Malformed;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Request::Partial,
        Err(_) => return Request::Malformed,
    };
    let value = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    if let Some(coding) = value("transfer-encoding") {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            return Request::Malformed;
        }
        return match chunked(&bytes[length..]) {
            Ok(Some(body)) => Request::Whole { length: length + body },
            Ok(None) => Request::Head,
            Err(Broken) => Request::Malformed,
        };
    }
    let Some(announced) = value("content-length") else { return Request::Whole { length } };
    match std::str::from_utf8(announced).ok().and_then(|text| text.parse::<usize>().ok()) {
        Some(body) if bytes.len() - length >= body => Request::Whole { length: length + body },
        Some(_) => Request::Head,
        None => Request::Malformed,
    }
}

/// A chunked body that cannot be one.
struct Broken;

/// The length of a chunked body, its terminator and trailers included; `None` where more must come.
fn chunked(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let mut at = 0;
    loop {
        let (line, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Broken),
        };
        at += line;
        if size == 0 {
            return trailers(&bytes[at..]).map(|length| length.map(|length| at + length));
        }
        let end = usize::try_from(size).ok().and_then(|size| at.checked_add(size)).ok_or(Broken)?;
        let after = end.checked_add(2).ok_or(Broken)?;
        match bytes.get(end..after) {
            Some(b"\r\n") => at = after,
            Some(_) => return Err(Broken),
            None => return Ok(None),
        }
    }
}

/// The length of the trailers, their empty line included.
fn trailers(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    match httparse::parse_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete((length, _))) => Ok(Some(length)),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_where_its_framing_says() {
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let fixed = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        let chunks = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: 1\r\n\r\n";
        for whole in [get, fixed, chunks] {
            let followed = format!("{whole}GET");
            assert_eq!(request(followed.as_bytes()), Request::Whole { length: whole.len() }, "{whole}");
            for cut in 1..whole.len() {
                let part = request(&whole.as_bytes()[..cut]);
                assert!(matches!(part, Request::Partial | Request::Head), "{part:?} for {:?}", &whole[..cut]);
            }
        }
    }

    #[test]
    fn what_is_no_request_is_malformed() {
        for bytes in [
            "0\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert_eq!(request(bytes.as_bytes()), Request::Malformed, "{bytes:?}");
        }
    }
}
