//! What a check of the configuration finds: errors and warnings, each with its place and a way out.

use crate::model::location::Location;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration works, but probably not as meant.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub location: Location,
    /// Its stable name, for example `unknown_scope`.
    pub code: &'static str,
    /// What is wrong: lower case, the offending text in backticks.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl Finding {
    /// An error at this place.
    pub fn error(code: &'static str, location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            location,
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// A warning at this place.
    pub fn warning(code: &'static str, location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            location,
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The candidate nearest to a misspelt text, if one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(text, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(text.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_candidate_only_if_it_is_near() {
        assert_eq!(nearest("shop:wirte", ["shop:read", "shop:write"]), Some("shop:write"));
        assert_eq!(nearest("paht", ["path", "grpc"]), Some("path"));
        assert_eq!(nearest("zebra", ["path", "grpc"]), None);
    }
}
