//! `tidegate check` and `tidegate schema`: what can be said of a configuration without opening a socket.

use std::io::Write;

use config::{Configuration, Problem};

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
    let mut problems = proxy::endpoint::check(&read.configuration);
    problems.extend(proxy::selection::check(&read.configuration));
    if !problems.is_empty() {
        let file = arguments.config.display();
        problems.iter().try_for_each(|problem| writeln!(out, "{file}: {problem}"))?;
        writeln!(out, "{}", counted(problems.len(), "problem"))?;
        return Ok(Exit::Failed);
    }
    for warning in &read.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "{}: {}", arguments.config.display(), summary(&read.configuration, &read.warnings))?;
    Ok(if arguments.strict && !read.warnings.is_empty() { Exit::Failed } else { Exit::Done })
}

fn summary(configuration: &Configuration, warnings: &[Problem]) -> String {
    let versions = configuration.services.iter().map(|service| service.versions.len()).sum();
    let found = format!("{} with {}", counted(configuration.services.len(), "service"), counted(versions, "version"));
    match warnings.len() {
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
