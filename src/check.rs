//! `tidegate check` and `tidegate schema`: what can be said of a configuration without opening a socket.

use std::io::Write;
use std::time::SystemTime;

use config::Configuration;

use crate::cli::Check;
use crate::exit::Exit;

/// Prints every problem of a configuration, and every warning. Warnings fail with `--strict`.
///
/// # Errors
/// Where `out` cannot be written.
pub fn check(arguments: &Check, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let read = match config::read_file(&arguments.config) {
        Ok(read) => read,
        Err(problems) => {
            let count = problems.as_slice().len();
            writeln!(out, "{problems}\n{}", counted(count, "problem"))?;
            return Ok(Exit::Failed);
        }
    };
    let file = arguments.config.display();
    #[expect(clippy::disallowed_methods, reason = "certificates expire: the executable is a shell and knows the time")]
    let (fatal, others): (Vec<_>, Vec<_>) =
        proxy::tls::check(&read.configuration.listeners, SystemTime::now()).into_iter().partition(|it| it.fatal);
    let mut problems = proxy::endpoint::check(&read.configuration);
    problems.extend(proxy::selection::check(&read.configuration));
    problems.extend(fatal.iter().map(ToString::to_string));
    if !problems.is_empty() {
        problems.iter().try_for_each(|problem| writeln!(out, "{file}: {problem}"))?;
        writeln!(out, "{}", counted(problems.len(), "problem"))?;
        return Ok(Exit::Failed);
    }
    for warning in &read.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for warning in &others {
        writeln!(out, "warning: {file}: {warning}")?;
    }
    let warnings = read.warnings.len() + others.len();
    writeln!(out, "{file}: {}", summary(&read.configuration, warnings))?;
    Ok(if arguments.strict && warnings > 0 { Exit::Failed } else { Exit::Done })
}

fn summary(configuration: &Configuration, warnings: usize) -> String {
    let versions = configuration.services.iter().map(|service| service.versions.len()).sum();
    let found = format!("{} with {}", counted(configuration.services.len(), "service"), counted(versions, "version"));
    match warnings {
        0 => format!("good: {found}"),
        count => format!("usable, with {}: {found}", counted(count, "warning")),
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Prints the JSON Schema of the configuration.
///
/// # Errors
/// Where `out` cannot be written.
pub fn schema(out: &mut dyn Write) -> anyhow::Result<Exit> {
    serde_json::to_writer_pretty(&mut *out, &config::json_schema())?;
    writeln!(out)?;
    Ok(Exit::Done)
}
