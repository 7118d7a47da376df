//! The requests of a load, checked once and then only copied.

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::header::{COOKIE, HOST, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use super::{ClientKey, Load, Protocol};
use crate::figures::count;

/// Clients that a load may have: who was hurt is noted for each of them.
const CLIENTS: u32 = 10_000_000;

/// What every request of a load has in common.
#[derive(Debug)]
pub(super) struct Template {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    client: Option<(HeaderName, String)>,
}

impl Template {
    /// Checks what a load should send.
    ///
    /// # Errors
    /// In words: what cannot be sent and why.
    pub(super) fn new(load: &Load) -> anyhow::Result<Self> {
        if !load.path.starts_with('/') {
            return Err(anyhow!("the path {:?} cannot be sent: it must begin with /", load.path));
        }
        let path: PathAndQuery =
            load.path.parse().with_context(|| format!("the path {:?} cannot be sent", load.path))?;
        let mut headers = load.headers.clone();
        let uri = match load.protocol {
            Protocol::Http1 => {
                let host = HeaderValue::from_str(&load.host);
                headers.insert(HOST, host.with_context(|| format!("the host {:?} cannot be sent", load.host))?);
                Uri::from(path)
            }
            Protocol::H2c => {
                let authority: Authority =
                    load.host.parse().with_context(|| format!("the host {:?} cannot be sent", load.host))?;
                let mut parts = http::uri::Parts::default();
                (parts.scheme, parts.authority, parts.path_and_query) =
                    (Some(Scheme::HTTP), Some(authority), Some(path));
                Uri::from_parts(parts)?
            }
        };
        if let Some(clients) = load.clients.as_ref().filter(|clients| clients.population.get() > CLIENTS) {
            let (asked, most) = (count(clients.population.get().into()), count(CLIENTS.into()));
            return Err(anyhow!("{asked} clients are too many: a load may have {most}"));
        }
        let client = match load.clients.as_ref().map(|clients| &clients.key) {
            None => None,
            Some(ClientKey::Header(name)) => Some((name.clone(), "client-".to_owned())),
            Some(ClientKey::Cookie(name)) => {
                let legal = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
                if name.is_empty() || !name.chars().all(legal) {
                    return Err(anyhow!(
                        "{name:?} is no name for a cookie: it must be letters, digits or any of !#$%&'*+-.^_`|~"
                    ));
                }
                Some((COOKIE, format!("{name}=client-")))
            }
        };
        Ok(Self { method: load.method.clone(), uri, headers, body: load.body.clone(), client })
    }

    /// The request of one client.
    pub(super) fn request(&self, client: u32) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        request.method_mut().clone_from(&self.method);
        request.uri_mut().clone_from(&self.uri);
        request.headers_mut().clone_from(&self.headers);
        // The prefix was checked, and digits are always legal: there is no client without its name.
        if let Some((name, prefix)) = &self.client
            && let Ok(value) = HeaderValue::try_from(format!("{prefix}{client}"))
        {
            // Appended, because the load's own headers may hold cookies too.
            request.headers_mut().append(name, value);
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::load::Clients;

    fn load() -> Load {
        Load::new("127.0.0.1:80".parse().unwrap())
    }

    fn by(key: ClientKey) -> Option<Clients> {
        Some(Clients { population: NonZeroU32::MIN, key })
    }

    #[test]
    fn a_client_names_itself_in_its_cookie_or_header() {
        let cookie = Load { clients: by(ClientKey::Cookie("id".into())), ..load() };
        let request = Template::new(&cookie).unwrap().request(7);
        assert_eq!(request.headers()["cookie"], "id=client-7");
        let header = Load { clients: by(ClientKey::Header(HeaderName::from_static("x-user"))), ..load() };
        assert_eq!(Template::new(&header).unwrap().request(7).headers()["x-user"], "client-7");
    }

    #[test]
    fn the_host_is_a_header_in_http1_and_the_authority_in_h2c() {
        let shop = Load { host: "shop.example.com".into(), path: "/a?b=c".into(), ..load() };
        let request = Template::new(&shop).unwrap().request(0);
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()["host"]),
            ("/a?b=c", &"shop.example.com".parse().unwrap())
        );
        let request = Template::new(&Load { protocol: Protocol::H2c, ..shop }).unwrap().request(0);
        assert_eq!(request.uri(), "http://shop.example.com/a?b=c");
        assert!(!request.headers().contains_key("host"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_in_words() {
        let many = Clients { population: NonZeroU32::MAX, key: ClientKey::Cookie("id".into()) };
        for (load, words) in [
            (Load { clients: Some(many), ..load() }, "4 294 967 295 clients are too many: a load may have 10 000 000"),
            (Load { host: "a\nb".into(), ..load() }, "the host \"a\\nb\" cannot be sent"),
            (Load { path: "/a b".into(), ..load() }, "the path \"/a b\" cannot be sent"),
            (Load { path: "a".into(), ..load() }, "the path \"a\" cannot be sent: it must begin with /"),
            (
                Load { clients: by(ClientKey::Cookie("a b".into())), ..load() },
                "\"a b\" is no name for a cookie: it must be letters, digits or any of !#$%&'*+-.^_`|~",
            ),
        ] {
            assert_eq!(Template::new(&load).unwrap_err().to_string(), words);
        }
    }
}
