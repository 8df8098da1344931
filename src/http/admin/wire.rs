//! What the resources share of their JSON: times, fields that are read, and the marks of what the file declares.

use serde_json::{Map, Value, json};

use crate::admin::{AdminError, NEVER};
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{EntityTag, IfMatch};
use crate::model::time::Timestamp;
use crate::oauth::document::Status;

/// A moment as Okta writes it; null where it is not known.
pub(in crate::http) fn time(at: Timestamp) -> Value {
    if at == NEVER {
        return Value::Null;
    }
    let moment = jiff::Timestamp::from_second(at.unix_seconds()).unwrap_or(jiff::Timestamp::MAX);
    json!(moment.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string())
}

/// The status as Okta writes it.
pub(in crate::http) fn status(status: Status) -> &'static str {
    if status.is_active() { "ACTIVE" } else { "INACTIVE" }
}

/// Says of an object where it is declared, and leaves out what is not known of it.
pub(in crate::http) fn finish(mut object: Value, in_file: bool) -> Value {
    if let Value::Object(members) = &mut object {
        members.retain(|_, value| !value.is_null());
        if in_file {
            members.insert("readOnly".to_owned(), json!(true));
            members.insert("declaredIn".to_owned(), json!("file"));
        }
    }
    object
}

/// Compares `If-Match` with the object as it is shown now.
pub(in crate::http) fn expect(if_match: &IfMatch, now: &Value) -> Result<(), AdminError> {
    if_match
        .check(&EntityTag::of(now))
        .map_err(|_| AdminError::Precondition)
}

/// Reads the fields of a body. Each mistake is kept, so that one answer names them all.
pub(in crate::http) struct Fields<'b> {
    object: &'static str,
    members: &'b Map<String, Value>,
    causes: Vec<String>,
}

impl<'b> Fields<'b> {
    /// Of this kind of object.
    pub(in crate::http) fn new(object: &'static str, members: &'b Map<String, Value>) -> Self {
        Self {
            object,
            members,
            causes: Vec::new(),
        }
    }

    /// The value at this path; a null is none.
    pub(in crate::http) fn at(&self, path: &[&str]) -> Option<&'b Value> {
        let (first, rest) = path.split_first()?;
        let mut value = self.members.get(*first)?;
        for name in rest {
            value = value.get(*name)?;
        }
        (!value.is_null()).then_some(value)
    }

    /// One more mistake.
    pub(in crate::http) fn refuse(&mut self, cause: impl Into<String>) {
        self.causes.push(cause.into());
    }

    fn read<T>(&mut self, path: &[&str], what: &str, read: impl Fn(&'b Value) -> Option<T>) -> Option<T> {
        let value = self.at(path)?;
        let read = read(value);
        if read.is_none() {
            self.refuse(format!("{}: {what} is expected", path.join(".")));
        }
        read
    }

    /// A text.
    pub(in crate::http) fn text(&mut self, path: &[&str]) -> Option<String> {
        self.read(path, "a text", |value| value.as_str().map(ToOwned::to_owned))
    }

    /// A text that must be there, of at most so many characters.
    pub(in crate::http) fn name(&mut self, path: &[&str], max: usize) -> String {
        let text = self.text(path).unwrap_or_default();
        let trimmed = text.trim();
        if trimmed.is_empty() {
            if self.at(path).is_none_or(Value::is_string) {
                self.refuse(format!("{}: the field cannot be left blank", path.join(".")));
            }
        } else if trimmed.chars().count() > max {
            self.refuse(format!("{}: at most {max} characters are allowed", path.join(".")));
        } else if trimmed.chars().any(char::is_control) {
            self.refuse(format!("{}: control characters are not allowed", path.join(".")));
        }
        trimmed.to_owned()
    }

    /// True or false.
    pub(in crate::http) fn flag(&mut self, path: &[&str]) -> Option<bool> {
        self.read(path, "true or false", Value::as_bool)
    }

    /// A whole number.
    pub(in crate::http) fn number(&mut self, path: &[&str]) -> Option<u64> {
        self.read(path, "a whole number", Value::as_u64)
    }

    /// A list of texts.
    pub(in crate::http) fn texts(&mut self, path: &[&str]) -> Option<Vec<String>> {
        self.read(path, "a list of texts", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| item.as_str().map(ToOwned::to_owned)).collect()
        })
    }

    /// One of these words.
    pub(in crate::http) fn word<T: Copy>(&mut self, path: &[&str], words: &[(&str, T)]) -> Option<T> {
        let text = self.text(path)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(format!("{}: one of {} is expected", path.join("."), known.join(", ")));
        }
        found
    }

    /// A duration that stands there in minutes, or in seconds, which win.
    pub(in crate::http) fn seconds(&mut self, path: &[&str], stem: &str) -> Option<u64> {
        let (in_seconds, in_minutes) = (format!("{stem}Seconds"), format!("{stem}Minutes"));
        let in_seconds = self.number(&[path, &[in_seconds.as_str()]].concat());
        let in_minutes = self.number(&[path, &[in_minutes.as_str()]].concat());
        in_seconds.or_else(|| in_minutes.map(|minutes| minutes.saturating_mul(60)))
    }

    /// The end: every mistake, or none.
    pub(in crate::http) fn finish(self) -> Result<(), ApiError> {
        if self.causes.is_empty() {
            Ok(())
        } else {
            Err(ApiError::validation(self.object, self.causes))
        }
    }
}

/// Words of the API and what they mean.
pub(in crate::http) const STATUSES: [(&str, Status); 2] = [("ACTIVE", Status::Active), ("INACTIVE", Status::Inactive)];
