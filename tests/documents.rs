//! The documents are part of the product: what they show must work, and what exists must be in them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;
use control::view::{Phase, RolloutView, ServiceView};
use serde_json::Value;
use tidegate::cli::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Markdown file.
struct Document {
    path: PathBuf,
    text: String,
}

/// A fenced block.
struct Block<'a> {
    /// What follows the opening fence: a language, and perhaps a mark.
    info: &'a str,
    /// The line of the opening fence, counted from 1.
    line: usize,
    text: String,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    fn named(name: &str) -> Self {
        Self::read(root().join(name))
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        let mut inside = false;
        for (number, line) in self.text.lines().enumerate() {
            if let Some(info) = line.strip_prefix("```") {
                if !inside {
                    blocks.push(Block { info: info.trim(), line: number + 1, text: String::new() });
                }
                inside = !inside;
            } else if inside {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
        }
        assert!(!inside, "{}: a fence is not closed", self.path.display());
        blocks
    }

    fn at(&self, block: &Block<'_>) -> String {
        format!("{}:{}", self.path.strip_prefix(root()).unwrap().display(), block.line)
    }

    /// The text without fenced blocks and code spans.
    fn prose(&self) -> String {
        let mut inside = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.extend(line.split('`').step_by(2));
                prose.push('\n');
            }
        }
        prose
    }

    /// The anchors that its headings give, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let mut inside = false;
        let headings = self.text.lines().filter(|line| {
            inside ^= line.starts_with("```");
            !inside && line.starts_with('#')
        });
        headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Every document for people: those at the root, and those under `docs`.
fn documents() -> Vec<Document> {
    fn collect(folder: &Path, deep: bool, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && deep {
                collect(&path, deep, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(root(), false, &mut found);
    collect(&root().join("docs"), true, &mut found);
    found.sort();
    assert!(found.len() >= 8, "found only {found:?}");
    found.into_iter().map(Document::read).collect()
}

#[test]
fn every_yaml_block_is_a_configuration_that_is_read_without_a_warning() {
    let mut read = 0;
    for document in &documents() {
        for block in document.blocks().iter().filter(|block| block.info.starts_with("yaml")) {
            match block.info {
                "yaml" => {
                    let found = config::parse(&block.text, &document.at(block)).unwrap_or_else(|e| panic!("{e}"));
                    assert_eq!(found.warnings, [], "{}", document.at(block));
                    read += 1;
                }
                // Held to its messages by another test; rules for another program.
                "yaml problems" | "yaml prometheus" => {}
                other => panic!("{}: no test knows what `{other}` is", document.at(block)),
            }
        }
    }
    assert!(read >= 2, "found only {read} configurations");
}

#[test]
fn a_bad_file_says_what_the_documents_say_it_says() {
    let mut seen = 0;
    for document in &documents() {
        for pair in document.blocks().windows(2) {
            let [bad, said] = pair else { continue };
            if bad.info == "yaml problems" {
                let problems = config::parse(&bad.text, "tidegate.yaml").unwrap_err();
                assert_eq!(format!("{problems}\n"), said.text, "{}", document.at(said));
                seen += 1;
            }
        }
    }
    assert!(seen >= 1, "no bad file is shown");
}

/// The words of a shell line up to what is the shell's own (a comment, a pipe, `&&`); none where quotes are not closed.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '&' | ';' | '>' | '<') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[test]
fn the_splitter_knows_quotes_comments_and_pipes() {
    let split = |line| words(line).map(|words| words.join("_"));
    assert_eq!(split("tidegate weight shop v2=1% --reason 'a first look'  # so"), {
        Some("tidegate_weight_shop_v2=1%_--reason_a first look".to_owned())
    });
    assert_eq!(split("tidegate status --json | jq . && x"), Some("tidegate_status_--json".to_owned()));
    assert_eq!(split("tidegate status 'shop"), None);
    assert_eq!(split("# nothing"), Some(String::new()));
}

/// What tidegate says against a command line.
fn refusal(at: &str, line: &str) -> Option<clap::Error> {
    let words = words(line).unwrap_or_else(|| panic!("{at}: a quote is not closed: {line}"));
    Cli::try_parse_from(&words).err()
}

#[test]
fn every_command_line_is_one_that_tidegate_takes() {
    let mut taken = 0;
    for document in &documents() {
        for block in document.blocks().iter().filter(|block| block.info == "sh") {
            let whole = block.text.replace("\\\n", " ");
            for line in whole.lines().map(str::trim).filter(|line| line.starts_with("tidegate ")) {
                if let Some(error) = refusal(&document.at(block), line) {
                    panic!("{}: {line}\n{error}", document.at(block));
                }
                taken += 1;
            }
        }
    }
    assert!(taken >= 15, "found only {taken} command lines");
}

#[test]
fn every_command_that_a_sentence_names_exists() {
    let mut named = 0;
    for document in &documents() {
        let spans = document.text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        for span in spans.filter(|span| span.starts_with("tidegate ")) {
            let error = refusal(&document.path.display().to_string(), span);
            // A sentence may name a command without its arguments.
            let kind = error.as_ref().map(clap::Error::kind);
            if !matches!(kind, None | Some(ErrorKind::MissingRequiredArgument)) {
                panic!("{}: {span}\n{}", document.path.display(), error.unwrap());
            }
            named += 1;
        }
    }
    assert!(named >= 5, "found only {named} commands");
}

/// The targets of the links in a text: what stands in `](...)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading_that_exist() {
    let mut followed = 0;
    for document in &documents() {
        let prose = document.prose();
        for target in links(&prose).filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.path.clone(),
                file => document.path.parent().unwrap().join(file),
            };
            assert!(path.exists(), "{}: {target} leads nowhere", document.path.display());
            if !heading.is_empty() {
                let anchors = Document::read(path).anchors();
                assert!(anchors.contains(heading), "{}: {target}: legal are {anchors:?}", document.path.display());
            }
            followed += 1;
        }
    }
    assert!(followed >= 20, "found only {followed} links");
}

/// Every key of the mappings that a schema describes.
fn keys_of(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| keys_of(member, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| keys_of(item, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a word stands in the text by itself, not as a part of another one.
fn mentions(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').any(|part| part == word)
}

#[test]
fn every_key_of_the_configuration_is_described() {
    let mut keys = BTreeSet::new();
    keys_of(&serde_json::to_value(config::json_schema()).unwrap(), &mut keys);
    assert!(keys.len() >= 20 && keys.contains("min_requests"), "found only {keys:?}");
    let text = Document::named("docs/configuration.md").text;
    let missing: Vec<&String> = keys.iter().filter(|key| !mentions(&text, key)).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not know {missing:?}");
}

#[test]
fn every_path_of_the_control_api_is_described() {
    let described: Value =
        serde_json::from_str(&fs::read_to_string(root().join("control/src/api/openapi.json")).unwrap()).unwrap();
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() >= 10, "found only {paths:?}");
    let text = Document::named("docs/api.md").text;
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys().filter(|key| ["get", "put", "post"].contains(&key.as_str())) {
            let request = format!("`{} {path}`", method.to_uppercase());
            assert!(text.contains(&request), "docs/api.md does not know {request}");
        }
    }
}

#[test]
fn every_phase_verdict_class_and_exit_code_is_described() {
    let operating = Document::named("docs/operating.md").text;
    let phases = Phase::ALL.map(Phase::word);
    let classes = meter::Class::ALL.into_iter().filter(|class| *class != meter::Class::GrpcError);
    let verdicts = ["pass", "fail", "inconclusive", "no-data"];
    for word in phases.into_iter().chain(classes.map(meter::Class::label)).chain(verdicts) {
        assert!(operating.contains(&format!("`{word}`")), "docs/operating.md does not know `{word}`");
    }
    let codes =
        tidegate::exit::Exit::HELP.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u8>().ok());
    let codes: Vec<u8> = codes.collect();
    assert!(codes.len() >= 8, "found only {codes:?}");
    for code in codes {
        assert!(operating.contains(&format!("| {code} |")), "docs/operating.md does not know exit code {code}");
    }
}

#[test]
fn every_metric_that_is_written_is_described_and_no_other_is_spoken_of() {
    let source = fs::read_to_string(root().join("control/src/metrics.rs")).unwrap();
    let named = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        words.filter(|word| word.starts_with("tidegate_")).map(str::to_owned).collect()
    };
    let written = named(&source);
    assert!(written.len() >= 10, "found only {written:?}");
    let operating = named(&Document::named("docs/operating.md").text);
    let missing: Vec<_> = written.difference(&operating).collect();
    assert!(missing.is_empty(), "docs/operating.md does not know {missing:?}");
    let spoken_of: BTreeSet<_> = operating.iter().map(|name| name.trim_end_matches("_bucket").to_owned()).collect();
    let unknown: Vec<_> = spoken_of.difference(&written).collect();
    assert!(unknown.is_empty(), "docs/operating.md speaks of {unknown:?}, which nothing writes");
}

#[test]
fn the_answers_that_are_shown_have_every_field_that_the_api_gives() {
    let mut held = 0;
    for document in &documents() {
        for block in document.blocks().iter().filter(|block| block.info == "json") {
            let wrong = |error: serde_json::Error| panic!("{}: {error}", document.at(block));
            let shown: Value = serde_json::from_str(&block.text).unwrap_or_else(wrong);
            let read = if shown.get("phase").is_some() && shown.get("id").is_some() {
                serde_json::from_value::<RolloutView>(shown.clone()).and_then(serde_json::to_value)
            } else if shown.get("versions").is_some() {
                serde_json::from_value::<ServiceView>(shown.clone()).and_then(serde_json::to_value)
            } else {
                continue;
            };
            assert_eq!(read.unwrap_or_else(wrong), shown, "{}", document.at(block));
            held += 1;
        }
    }
    assert!(held >= 3, "found only {held} answers");
}
