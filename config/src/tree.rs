//! The text as a tree of nodes that remember where they stood.
//!
//! Aliases share the node that they name, so they cost no memory; how much a tree would be when written out is
//! counted all the same, so that neither a bomb of aliases nor a chain of them is ever walked.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

/// How deep values may nest, aliases written out. A configuration needs ten.
const DEEPEST: usize = 32;
/// How many nodes aliases may stand for.
const MOST_ALIASED: usize = 100_000;
/// How long a text may be, in bytes.
pub(crate) const LONGEST: usize = 16 << 20;

/// A place in the text, counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The line.
    pub(crate) line: usize,
    /// The column.
    pub(crate) column: usize,
}

/// A value and its place.
#[derive(Debug, PartialEq)]
pub(crate) struct Node {
    /// Where it begins.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    /// A word, number or quoted text; `plain` is without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Rc<Node>>),
    /// A mapping, in the order of the text, duplicates kept.
    Map(Vec<(Key, Rc<Node>)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    /// Where it begins.
    pub(crate) place: Place,
    /// The key.
    pub(crate) text: String,
}

/// The text is no YAML, or none that is taken.
#[derive(Debug, PartialEq)]
pub(crate) struct Broken {
    /// Where.
    pub(crate) place: Place,
    /// What is wrong; what is legal.
    pub(crate) message: String,
}

/// Reads one YAML document; `None` where the text holds none.
pub(crate) fn grow(text: &str) -> Result<Option<Rc<Node>>, Broken> {
    if text.len() > LONGEST {
        let message = format!("the file is too long; a configuration has at most {LONGEST} bytes");
        return Err(Broken { place: Place { line: 1, column: 1 }, message });
    }
    let mut options = granit_parser::options! { flow_nesting_limit: DEEPEST, block_nesting_limit: DEEPEST };
    options.set_emit_comments(false);
    let mut tree = Tree::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| not_yaml(&error))?;
        tree.take(event, &span)?;
    }
    Ok(tree.root)
}

fn place_of(mark: &granit_parser::Marker) -> Place {
    Place { line: mark.line(), column: mark.col() + 1 }
}

fn not_yaml(error: &ScanError) -> Broken {
    let kind = error.kind();
    let message = if *kind == ErrorKind::RecursionLimitExceeded {
        too_deep()
    } else if matches!(
        kind,
        ErrorKind::TabInIndentation
            | ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
    ) {
        "not YAML: a tab stands here; indent with spaces".to_owned()
    } else if *kind == ErrorKind::UnknownAnchor {
        "this alias names no anchor; an alias (`*name`) follows its anchor (`&name`)".to_owned()
    } else {
        format!("not YAML: {}; check indentation, brackets and quotes here and just above", error.info())
    };
    Broken { place: place_of(error.marker()), message }
}

fn too_deep() -> String {
    format!("nested too deep; at most {DEEPEST} levels are read")
}

/// How much a node is when its aliases are written out.
#[derive(Debug, Clone, Copy)]
struct Extent {
    nodes: usize,
    height: usize,
}

/// A list or mapping that has not ended.
struct Open {
    place: Place,
    anchor: usize,
    extent: Extent,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<(Key, Rc<Node>)>, key: Option<Key> },
}

#[derive(Default)]
struct Tree {
    root: Option<Rc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Rc<Node>, Extent)>,
    aliased: usize,
    documents: usize,
}

impl Tree {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum has variants that depend on its features")]
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Broken> {
        let place = place_of(&span.start);
        if event.tag().is_some() {
            return Err(Broken { place, message: "tags (`!...`) are not read; remove it".to_owned() });
        }
        match event {
            Event::DocumentStart(..) => self.begin_document(place),
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.put(Node { place, value }, anchor, Extent { nodes: 1, height: 1 })
            }
            Event::SequenceStart(_, anchor, _) => self.begin(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.begin(place, anchor, Content::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(place, anchor),
            _ => Ok(()),
        }
    }

    fn begin_document(&mut self, place: Place) -> Result<(), Broken> {
        self.documents += 1;
        if self.documents > 1 {
            let message = "a second document begins here; a configuration is one document, remove the `---`";
            return Err(Broken { place, message: message.to_owned() });
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Broken> {
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(no_key(place));
        }
        if self.open.len() == DEEPEST {
            return Err(Broken { place, message: too_deep() });
        }
        self.open.push(Open { place, anchor, extent: Extent { nodes: 1, height: 1 }, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Broken> {
        let Some(Open { place, anchor, extent, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.put(Node { place, value }, anchor, extent)
    }

    fn alias(&mut self, place: Place, anchor: usize) -> Result<(), Broken> {
        let Some((node, extent)) = self.anchors.get(&anchor) else {
            let message = "this alias stands inside its own anchor; a value cannot hold itself".to_owned();
            return Err(Broken { place, message });
        };
        let (node, extent) = (Rc::clone(node), *extent);
        self.aliased = self.aliased.saturating_add(extent.nodes);
        if self.aliased > MOST_ALIASED {
            let message = format!("aliases stand for more than {MOST_ALIASED} values; write fewer of them");
            return Err(Broken { place, message });
        }
        self.attach(place, node, extent)
    }

    fn put(&mut self, node: Node, anchor: usize, extent: Extent) -> Result<(), Broken> {
        let place = node.place;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, (Rc::clone(&node), extent));
        }
        self.attach(place, node, extent)
    }

    fn attach(&mut self, place: Place, node: Rc<Node>, extent: Extent) -> Result<(), Broken> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.extent.nodes = parent.extent.nodes.saturating_add(extent.nodes);
        parent.extent.height = parent.extent.height.max(extent.height + 1);
        // A chain of anchors, each inside the next, would nest without bound while the text stays flat.
        if parent.extent.height > DEEPEST {
            return Err(Broken { place, message: too_deep() });
        }
        match &mut parent.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let Value::Scalar { text, .. } = &node.value else { return Err(no_key(place)) };
                    *key = Some(Key { place, text: text.clone() });
                }
            },
        }
        Ok(())
    }
}

fn no_key(place: Place) -> Broken {
    Broken { place, message: "a list or mapping stands where a key belongs; a key is a word".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> (usize, usize, String) {
        let broken = grow(text).unwrap_err();
        (broken.place.line, broken.place.column, broken.message)
    }

    #[test]
    fn nodes_remember_where_they_stood() {
        let root = grow("a: 1\nb:\n  - x\n  - 'y'\n").unwrap().unwrap();
        let Value::Map(entries) = &root.value else { panic!("not a mapping: {root:?}") };
        assert_eq!(entries[1].0, Key { place: Place { line: 2, column: 1 }, text: "b".to_owned() });
        let Value::List(items) = &entries[1].1.value else { panic!("not a list: {root:?}") };
        assert_eq!(items[1].place, Place { line: 4, column: 5 });
        assert_eq!(items[1].value, Value::Scalar { text: "y".to_owned(), plain: false });
    }

    #[test]
    fn an_alias_is_the_value_that_it_names() {
        let root = grow("a: &x [1, 2]\nb: *x\n").unwrap().unwrap();
        let Value::Map(entries) = &root.value else { panic!("not a mapping: {root:?}") };
        assert!(Rc::ptr_eq(&entries[0].1, &entries[1].1));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let item = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![item; 10].join(", "));
        }
        let (line, _, message) = broken(&text);
        assert_eq!(line, 5);
        assert_eq!(message, "aliases stand for more than 100000 values; write fewer of them");
    }

    #[test]
    fn a_chain_of_aliases_nests_no_deeper_than_brackets_may() {
        let mut text = "- &a0 [x]\n".to_owned();
        for level in 1..20_000 {
            text += &format!("- &a{level} [*a{}]\n", level - 1);
        }
        assert_eq!(broken(&text), (31, 8, "nested too deep; at most 32 levels are read".to_owned()));
    }

    #[test]
    fn deep_nesting_is_refused_in_every_style() {
        let deep = "nested too deep; at most 32 levels are read";
        assert_eq!(broken(&"[".repeat(100_000)).2, deep);
        assert_eq!(broken(&"- ".repeat(100_000)).2, deep);
        assert_eq!(broken(&"{a: [".repeat(100_000)).2, deep);
    }

    #[test]
    fn a_value_that_holds_itself_is_refused() {
        assert_eq!(broken("a: &x [*x]").2, "this alias stands inside its own anchor; a value cannot hold itself");
    }

    #[test]
    fn an_alias_without_an_anchor_is_refused_where_it_stands() {
        let (line, column, message) = broken("a: 1\nb: *x\n");
        assert_eq!((line, column), (2, 4));
        assert_eq!(message, "this alias names no anchor; an alias (`*name`) follows its anchor (`&name`)");
    }

    #[test]
    fn a_text_without_a_value_has_no_root() {
        assert_eq!(grow("").unwrap(), None);
        assert_eq!(grow("# only a comment\n").unwrap(), None);
    }

    #[test]
    fn a_text_that_is_too_long_is_not_even_scanned() {
        let text = "#".repeat(LONGEST + 1);
        assert_eq!(broken(&text).2, "the file is too long; a configuration has at most 16777216 bytes");
    }
}
