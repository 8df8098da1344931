//! What a check says: every finding with its line, for people and for programs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::redact;
use crate::model::finding::{Finding, Severity};
use crate::model::location::Location;

/// The widest part of a line that is shown.
const WIDTH_MAX: usize = 120;

/// Findings with the text that they point into, sorted by place.
#[derive(Clone)]
pub struct Report {
    path: PathBuf,
    text: Arc<str>,
    findings: Vec<Finding>,
}

impl Report {
    /// Sorts the findings, and leaves out those that say the same of the same place.
    #[must_use]
    pub fn new(path: &Path, text: Arc<str>, mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|one, other| {
            (one.location, one.severity, one.code, &one.message).cmp(&(
                other.location,
                other.severity,
                other.code,
                &other.message,
            ))
        });
        findings.dedup_by(|one, other| one.location == other.location && one.code == other.code);
        Self {
            path: path.to_owned(),
            text,
            findings,
        }
    }

    /// The findings, sorted by place.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// The same findings, with every warning of this code made an error.
    #[must_use]
    pub fn promote(mut self, code: &str) -> Self {
        for finding in &mut self.findings {
            if finding.code == code {
                finding.severity = Severity::Error;
            }
        }
        self
    }

    /// The report for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "severity": name(finding.severity),
                "code": finding.code,
                "line": finding.location.line,
                "column": finding.location.column,
                "message": finding.message,
                "hint": finding.hint,
            })
        };
        json!({
            "file": self.path.display().to_string(),
            "errors": self.errors(),
            "warnings": self.warnings(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

/// The report for people: each finding with its line, a caret, and a hint; then a summary.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for finding in &self.findings {
            let severity = name(finding.severity);
            let place = finding.location;
            if place.line == 0 {
                writeln!(f, "{path}: {severity}[{}]: {}", finding.code, finding.message)?;
            } else {
                writeln!(
                    f,
                    "{path}:{}:{}: {severity}[{}]: {}",
                    place.line, place.column, finding.code, finding.message
                )?;
                if let Some(shown) = redact::line(&self.text, place.line, place.column) {
                    let (text, caret) = cropped(&shown);
                    writeln!(f, "{:>5} | {text}", place.line)?;
                    writeln!(f, "      | {}^", " ".repeat(caret))?;
                }
            }
            if let Some(hint) = &finding.hint {
                writeln!(f, "hint: {hint}")?;
            }
            writeln!(f)?;
        }
        let plural = |count, word| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        writeln!(
            f,
            "{path}: {}, {}",
            plural(self.errors(), "error"),
            plural(self.warnings(), "warning")
        )
    }
}

/// `Debug` shows no text of the file: there may be secrets in it.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("path", &self.path)
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Report {}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The part of a long line around the caret.
fn cropped(shown: &redact::Shown) -> (String, usize) {
    let characters: Vec<char> = shown.text.trim_end().chars().collect();
    if characters.len() <= WIDTH_MAX {
        return (characters.into_iter().collect(), shown.caret);
    }
    let start = shown
        .caret
        .saturating_sub(WIDTH_MAX / 2)
        .min(characters.len() - WIDTH_MAX);
    let end = start + WIDTH_MAX;
    let mut text: String = characters.iter().skip(start).take(WIDTH_MAX).collect();
    let mut caret = shown.caret.saturating_sub(start);
    if start > 0 {
        text.insert(0, '…');
        caret += 1;
    }
    if end < characters.len() {
        text.push('…');
    }
    (text, caret)
}

/// The errors among findings, in one line: `check` shows them with the lines that they are in.
#[must_use]
pub fn brief(path: &Path, findings: &[Finding]) -> String {
    let path = path.display();
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| {
            let Location { line, column } = finding.location;
            format!("{path}:{line}:{column}: {}", finding.message)
        })
        .collect();
    errors.join("; ")
}

#[cfg(test)]
mod tests;
