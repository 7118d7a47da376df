//! A plan alone in a file, without a configuration around it: the gates by which a record is judged again.

use std::path::Path;

use super::{plan, text_of, whole};
use crate::model::Plan;
use crate::problem::{Problem, Problems};

/// A plan that was read alone, and what its author should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadPlan {
    /// The plan. What is not written has the value that it has in a configuration.
    pub plan: Plan,
    /// Legal, and perhaps not meant. In the order of the text.
    pub warnings: Vec<Problem>,
}

/// Reads the keys of a plan (`alpha`, `gates`, ...) from `text`. `file` is the name that problems carry. Whether there
/// is a version that it names as its baseline is not looked at: there is no service here. Keys that say when steps end
/// are read and warned of: no step is taken here.
///
/// # Errors
/// Everything that is wrong, at once; where the text is no YAML, the first thing that makes it none.
pub fn parse_plan(text: &str, file: &str) -> Result<ReadPlan, Problems> {
    let nothing = "nothing is written here; write the keys of a plan, like gates: [{ errors: {} }]";
    let (plan, warnings) = whole(text, file, nothing, plan::gates_of_a_replay)?;
    Ok(ReadPlan { plan, warnings })
}

/// Reads the plan in the file at `path`.
///
/// # Errors
/// As [`parse_plan`]; a file that cannot be read is a problem with the reason in words.
pub fn read_plan_file(path: &Path) -> Result<ReadPlan, Problems> {
    parse_plan(&text_of(path)?, &path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_plan_alone_are_a_plan_with_the_usual_defaults() {
        let read = parse_plan("alpha: 5%\ngates:\n  - errors: { tolerance: 0.2% }\n", "gates.yaml").unwrap();
        assert_eq!((read.plan.alpha.get(), read.plan.gates.len(), read.warnings.len()), (0.05, 1, 0));
        assert_eq!(read.plan.steps, Plan::built_in().steps);
        assert_eq!(parse_plan("{}", "gates.yaml").unwrap().plan, Plan::built_in());
    }

    #[test]
    fn what_changes_nothing_in_a_replay_is_warned_of_and_what_only_a_rollout_lacks_is_not() {
        let text = "advance: proof\nmin_requests: 7\nsteps: [{ weight: 5%, hold: 1s }]\nwarmup: 1h\n\
                    gates: [{ mirror: { status: 1% } }]\n";
        let read = parse_plan(text, "gates.yaml").unwrap();
        let warned: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
        let of = |key: &str| warned.iter().any(|warning| warning.contains(&format!("{key}: `{key}` changes nothing")));
        assert!(of("advance") && of("min_requests") && of("steps") && warned.len() == 3, "{warned:#?}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let said = |text| parse_plan(text, "gates.yaml").unwrap_err().to_string();
        assert!(said("").starts_with("gates.yaml:1:1: nothing is written here"), "{}", said(""));
        let unknown = said("alpha: 1%\ngate: []\n");
        assert!(unknown.starts_with("gates.yaml:2:1: ") && unknown.contains("gates"), "{unknown}");
        let service = said("services: {}\n");
        assert!(service.starts_with("gates.yaml:1:1: "), "{service}");
        assert!(said("gates: [").starts_with("gates.yaml:"));
        assert!(said("- 1").starts_with("gates.yaml:1:1: "), "{}", said("- 1"));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem_in_words() {
        let problems = read_plan_file(Path::new("/nowhere/gates.yaml")).unwrap_err().to_string();
        assert_eq!(problems, "/nowhere/gates.yaml: there is no such file; name an existing one");
    }
}
