//! The examples are what newcomers copy, so they must be read without a word.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

#[test]
fn every_example_is_read_without_a_problem_or_a_warning() {
    let examples = examples();
    assert!(examples.len() >= 6, "found only {examples:?}");
    for example in examples {
        let read = config::read_file(&example).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(read.warnings, [], "{}", example.display());
    }
}
