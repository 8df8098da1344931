//! What the answers of all resources have in common.

use serde_json::{Value, json};

use crate::model::time::Timestamp;

/// A moment as Okta writes it: RFC 3339 in UTC. Nothing for what was never.
pub(in crate::http) fn moment(at: Timestamp) -> Value {
    if at.unix_seconds() == 0 {
        return Value::Null;
    }
    jiff::Timestamp::from_second(at.unix_seconds()).map_or(Value::Null, |at| json!(at.to_string()))
}

/// Reads a moment: RFC 3339.
pub(in crate::http) fn read_moment(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_unix_seconds(at.as_second()))
}
