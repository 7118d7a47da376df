//! The commands that ask a running server: over its control API, printed for people, or as JSON for programs.

mod connection;
mod follow;
mod gates;
mod names;
mod screen;
mod status;

use std::env;
use std::io::Write;
use std::sync::mpsc;
use std::thread;

use anyhow::Context;
use control::command::Action;
use control::process::ProcessView;
use control::view::{Phase, RolloutView, ServiceView};
use serde_json::{Value, json};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

pub use self::connection::{Connection, Failure};
pub use self::follow::{Following, follow};
pub use self::screen::Screen;
use self::screen::plain;
use self::status::Detail;
use crate::cli::{ClientCommand, RolloutCommand, ServerArgument, SetWeight, Start, Status};
use crate::exit::Exit;
use crate::serve::{NO_TOKEN, can_be_sent};

/// Does what a client command asks of the server on the command line, with the token of `TIDEGATE_TOKEN`. Coloured where
/// standard output is a terminal that wants it.
///
/// # Errors
/// As [`run`].
pub fn ask(server: &ServerArgument, command: &ClientCommand, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let token = env::var("TIDEGATE_TOKEN").ok().filter(|token| !token.is_empty());
    if token.as_deref().is_some_and(|token| !can_be_sent(token)) {
        anyhow::bail!("TIDEGATE_TOKEN holds {NO_TOKEN}");
    }
    run(command, &Connection::new(server.url(), token), &mut Screen::as_standard_output(out))
}

/// Does what a client command asks, and prints what came of it to `screen`.
///
/// # Errors
/// In plain words: where the server cannot be reached or refuses (it ends with [`Exit::Failed`]), or where the
/// screen cannot be written.
pub fn run(command: &ClientCommand, server: &Connection, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    match command {
        ClientCommand::Status(status) => show_status(status, server, screen),
        ClientCommand::Rollout(rollout) => run_rollout(rollout, server, screen),
        ClientCommand::Weight(weight) => set_weight(weight, server, screen),
        ClientCommand::Reload => reload(server, screen),
        ClientCommand::Healthcheck => healthcheck(server, screen),
    }
}

fn show_status(status: &Status, server: &Connection, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    let path = match &status.service {
        Some(service) => format!("/api/v1/services/{service}"),
        None => "/api/v1/services".to_owned(),
    };
    if status.json {
        screen.json(&server.get::<Value>(&path)?)?;
        return Ok(Exit::Done);
    }
    // A server of an earlier version does not tell.
    if let Ok(process) = server.get::<ProcessView>("/api/v1/process") {
        status::process(&process, screen)?;
    }
    let (services, detail) = match &status.service {
        Some(_) => (vec![server.get::<ServiceView>(&path)?], Detail::Whole),
        None => (server.get::<Vec<ServiceView>>(&path)?, Detail::Brief),
    };
    for (place, service) in services.iter().enumerate() {
        if place > 0 {
            screen.line("")?;
        }
        status::service(service, detail, screen)?;
    }
    Ok(Exit::Done)
}

fn run_rollout(command: &RolloutCommand, server: &Connection, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    if let Some((action, act)) = command.action() {
        let path = format!("/api/v1/services/{}/rollout/{}", act.service, action.word());
        let after: RolloutView = server.post(&path, &json!({ "reason": act.reason }))?;
        return tell(&after, act.json, done(action, &after), screen);
    }
    match command {
        RolloutCommand::Start(start) => begin(start, server, screen),
        RolloutCommand::Watch(watch) => {
            let rollout: RolloutView = server.get(&format!("/api/v1/services/{}/rollout", watch.service))?;
            let following = Following { timeout: watch.timeout, json: watch.json };
            follow(rollout, following, server, screen, &interrupts()?)
        }
        RolloutCommand::Status(show) => {
            let rollout: RolloutView = server.get(&format!("/api/v1/services/{}/rollout", show.service))?;
            if show.json {
                screen.json(&rollout)?;
            } else {
                status::rollout(&rollout, "", Detail::Whole, screen)?;
            }
            Ok(Exit::Done)
        }
        RolloutCommand::Pause(_)
        | RolloutCommand::Resume(_)
        | RolloutCommand::Approve(_)
        | RolloutCommand::Skip(_)
        | RolloutCommand::Promote(_)
        | RolloutCommand::Abort(_)
        | RolloutCommand::Retry(_)
        | RolloutCommand::Undo(_) => Ok(Exit::Done),
    }
}

fn begin(start: &Start, server: &Connection, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    let plan = start.plan.as_ref().map(config::Name::as_str);
    let body = json!({ "canary": start.canary.as_str(), "plan": plan, "reason": start.reason });
    // Caught from here on, so that Ctrl-C never leaves it unsaid that a rollout goes on.
    let interrupts = if start.wait { Some(interrupts()?) } else { None };
    let rollout: RolloutView = server.post(&format!("/api/v1/services/{}/rollout", start.service), &body)?;
    match interrupts {
        Some(interrupts) => {
            let following = Following { timeout: start.timeout, json: start.json };
            follow(rollout, following, server, screen, &interrupts)
        }
        None => tell(&rollout, start.json, "started", screen),
    }
}

const fn done(action: Action, after: &RolloutView) -> &'static str {
    match action {
        // What follows the last step is the promotion.
        Action::Skip | Action::Approve if matches!(after.phase, Phase::Promoted) => "promoted",
        Action::Pause => "paused",
        Action::Resume => "resumed",
        Action::Approve => "approved",
        Action::Skip => "step skipped",
        Action::Promote => "promotion asked for",
        Action::Abort => "aborted",
        Action::Retry => "started again",
        Action::Undo => "undone",
    }
}

fn tell(rollout: &RolloutView, as_json: bool, done: &str, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    if as_json {
        screen.json(rollout)?;
    } else {
        screen.line(&format!("{}: {done}", plain(&rollout.service)))?;
        status::rollout(rollout, "", Detail::Brief, screen)?;
    }
    Ok(Exit::Done)
}

fn set_weight(weight: &SetWeight, server: &Connection, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    let body = json!({
        "canary": weight.target.version.as_ref().map(config::Name::as_str),
        "weight": weight.target.weight.basis_points(),
        "if_generation": weight.if_generation,
        "reason": weight.reason,
    });
    let path = format!("/api/v1/services/{}/weights", weight.service);
    if weight.json {
        screen.json(&server.put::<Value>(&path, &body)?)?;
    } else {
        status::service(&server.put::<ServiceView>(&path, &body)?, Detail::Brief, screen)?;
    }
    Ok(Exit::Done)
}

fn reload(server: &Connection, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    let taken: Value = server.post("/api/v1/reload", &json!({}))?;
    screen.line("the configuration is read and in force")?;
    for what in taken["needs_restart"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        screen.line(&format!("not in force yet: {}", plain(what)))?;
    }
    for note in taken["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        screen.line(&format!("note: {}", plain(note)))?;
    }
    Ok(Exit::Done)
}

fn healthcheck(server: &Connection, screen: &mut Screen<'_>) -> anyhow::Result<Exit> {
    server.probe("/readyz")?;
    screen.line("ready")?;
    Ok(Exit::Done)
}

/// Ctrl-C as messages from here on.
fn interrupts() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut signals = Signals::new([SIGINT]).context("cannot listen for Ctrl-C")?;
    let (tell, interrupts) = mpsc::channel();
    thread::Builder::new()
        .name("interrupts".into())
        .spawn(move || {
            for _ in signals.forever() {
                if tell.send(()).is_err() {
                    return;
                }
            }
        })
        .context("cannot listen for Ctrl-C")?;
    Ok(interrupts)
}

#[cfg(test)]
mod tests;
