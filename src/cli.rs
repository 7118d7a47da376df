//! The command line: what may be written, and what it means.

mod replay;
mod rollout;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use config::Name;

pub use self::replay::Replay;
pub use self::rollout::{Act, RolloutCommand, Start, Watch};
pub use self::words::{AdminUrl, TargetWeight};
use crate::exit::Exit;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    about = "An edge proxy that releases new versions a little at a time and takes bad ones back by itself",
    after_help = Exit::HELP,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Where a running server's control API is.
    #[command(flatten)]
    pub server: ServerArgument,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line; `admin` is what the environment says in `TIDEGATE_ADMIN`.
    ///
    /// # Errors
    /// What is wrong with it, or the help that it asks for; both are for people, and say how to end.
    pub fn read_from(
        arguments: impl IntoIterator<Item = OsString>,
        admin: Option<OsString>,
    ) -> Result<Self, clap::Error> {
        let mut command = Self::asked_for();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if matches!(cli.command, Command::Client(_)) {
            // Of the environment it is for these commands alone, and an empty one says nothing.
            if let (None, Some(admin)) = (&cli.server.url, admin.filter(|admin| !admin.is_empty())) {
                let url = admin.to_str().ok_or_else(|| "it is no UTF-8".to_owned()).and_then(str::parse);
                cli.server.url = Some(url.map_err(|wrong: String| {
                    let message =
                        format!("invalid value {admin:?} of the environment variable TIDEGATE_ADMIN: {wrong}");
                    command.error(ErrorKind::ValueValidation, message)
                })?);
            }
        } else if cli.server.url.is_some() {
            // It is mistaken for the address to listen on.
            let message = "--admin is for commands that ask a running server, and this is none; where `run` listens for \
                           operators is said by admin.address in the file, or without a file by --admin-address";
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
        Ok(cli)
    }

    /// The command line as clap knows it. Commands that ask no server do not offer its address; they take it, to say what
    /// was mistaken.
    fn asked_for() -> clap::Command {
        let hidden = || Arg::new("url").long("admin").value_parser(clap::value_parser!(AdminUrl)).hide(true);
        let offline = ["run", "check", "demo", "replay", "schema", "completion"];
        let command = Self::command();
        offline.iter().fold(command, |command, name| command.mut_subcommand(name, |it| it.arg(hidden())))
    }
}

/// Where a running server's control API is.
#[derive(Debug, Clone, Args)]
pub struct ServerArgument {
    /// Admin address of the server [environment: TIDEGATE_ADMIN, and TIDEGATE_TOKEN for its token] [default:
    /// http://127.0.0.1:9900]
    #[arg(long = "admin", value_name = "URL", global = true)]
    url: Option<AdminUrl>,
}

impl ServerArgument {
    /// The admin address: what is written, else what the environment says, else the usual one.
    #[must_use]
    pub fn url(&self) -> AdminUrl {
        self.url.clone().unwrap_or_default()
    }
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve, in the foreground
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Read the configuration and tell every problem; opens no socket
    #[command(
        after_help = CHECK_HELP
    )]
    Check(Check),
    /// Show the whole story in one process: a bad canary that is taken back, a good one that is promoted
    #[command(after_help = "Exits 0 when the story went as told, 1 when not.")]
    Demo(Demo),
    /// Judge the record of a rollout again, by its own gates or by others
    #[command(after_help = replay::HELP)]
    Replay(Replay),
    /// What asks a running server.
    #[command(flatten)]
    Client(ClientCommand),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  tidegate completion bash > /etc/bash_completion.d/tidegate")]
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// The commands that ask a running server.
#[derive(Debug, Clone, Subcommand)]
pub enum ClientCommand {
    /// Show versions, weights, health and rollouts
    #[command(after_help = "Examples:\n  tidegate status\n  tidegate status shop --json")]
    Status(Status),
    /// Start, watch and steer rollouts
    #[command(subcommand, after_help = rollout::HELP)]
    Rollout(RolloutCommand),
    /// Set a version's weight by hand; during a rollout this pauses the plan
    #[command(after_help = WEIGHT_HELP)]
    Weight(SetWeight),
    /// Make the server read its configuration again; a bad one changes nothing
    Reload,
    /// Ask whether the server is ready: exits 0 or 1 within 2 seconds
    Healthcheck,
}

const RUN_HELP: &str = "\
Examples:
  tidegate run -c tidegate.yaml
  tidegate run --stable 127.0.0.1:9001 --canary 127.0.0.1:9002 --weight 10%

Without a file the service is `default`, its versions `stable` and `canary`.
Signals: TERM and QUIT drain, INT ends at once, HUP reads the configuration again, USR1 opens
the access log anew, USR2 lets a new process of the executable take over.
Exits 0 when drained, 1 when it cannot start, 3 when the drain's deadline came first.";

const CHECK_HELP: &str = "\
Examples:
  tidegate check -c tidegate.yaml --strict
  tidegate check -c tidegate.yaml --explain | grep timeouts

Exits 0 when it is good, 1 when not.";

const WEIGHT_HELP: &str = "\
Examples:
  tidegate weight shop 10%
  tidegate weight shop v2=0.25% --reason 'a first look'

The version may be left out where only one other than the stable exists.";

/// `tidegate run`.
#[derive(Debug, Clone, Args)]
pub struct Run {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", required_unless_present = "stable", conflicts_with = "stable")]
    pub config: Option<PathBuf>,
    /// Without a file: the endpoint that serves users
    #[arg(long, value_name = "HOST:PORT")]
    pub stable: Option<String>,
    /// Without a file: the endpoint under test
    #[arg(long, value_name = "HOST:PORT", requires = "stable")]
    pub canary: Option<String>,
    /// Without a file: the canary's weight, like 10%
    #[arg(long, value_name = "WEIGHT", requires = "canary")]
    pub weight: Option<String>,
    /// Without a file: where clients connect [default: 0.0.0.0:8080]
    #[arg(long, value_name = "IP:PORT", requires = "stable")]
    pub listen: Option<String>,
    /// Without a file: where state is kept [default: ./tidegate-state]
    #[arg(long, value_name = "DIR", requires = "stable")]
    pub state: Option<String>,
    /// Without a file: where operators connect [default: 127.0.0.1:9900]
    #[arg(long, value_name = "IP:PORT", requires = "stable")]
    pub admin_address: Option<String>,
}

/// `tidegate check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Fail on warnings too
    #[arg(long)]
    pub strict: bool,
    /// Print every value in force, a line each: its unit, where it is from (a line of the file, or the default), what it
    /// means
    #[arg(long)]
    pub explain: bool,
}

/// `tidegate demo`.
#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// End after the story (within 45 s) instead of serving on
    #[arg(long)]
    pub once: bool,
}

/// `tidegate status`.
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// One service; all of them without it
    #[arg(value_parser = words::name)]
    pub service: Option<Name>,
    /// Print what the control API says
    #[arg(long)]
    pub json: bool,
}

/// `tidegate weight`.
#[derive(Debug, Clone, Args)]
pub struct SetWeight {
    /// The service
    #[arg(value_parser = words::name)]
    pub service: Name,
    /// The version and its weight, like v2=10% or 10%
    #[arg(value_name = "[VERSION=]WEIGHT")]
    pub target: TargetWeight,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only if the service still has this generation (`status` shows it)
    #[arg(long, value_name = "N")]
    pub if_generation: Option<u64>,
    /// Print what the control API says
    #[arg(long)]
    pub json: bool,
}

/// Prints the completion script for `shell`.
///
/// # Errors
/// Where `out` cannot be written.
pub fn completion(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    // Generated into memory first: the generator panics where writing fails, as on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::asked_for(), "tidegate", &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests;
