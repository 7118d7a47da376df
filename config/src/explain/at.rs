//! A place in a configuration, and what the schema says of it.

use serde_json::Value;

/// A place: its path, and the schema of what stands there.
#[derive(Debug, Clone)]
pub(super) struct At<'a> {
    whole: &'a Value,
    path: String,
    /// As it stands at its key, before its reference is followed.
    schema: &'a Value,
}

impl<'a> At<'a> {
    /// The whole configuration.
    pub(super) fn root(whole: &'a Value) -> Self {
        Self { whole, path: String::new(), schema: whole }
    }

    /// The value under a key that the schema knows.
    pub(super) fn key(&self, key: &str) -> Self {
        self.below(key, self.branches().into_iter().find_map(|branch| branch["properties"].get(key)))
    }

    /// The value under a key that the operator chose.
    pub(super) fn named(&self, name: &str) -> Self {
        self.below(name, self.branches().into_iter().find_map(|branch| branch.get("additionalProperties")))
    }

    /// An item of a list, counted from 0.
    pub(super) fn item(&self, number: usize) -> Self {
        let items = self.branches().into_iter().find_map(|branch| branch.get("items"));
        Self { whole: self.whole, path: format!("{}[{number}]", self.path), schema: items.unwrap_or(&Value::Null) }
    }

    fn below(&self, key: &str, schema: Option<&'a Value>) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { whole: self.whole, path, schema: schema.unwrap_or(&Value::Null) }
    }

    /// The path, as problems name it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What stands here, in a sentence; empty where the schema says nothing.
    pub(super) fn meaning(&self) -> String {
        let own = self.schema["description"].as_str();
        let said = own.or_else(|| self.resolved(self.schema)["description"].as_str()).unwrap_or_default();
        // Doc comments are broken into lines where it suits the source.
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The default, as it is written.
    pub(super) fn usual(&self) -> Option<String> {
        let usual = self.schema.get("default")?;
        Some(usual.as_str().map_or_else(|| usual.to_string(), str::to_owned))
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let target = schema["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
        target.and_then(|pointer| self.whole.pointer(pointer)).unwrap_or(schema)
    }

    /// The ways in which what stands here may be written.
    fn branches(&self) -> Vec<&'a Value> {
        let mut open = vec![self.schema];
        let mut branches = Vec::new();
        while let Some(schema) = open.pop() {
            let schema = self.resolved(schema);
            match schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
                // The first is looked at first.
                Some(ways) => open.extend(ways.iter().rev()),
                None => branches.push(schema),
            }
        }
        branches
    }
}
