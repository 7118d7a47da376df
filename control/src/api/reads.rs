//! What can be read: all of it from the snapshot that the control loop last published.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Api;
use super::nearest::{did_you_mean, quoted};
use super::problem::{Kind, Problem};
use super::routes::Named;
use crate::process::ProcessView;
use crate::view::{RolloutView, ServiceSnapshot, ServiceView};

impl Api {
    /// A service of the present snapshot.
    pub(super) fn service(&self, name: &str) -> Result<Arc<ServiceSnapshot>, Problem> {
        let snapshot = self.handle.snapshot.load();
        snapshot.services.get(name).cloned().ok_or_else(|| {
            let tail = did_you_mean(name, snapshot.services.keys().map(String::as_str), "the services are");
            Problem::new(Kind::NotFound, format!("there is no service {}{tail}", quoted(name)))
        })
    }
}

/// Whether the process lives: if this answers it does, and its control loop is asked for its pulse.
pub(super) async fn livez(State(api): State<Api>) -> Result<&'static str, Problem> {
    let draining = api.options.draining.load(Ordering::Acquire);
    if api.handle.ended.load(Ordering::Acquire) && !draining {
        let detail = "the control loop has ended: traffic keeps its last split and nothing is judged; restart Tidegate";
        return Err(Problem::new(Kind::ControlLoopSilent, detail));
    }
    if let Some(silent) = api.handle.pulse.stalled_for().filter(|_| !draining) {
        let detail = format!(
            "the control loop has not looked at the traffic for {} s: traffic keeps its last split and nothing is \
             judged; restart Tidegate if this lasts",
            silent.as_secs()
        );
        return Err(Problem::new(Kind::ControlLoopSilent, detail));
    }
    Ok("ok\n")
}

/// Whether requests should be sent here.
pub(super) async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    if api.options.draining.load(Ordering::Acquire) {
        return Err(Problem::new(Kind::NotReady, "this process drains and ends; send requests elsewhere"));
    }
    if !api.handle.snapshot.load().ready {
        return Err(Problem::new(Kind::NotReady, "the journal is not replayed or the listeners do not accept yet"));
    }
    Ok("ready\n")
}

pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let text = crate::metrics::render(&api.handle.snapshot.load_full(), &api.options.process.view());
    ([(CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], text)
}

pub(super) async fn services(State(api): State<Api>) -> Json<Vec<ServiceView>> {
    Json(api.handle.snapshot.load().services.values().map(|service| service.view.clone()).collect())
}

pub(super) async fn service(State(api): State<Api>, Named(name): Named) -> Result<Json<ServiceView>, Problem> {
    Ok(Json(api.service(name.as_str())?.view.clone()))
}

pub(super) async fn rollout(State(api): State<Api>, Named(name): Named) -> Result<Json<RolloutView>, Problem> {
    let service = api.service(name.as_str())?;
    match &service.view.rollout {
        Some(rollout) => Ok(Json(rollout.clone())),
        None => Err(Problem::new(
            Kind::NotFound,
            format!("{name} never had a rollout; begin one with: tidegate rollout start {name} --canary VERSION"),
        )),
    }
}

pub(super) async fn history(
    State(api): State<Api>,
    Named(name): Named,
) -> Result<Json<Vec<Arc<RolloutView>>>, Problem> {
    Ok(Json(api.service(name.as_str())?.history.clone()))
}

/// The process itself.
pub(super) async fn process(State(api): State<Api>) -> Json<ProcessView> {
    Json(api.options.process.view())
}
