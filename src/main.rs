//! The executable: parse, dispatch, exit code.

use std::io::Write;
use std::process::ExitCode;

use tidegate::cli::{self, Cli, Command};
use tidegate::exit::{self, Exit};
use tidegate::{check, client, demo, replay, run};

/// Least CPU a request of the allocators tried.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli =
        Cli::read_from(std::env::args_os(), std::env::var_os("TIDEGATE_ADMIN")).unwrap_or_else(|error| error.exit());
    let out = &mut std::io::stdout();
    match dispatch(&cli, out) {
        Ok(exit) => exit.into(),
        Err(error) if exit::is_closed_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            // Nobody is left to tell where standard error is closed.
            let _ = writeln!(std::io::stderr(), "tidegate: {error:#}");
            Exit::Failed.into()
        }
    }
}

fn dispatch(cli: &Cli, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::check(arguments, out),
        Command::Demo(arguments) => demo::demo(arguments.once, out),
        Command::Replay(arguments) => replay::replay(arguments, out),
        Command::Schema => check::schema(out),
        Command::Completion { shell } => Ok(cli::completion(*shell, out).map(|()| Exit::Done)?),
        Command::Client(command) => client::ask(&cli.server, command, out),
    }
}
