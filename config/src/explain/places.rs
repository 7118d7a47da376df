//! Where each value of a text is written.

use std::collections::HashMap;

use crate::problem::shown;
use crate::tree::{Node, Place, Value, grow};

/// The places of a text by the paths of what is written there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Places(HashMap<String, Written>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Written {
    /// Of its key, or of itself in a list. Of an alias that is where it is used, not where its anchor stands.
    line: usize,
    /// Where problems with it are shown.
    place: Place,
}

impl Places {
    /// Of a text that is YAML; nothing of any other.
    pub(super) fn of(text: &str) -> Self {
        let mut places = Self::default();
        if let Ok(Some(root)) = grow(text) {
            places.gather(&root, "");
        }
        places
    }

    /// The line in which the value at this path is written, if it is.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        self.0.get(path).map(|written| written.line)
    }

    /// Where a problem with this path is shown: where it is written, or else what it is a part of.
    pub(super) fn nearest(&self, path: &str) -> Option<Place> {
        let ends = path.char_indices().rev().filter(|(_, c)| matches!(c, '.' | '[')).map(|(end, _)| end);
        std::iter::once(path.len()).chain(ends).find_map(|end| self.0.get(&path[..end])).map(|written| written.place)
    }

    fn gather(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Scalar { .. } => {}
            Value::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    let path = format!("{path}[{number}]");
                    self.gather(item, &path);
                    self.0.insert(path, Written { line: item.place.line, place: item.place });
                }
            }
            Value::Map(entries) => {
                for (key, value) in entries {
                    let name = shown(&key.text);
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    self.gather(value, &path);
                    self.0.insert(path, Written { line: key.place.line, place: value.place });
                }
            }
        }
    }
}
