//! Requests to a control API, and what goes wrong with them in plain words.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::screen::plain;
use crate::cli::AdminUrl;

/// A connection is made within this.
const CONNECT: Duration = Duration::from_secs(5);
/// A read needs nobody but the server's own thread.
const READ: Duration = Duration::from_secs(5);
/// The server answers a change within 10 s or says that it does not; a reload may take longer where names resolve slowly.
const CHANGE: Duration = Duration::from_secs(75);
/// A probe is answered within this.
const PROBE: Duration = Duration::from_secs(2);
/// More than this no answer has.
const LARGEST: u64 = 64 * 1024 * 1024;

/// How to reach one server.
#[derive(Debug)]
pub struct Connection {
    url: AdminUrl,
    token: Option<String>,
    agent: Agent,
}

/// Why there is no answer to go on with.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answered.
    #[error(
        "cannot reach the control API at {url}: {why}; is the server running? Another address: --admin URL or \
         TIDEGATE_ADMIN"
    )]
    Unreachable {
        /// What was tried.
        url: AdminUrl,
        /// What came of it.
        why: String,
    },
    /// Somebody took the connection, and said nothing in time.
    #[error(
        "the control API at {url} gave no answer in time: the server hangs or is overloaded, or something else listens \
         there. Another address: --admin URL or TIDEGATE_ADMIN"
    )]
    Silent {
        /// Who was asked.
        url: AdminUrl,
    },
    /// The server said no.
    #[error("refused: {detail}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// What is wrong, what is legal, what to do.
        detail: String,
    },
    /// Somebody answered who does not speak as a control API does.
    #[error("what answers at {url} is no control API that this command knows: {why}")]
    Strange {
        /// Who was asked.
        url: AdminUrl,
        /// What was wrong with the answer.
        why: String,
    },
}

impl Connection {
    /// How to reach the server at `url` with this token. Connects when it is first asked.
    #[must_use]
    pub fn new(url: AdminUrl, token: Option<String>) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(CHANGE))
            .max_redirects(0)
            // A proxy of the environment is meant for the world outside, and would be shown the token.
            .proxy(None)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { url, token, agent }
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(credentials) = self.credentials() {
            request = request.header("authorization", credentials);
        }
        self.read(request.config().timeout_global(Some(READ)).build().call())
    }

    /// Posts JSON to `path`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        self.change(self.agent.post(format!("{}{path}", self.url)), body)
    }

    /// Puts JSON to `path`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        self.change(self.agent.put(format!("{}{path}", self.url)), body)
    }

    /// Asks whether `path` answers with success, within two seconds.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn probe(&self, path: &str) -> Result<(), Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.url)).config().timeout_global(Some(PROBE)).build();
        // A probe needs no token; with one, the server may be asked by any name.
        if let Some(credentials) = self.credentials() {
            request = request.header("authorization", credentials);
        }
        self.answered(request.call()).map(drop)
    }

    fn change<T: DeserializeOwned>(
        &self,
        mut request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        body: &Value,
    ) -> Result<T, Failure> {
        if let Some(credentials) = self.credentials() {
            request = request.header("authorization", credentials);
        }
        self.read(request.header("content-type", "application/json").send(body.to_string()))
    }

    fn credentials(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<T, Failure> {
        let text = self.answered(answer)?;
        serde_json::from_str(&text).map_err(|error| self.strange(&error.to_string()))
    }

    /// The body of an answer that is a success.
    fn answered(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<String, Failure> {
        let mut response = answer.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(LARGEST).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return Ok(text);
        }
        match serde_json::from_str::<Value>(&text) {
            Ok(problem) if problem["detail"].is_string() => {
                Err(Failure::Refused { status: status.as_u16(), detail: detail(status, &problem) })
            }
            Ok(_) | Err(_) => Err(self.strange(&format!("it answered {status} without saying why"))),
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        // Nobody takes the connection of a host that is not there: that is the one wait that says nothing of a server.
        if let ureq::Error::Timeout(which) = error
            && !matches!(which, ureq::Timeout::Connect)
        {
            return Failure::Silent { url: self.url.clone() };
        }
        let why = if let ureq::Error::Timeout(_) = error {
            "no connection in time".to_owned()
        } else if let ureq::Error::Io(error) = error
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            "connection refused".to_owned()
        } else {
            plain(&error.to_string())
        };
        Failure::Unreachable { url: self.url.clone(), why }
    }

    fn strange(&self, why: &str) -> Failure {
        Failure::Strange { url: self.url.clone(), why: plain(why) }
    }
}

/// What a problem says, with the problems of a configuration a line each.
fn detail(status: StatusCode, problem: &Value) -> String {
    let Some(problems) = problem["problems"].as_array() else {
        let detail = plain(problem["detail"].as_str().unwrap_or_default());
        let present = &problem["present"]["generation"];
        return match present.as_u64() {
            Some(generation) if status == StatusCode::CONFLICT => {
                format!("{detail} (present generation: {generation})")
            }
            Some(_) | None => detail,
        };
    };
    let mut text = "the configuration has problems, nothing was changed".to_owned();
    for problem in problems.iter().filter_map(Value::as_str) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{}", plain(problem));
    }
    text
}
