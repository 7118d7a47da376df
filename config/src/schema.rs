//! The JSON Schema of the file, for editors.
//!
//! The types here mirror the file and are never filled: the decoder reads the tree itself, because it tells every
//! problem at once with its place, which deserialisation cannot. A test holds both to the same keys.

mod file;

/// The JSON Schema (draft 2020-12) of a configuration file.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(file::Configuration).to_value()
}

#[cfg(test)]
mod tests;
