//! The JSON Schema of the configuration file, from the shapes that also decode it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file::File;

/// The schema, in draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<File>();
    schema.insert("title".to_owned(), Value::from("Scopegate configuration"));
    schema.to_value()
}

#[cfg(test)]
mod tests;
