//! The document that the tables are written into.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// The document.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/statistics.md")
}

/// Where images go.
pub(crate) fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images")
}

fn marks(part: &str) -> (String, String) {
    (format!("<!-- simulated: {part} -->\n"), format!("<!-- end: {part} -->\n"))
}

/// `text` with the marked part replaced.
pub(crate) fn replaced(text: &str, part: &str, by: &str) -> anyhow::Result<String> {
    let (begin, end) = marks(part);
    let (before, rest) = text.split_once(&begin).with_context(|| format!("there is no `{}`", begin.trim()))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("there is no `{}` after it", end.trim()))?;
    ensure!(!after.contains(&begin), "`{}` is there twice", begin.trim());
    Ok(format!("{before}{begin}\n{by}\n{end}{after}"))
}

/// Writes these parts into the document.
pub(crate) fn write(parts: &[(&'static str, String)]) -> anyhow::Result<()> {
    let path = path();
    let read = || std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
    let written = parts.iter().try_fold(read()?, |text, (part, by)| replaced(&text, part, by))?;
    std::fs::write(&path, written).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crew::Crew;
    use crate::simulate;

    #[test]
    fn a_smoke_run_fills_every_table_and_the_document_has_a_place_for_each() {
        let text = std::fs::read_to_string(path()).unwrap();
        let report = simulate(&Crew::new(1, 1.0, true, 2), None).unwrap();
        assert!(report.parts.len() >= 9);
        for (part, table) in &report.parts {
            let written = replaced(&text, part, table).unwrap();
            assert_eq!(replaced(&written, part, table).unwrap(), written);
            assert!(table.lines().count() >= 3, "{part}: {table}");
        }
    }

    #[test]
    fn every_image_of_the_document_is_there() {
        let text = std::fs::read_to_string(path()).unwrap();
        let images: Vec<_> = text.split("](images/").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(images.len() >= 2, "found only {images:?}");
        for image in images {
            assert!(super::images().join(image).is_file(), "there is no docs/images/{image}");
        }
    }

    #[test]
    fn a_part_without_its_end_is_refused() {
        assert!(replaced("<!-- simulated: dead -->\n", "dead", "x").is_err());
        assert!(replaced("nothing", "dead", "x").is_err());
    }
}
