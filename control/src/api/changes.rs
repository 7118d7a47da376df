//! What can be changed. Each change goes to the control loop as a [`Command`] and waits for its answer, so what is
//! answered is in force.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use config::{Name, Weight};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Api;
use super::body::Change;
use super::nearest::{did_you_mean, quoted};
use super::problem::{Kind, Problem};
use super::routes::{ActionWord, Named};
use crate::command::{Action, Command, Refused, Reloaded};
use crate::process::ProcessPhase;
use crate::view::{Phase, RolloutView, ServiceView};

/// The control loop answers within milliseconds; after this long something is wrong with it.
const ANSWER: Duration = Duration::from_secs(10);
/// Reading a configuration resolves names, which may take as long as the resolver lets it.
const READ_CONFIGURATION: Duration = Duration::from_secs(60);
/// An idempotency key may have this many characters.
const KEY: usize = 255;

/// `PUT /services/{service}/weights`.
pub(super) async fn set_weight(
    State(api): State<Api>,
    Named(service): Named,
    change: Change,
) -> Result<Json<ServiceView>, Problem> {
    api.service(service.as_str())?;
    let mut fields = change.fields(&["canary", "weight", "if_generation", "reason"]);
    let version = fields.name("canary");
    fields.require("weight", "basis points, 0 to 10000");
    let weight = fields.whole("weight", u64::from(Weight::FULL.basis_points()), " (basis points: 1000 is 10%)");
    let if_generation = fields.whole("if_generation", u64::MAX, "");
    let reason = fields.reason();
    fields.finish()?;
    let weight = weight
        .and_then(|points| Weight::from_basis_points(u16::try_from(points).ok()?).ok())
        .ok_or_else(|| Problem::new(Kind::InvalidValues, "weight is not from 0 to 10000"))?;
    let answer = ask(&api, |reply| Command::SetWeight {
        service: service.clone(),
        version,
        weight,
        if_generation,
        reason,
        reply,
    });
    answer.await?.map(Json).map_err(|refused| refusal(&api, &service, refused, Unknown::InBody))
}

/// `POST /services/{service}/rollout`.
pub(super) async fn start(
    State(api): State<Api>,
    Named(service): Named,
    headers: HeaderMap,
    change: Change,
) -> Result<Response, Problem> {
    api.service(service.as_str())?;
    let idempotency_key = idempotency_key(&headers)?;
    let mut fields = change.fields(&["canary", "plan", "reason"]);
    fields.require("canary", "the version to roll out");
    let canary = fields.name("canary");
    let plan = fields.name("plan").map(|plan| plan.as_str().to_owned());
    let reason = fields.reason();
    fields.finish()?;
    let canary = canary.ok_or_else(|| Problem::new(Kind::InvalidValues, "the field \"canary\" is missing"))?;
    let answer =
        ask(&api, |reply| Command::Start { service: service.clone(), canary, plan, reason, idempotency_key, reply });
    let rollout = answer.await?.map_err(|refused| refusal(&api, &service, refused, Unknown::InBody))?;
    let location = format!("/api/v1/services/{service}/rollout");
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(rollout)).into_response())
}

/// `POST /services/{service}/rollout/{action}`.
pub(super) async fn act(
    State(api): State<Api>,
    Named(service): Named,
    ActionWord(word): ActionWord,
    change: Change,
) -> Result<Json<RolloutView>, Problem> {
    api.service(service.as_str())?;
    let Some(action) = Action::ALL.into_iter().find(|action| action.word() == word) else {
        let tail = did_you_mean(&word, Action::ALL.map(Action::word), "legal are");
        return Err(Problem::new(Kind::NotFound, format!("there is no action {}{tail}", quoted(&word))));
    };
    let mut fields = change.fields(&["reason"]);
    let reason = fields.reason();
    fields.finish()?;
    let answer = ask(&api, |reply| Command::Act { service: service.clone(), action, reason, reply });
    answer.await?.map(Json).map_err(|refused| {
        let forbidden = matches!(refused, Refused::Conflict { .. });
        let problem = refusal(&api, &service, refused, Unknown::InPath);
        if forbidden { allowing(&api, &service, problem) } else { problem }
    })
}

/// `POST /reload`.
pub(super) async fn reload(State(api): State<Api>, change: Change) -> Result<Json<Value>, Problem> {
    change.fields(&[]).finish()?;
    let _turn = api.options.reloading.lock().await;
    // The new process has perhaps read the file already, and this one will not be asked again.
    if api.options.process.view().phase == ProcessPhase::Upgrading {
        return Err(Problem::new(
            Kind::Conflict,
            "an upgrade is under way, and the new process has perhaps read the file before it was changed; nothing was \
             changed; reload again when the upgrade is over (`phase` of /api/v1/process is `serving`)",
        ));
    }
    let read = Arc::clone(&api.reload);
    let resolved = timeout(READ_CONFIGURATION, spawn_blocking(move || read()))
        .await
        .map_err(|_| {
            Problem::new(Kind::InvalidConfiguration, "the configuration was not read within a minute; does every endpoint's name resolve? Nothing was changed")
        })?
        .map_err(|_| Problem::new(Kind::Internal, "reading the configuration failed within Tidegate; nothing was changed"))?
        .map_err(|problems| {
            let problem = Problem::new(Kind::InvalidConfiguration, problems.join("\n")).with("problems", json!(problems));
            // Told to the control loop, which shows it; where that has ended there is nobody to show it.
            let _ = api.handle.commands.send(Command::ReloadFailed { problems });
            problem
        })?;
    match ask(&api, |reply| Command::Reload { resolved, reply }).await? {
        Ok(Reloaded { needs_restart, notes }) => {
            Ok(Json(json!({ "reloaded": true, "needs_restart": needs_restart, "notes": notes })))
        }
        Err(Refused::Unknown(detail) | Refused::Invalid(detail)) => {
            Err(Problem::new(Kind::InvalidConfiguration, detail))
        }
        Err(refused @ (Refused::Conflict { .. } | Refused::JournalUnwritable(_))) => Err(plain(refused)),
    }
}

/// Sends a command and waits for its answer.
async fn ask<T>(api: &Api, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Problem> {
    let (reply, answer) = oneshot::channel();
    let gone = || {
        Problem::new(
            Kind::ControlLoopSilent,
            "the control loop has ended, so nothing can be changed; traffic keeps its last split; restart Tidegate",
        )
    };
    api.handle.commands.send(command(reply)).map_err(|_| gone())?;
    match timeout(ANSWER, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(gone()),
        Err(_) => Err(Problem::new(
            Kind::ControlLoopSilent,
            format!(
                "the control loop did not answer within {} s; the change may still come into force: look at the status before trying again",
                ANSWER.as_secs()
            ),
        )),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(text) if (1..=KEY).contains(&text.len()) => Ok(Some(text.to_owned())),
        Ok(_) | Err(_) => {
            Err(Problem::new(Kind::Malformed, format!("Idempotency-Key is 1 to {KEY} printable ASCII characters")))
        }
    }
}

/// Where a thing that the control loop does not know was named. The service itself was found before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// What the path leads to is not there.
    InPath,
    /// The path is right, a value in the body is not.
    InBody,
}

fn refusal(api: &Api, service: &Name, refused: Refused, unknown: Unknown) -> Problem {
    match refused {
        Refused::Unknown(detail) => Problem::new(
            match unknown {
                Unknown::InPath => Kind::NotFound,
                Unknown::InBody => Kind::InvalidValues,
            },
            detail,
        ),
        Refused::Conflict { detail, present: None } => {
            let present = api.handle.snapshot.load().services.get(service.as_str()).map(|it| Box::new(it.view.clone()));
            plain(Refused::Conflict { detail, present })
        }
        refused @ (Refused::Invalid(_) | Refused::Conflict { .. } | Refused::JournalUnwritable(_)) => plain(refused),
    }
}

/// Adds the phase that forbids an action, and the actions that it allows.
fn allowing(api: &Api, service: &Name, problem: Problem) -> Problem {
    let Ok(present) = api.service(service.as_str()) else { return problem };
    let Some(rollout) = &present.view.rollout else { return problem };
    // What was promoted can be undone only while it is still the stable.
    let passed = rollout.phase == Phase::Promoted && present.view.stable != rollout.canary;
    let allowed = if passed { &[] } else { crate::rollout::allowed(rollout.phase) };
    let words: Vec<&str> = allowed.iter().map(|action| action.word()).collect();
    problem.with("phase", json!(rollout.phase)).with("allowed", json!(words))
}

/// A refusal as a problem, where it stands by itself.
fn plain(refused: Refused) -> Problem {
    match refused {
        Refused::Unknown(detail) => Problem::new(Kind::NotFound, detail),
        Refused::Invalid(detail) => Problem::new(Kind::InvalidValues, detail),
        Refused::Conflict { detail, present } => {
            let problem = Problem::new(Kind::Conflict, detail);
            match present {
                Some(present) => problem.with("present", json!(present)),
                None => problem,
            }
        }
        Refused::JournalUnwritable(detail) => Problem::new(Kind::JournalUnwritable, detail),
    }
}
