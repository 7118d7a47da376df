//! `tidegate demo`: the whole story in one process, over real sockets.
//!
//! A service with three versions, users at a steady rate, a canary that breaks and is taken back, a good one that is
//! promoted. Nothing here is staged but the fault: proxy, gates and journal are those of `tidegate run`.

mod story;
mod telling;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use loadtest::{ClientKey, Clients, Latency, Load, Origin, OriginOptions, Rate, RunningLoad};
use proxy::Limits;

use self::story::Story;
use self::telling::Telling;
use crate::exit::Exit;
use crate::life::serve_until_ended;
use crate::serve::{Settings, Tidegate};

/// Requests a second.
const RATE: u32 = 1_000;
/// Users that they come from.
const USERS: u32 = 2_000;
/// One request in a thousand fails whatever the version: real services do.
const BACKGROUND_ERRORS: f64 = 0.001;
/// After the story the traffic goes on at this rate, so that there is something to see.
const RATE_AFTERWARDS: u32 = 100;

/// Everything that the story needs, running.
struct Stage {
    tidegate: Tidegate,
    load: RunningLoad,
    v2: Origin,
    v3: Origin,
    _v1: Origin,
    /// The state directory; removed at the end.
    _directory: tempfile::TempDir,
}

/// Tells the story. With `once` it ends after it, on free ports; else it goes on serving (on the usual ports where they
/// are free) until a signal. [`Exit::Failed`] where the story did not go as told.
pub fn demo(once: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut telling = Telling::begin(out);
    let stage = runtime.block_on(set(once))?;
    let admin = stage.tidegate.admin().context("the demo has no control API")?;
    let service = stage.tidegate.addresses().first().copied().context("the demo listens nowhere")?;
    telling.opening(service, admin, RATE, USERS)?;
    let outcome = Story { stage: &stage, telling: &mut telling }.tell();
    match outcome {
        Ok(()) => telling.moral()?,
        Err(problem) => {
            telling.failed(&problem)?;
            return Ok(Exit::Failed);
        }
    }
    if once {
        drop(stage.load.stop());
        drop(stage.tidegate.stop());
        return Ok(Exit::Done);
    }
    let watch = crate::signals::Watch::begin()?;
    telling.by_hand(service, admin)?;
    stage.load.set_rate(Rate::per_second(f64::from(RATE_AFTERWARDS))?);
    let Stage { tidegate, load, v2, v3, _v1, _directory } = stage;
    let _ended = serve_until_ended(watch, tidegate, None);
    drop((load, v2, v3, _v1, _directory));
    Ok(Exit::Done)
}

async fn set(once: bool) -> anyhow::Result<Stage> {
    let directory = tempfile::Builder::new().prefix("tidegate-demo-").tempdir()?;
    let origin = async |name: &str, seed| {
        let origin = Origin::start(name, OriginOptions { seed, ..OriginOptions::default() }).await?;
        origin.dial().set_latency(Latency::log_normal(Duration::from_millis(4), 0.4)?);
        origin.dial().set_errors(loadtest::Fraction::new(BACKGROUND_ERRORS)?);
        anyhow::Ok(origin)
    };
    let (v1, v2, v3) = (origin("v1", 1).await?, origin("v2", 2).await?, origin("v3", 3).await?);
    let listen = port(once, 8080)?;
    let admin = port(once, 9900)?;
    let file = directory.path().join("demo.yaml");
    let text = configuration(listen, admin, &directory.path().join("state"), [&v1, &v2, &v3].map(Origin::address));
    std::fs::write(&file, &text)?;
    let read = config::read_file(&file).map_err(|problems| anyhow!("{problems}"))?;
    let source = Arc::new(move || match config::read_file(&file) {
        Ok(read) => Ok(read.configuration),
        Err(problems) => Err(problems.as_slice().iter().map(ToString::to_string).collect()),
    });
    let settings = Settings { configuration: read.configuration, source, token: None, limits: Limits::default() };
    let tidegate = Tidegate::start(settings, None)?;
    let target = tidegate.addresses().first().copied().context("the demo listens nowhere")?;
    let population = NonZeroU32::new(USERS).context("a demo needs users")?;
    let load = Load {
        rate: Rate::per_second(f64::from(RATE))?,
        clients: Some(Clients { population, key: ClientKey::Cookie("user".to_owned()) }),
        ..Load::new(target)
    };
    Ok(Stage { load: load.start()?, tidegate, v2, v3, _v1: v1, _directory: directory })
}

/// The usual port where it is wanted and free, else any.
fn port(any: bool, usual: u16) -> anyhow::Result<SocketAddr> {
    let usual = SocketAddr::from(([127, 0, 0, 1], usual));
    let is_free = !any && TcpListener::bind(usual).is_ok();
    Ok(if is_free { usual } else { SocketAddr::from(([127, 0, 0, 1], 0)) })
}

fn configuration(listen: SocketAddr, admin: SocketAddr, state: &Path, [v1, v2, v3]: [SocketAddr; 3]) -> String {
    // Quoted as JSON, which YAML reads as it is.
    let state = serde_json::Value::from(state.to_string_lossy());
    format!(
        r#"listeners: [{{ address: "{listen}" }}]
admin: {{ address: "{admin}" }}
state: {state}
drain: {{ grace: 0s, deadline: 5s }}
services:
  shop:
    stable: v1
    versions:
      v1: {{ endpoints: ["{v1}"] }}
      v2: {{ endpoints: ["{v2}"] }}
      v3: {{ endpoints: ["{v3}"] }}
    plan:
      warmup: 2s
      steps:
        - {{ weight: 5%, hold: 4s }}
        - {{ weight: 25%, hold: 3s }}
        - {{ weight: 50%, hold: 3s }}
"#
    )
}
