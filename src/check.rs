//! `tidegate check` and `tidegate schema`: what can be said of a configuration without opening a socket.

use std::io::{self, Write};
use std::time::SystemTime;

use config::{Configuration, Explained, Problem, Setting};

use crate::cli::Check;
use crate::exit::Exit;
use crate::serve::token_in;

/// Prints every problem of a configuration, and every warning; with `--explain` every value in force, too. Warnings fail
/// with `--strict`.
///
/// # Errors
/// Where `out` cannot be written.
pub fn check(arguments: &Check, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let explained = match config::explain_file(&arguments.config) {
        Ok(explained) => explained,
        Err(problems) => {
            let count = problems.as_slice().len();
            writeln!(out, "{problems}\n{}", counted(count, "problem"))?;
            return Ok(Exit::Failed);
        }
    };
    let Named { problems, warnings } = named(&explained);
    if !problems.is_empty() {
        problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
        writeln!(out, "{}", counted(problems.len(), "problem"))?;
        return Ok(Exit::Failed);
    }
    let Explained { read, .. } = &explained;
    for warning in read.warnings.iter().chain(&warnings) {
        writeln!(out, "warning: {warning}")?;
    }
    if arguments.explain {
        explain(&explained.settings(), out)?;
    }
    let warnings = read.warnings.len() + warnings.len();
    writeln!(out, "{}: {}", arguments.config.display(), summary(&read.configuration, warnings))?;
    Ok(if arguments.strict && warnings > 0 { Exit::Failed } else { Exit::Done })
}

/// What there is to say of the files that a configuration names, in the order of its text.
struct Named {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Looks at every file that a start would read.
fn named(explained: &Explained) -> Named {
    let Configuration { listeners, rules, admin, .. } = &explained.read.configuration;
    let mut told = proxy::endpoint::check(&explained.read.configuration);
    told.extend(proxy::selection::check(&explained.read.configuration));
    told.extend(proxy::access_log::check(rules).err().map(|error| error.to_string()));
    // The token of the environment goes before the file's.
    if let (Some(file), None) = (&admin.tokens, crate::run::token()) {
        told.extend(token_in(file).err().map(|error| format!("{error:#}")));
    }
    // Each begins with the value that it is about, and no value has a colon in its path.
    let place = |told: String| match told.split_once(": ") {
        Some((path, text)) => explained.problem(path, text),
        None => explained.problem("", told),
    };
    let mut problems: Vec<Problem> = told.into_iter().map(place).collect();
    let mut warnings = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "certificates expire: the executable is a shell and knows the time")]
    let now = SystemTime::now();
    for finding in proxy::tls::check(listeners, now) {
        let said = explained.problem(&finding.place, finding.text);
        if finding.fatal { problems.push(said) } else { warnings.push(said) }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Named { problems, warnings }
}

/// A line for each value in force, which says everything of it: whoever looks for one finds it with `grep`.
fn explain(settings: &[Setting], out: &mut dyn Write) -> io::Result<()> {
    // What is longer moves the rest of its own line alone.
    const WIDEST: [usize; 3] = [56, 24, 32];
    let told: Vec<[String; 3]> = settings.iter().map(columns).collect();
    let width = |column: usize| {
        let widths = told.iter().map(|columns| columns[column].chars().count());
        widths.filter(|width| *width <= WIDEST[column]).max().unwrap_or_default()
    };
    let (paths, values, sources) = (width(0), width(1), width(2));
    for ([path, value, source], Setting { meaning, .. }) in told.iter().zip(settings) {
        writeln!(out, "{path:paths$}  {value:values$}  {source:sources$}  {meaning}")?;
    }
    writeln!(out)
}

fn columns(Setting { path, value, source, usual, .. }: &Setting) -> [String; 3] {
    let usual = usual.as_ref().map_or_else(String::new, |usual| format!(" (default {usual})"));
    [path.clone(), value.clone(), format!("{source}{usual}")]
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

#[cfg(test)]
mod tests;
