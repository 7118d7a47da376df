//! A client of the control API that shows everything: status, kind and body of each answer.

use std::net::SocketAddr;
use std::time::Duration;

use control::view::{Phase, RolloutView, ServiceView};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Method, Request};

use crate::patience::until;

/// Where a process is operated.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    agent: Agent,
}

/// What a request got.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Its `content-type`.
    pub(crate) kind: String,
    /// Null where it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    /// The answer as what it must be.
    pub(crate) fn read<T: DeserializeOwned>(self) -> T {
        assert!(self.status < 300, "refused: {self:?}");
        serde_json::from_value(self.body).unwrap()
    }
}

impl Admin {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(15)))
            .proxy(None)
            .build()
            .new_agent();
        Self { address, agent }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request as it is written here; none where nobody answers.
    pub(crate) fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body.to_owned()).unwrap()).ok()?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let (status, kind) = (response.status().as_u16(), kind.to_owned());
        let text = response.body_mut().read_to_string().ok()?;
        Some(Answer { status, kind, body: serde_json::from_str(&text).unwrap_or_default() })
    }

    /// Sends a change; somebody answers.
    pub(crate) fn change(&self, method: Method, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.ask(method, path, &headers, &body.to_string()).expect("the control API to answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut response = self.agent.get(format!("{}{path}", self.url())).call().unwrap();
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let (status, kind) = (response.status().as_u16(), kind.to_owned());
        let text = response.body_mut().read_to_string().unwrap();
        Answer { status, kind, body: serde_json::from_str(&text).unwrap_or_default() }
    }

    /// An answer that is no JSON.
    pub(crate) fn text(&self, path: &str) -> String {
        let mut response = self.agent.get(format!("{}{path}", self.url())).call().unwrap();
        response.body_mut().read_to_string().unwrap()
    }

    /// The sum of a metric over all of its series that have these labels, whatever others they have; 0 where there is
    /// none.
    pub(crate) fn counted(&self, metric: &str, labels: &[(&str, &str)]) -> u64 {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let text = self.text("/metrics");
        let series = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} "));
        let wanted = series.filter(|(found, _)| labels.iter().all(|label| found.contains(label.as_str())));
        wanted.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    }

    /// The status of an answer; none where nobody answers.
    pub(crate) fn status_of(&self, path: &str) -> Option<u16> {
        Some(self.agent.get(format!("{}{path}", self.url())).call().ok()?.status().as_u16())
    }

    pub(crate) fn service(&self, service: &str) -> ServiceView {
        self.get(&format!("/api/v1/services/{service}")).read()
    }

    pub(crate) fn rollout(&self, service: &str) -> RolloutView {
        self.get(&format!("/api/v1/services/{service}/rollout")).read()
    }

    pub(crate) fn start(&self, service: &str, canary: &str) -> Answer {
        self.change(Method::POST, &format!("/api/v1/services/{service}/rollout"), &json!({ "canary": canary }))
    }

    pub(crate) fn act(&self, service: &str, action: &str) -> Answer {
        let path = format!("/api/v1/services/{service}/rollout/{action}");
        self.change(Method::POST, &path, &json!({ "reason": "the test says so" }))
    }

    pub(crate) fn set_weight(&self, service: &str, version: &str, weight: u16) -> Answer {
        let body = json!({ "canary": version, "weight": weight });
        self.change(Method::PUT, &format!("/api/v1/services/{service}/weights"), &body)
    }

    /// Waits until the latest rollout is as wanted.
    pub(crate) fn until(&self, service: &str, what: &str, wanted: impl Fn(&RolloutView) -> bool) -> RolloutView {
        until(what, || Some(self.rollout(service)).filter(|rollout| wanted(rollout)))
    }

    /// Waits until the latest rollout is in this phase.
    pub(crate) fn until_phase(&self, service: &str, phase: Phase) -> RolloutView {
        self.until(service, phase.word(), |rollout| {
            assert!(
                rollout.phase == phase || !rollout.phase.has_ended(),
                "it is to be {}, and was {}: {rollout:?}",
                phase.word(),
                rollout.phase.word()
            );
            rollout.phase == phase
        })
    }
}
