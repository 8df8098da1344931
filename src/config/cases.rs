//! Case files: requests with the decisions expected of them, for `scopegate test`.
//!
//! A case file is read by the same decoder as the configuration, so that a mistake in it is reported
//! in the same way: all of them at once, each with line, column and a way out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::decode::{Decode, Fields, Problems, shapes};
use super::file::access::json;
use super::report::Report;
use super::scalar::{OneOrMany, Period};
use super::source::{self, Source};
use super::yaml::{self, Node};
use crate::model::finding::Finding;
use crate::model::location::{Located, Location};
use crate::model::reason::Reason;

/// One case.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub location: Location,
    /// The request, for example `GET https://api.bank.example/transfers`.
    pub request: Located<RequestLine>,
    /// Further headers of the request.
    pub headers: Vec<(String, String)>,
    /// The token, as claims; none if the request carries none.
    pub token: Option<CaseToken>,
    /// What must come out.
    pub expect: Expectation,
}

/// A request on one line: a method and an absolute URL, kept as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine {
    /// The method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The authority.
    pub host: String,
    /// The path with its query. Nothing in it is normalised: how a path is read is what is tested.
    pub target: String,
}

/// Why a text is no request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request is a method and an absolute URL, such as `GET https://api.bank.example/transfers`")]
pub struct InvalidRequestLine;

impl RequestLine {
    /// Reads `METHOD URL`.
    ///
    /// # Errors
    /// [`InvalidRequestLine`] when there is no method, no `http` or `https` URL, or white space in it.
    pub fn parse(text: &str) -> Result<Self, InvalidRequestLine> {
        let (method, url) = text.trim().split_once(' ').ok_or(InvalidRequestLine)?;
        let (scheme, rest) = url.trim_start().split_once("://").ok_or(InvalidRequestLine)?;
        if method.is_empty() || !matches!(scheme, "http" | "https") || rest.contains(char::is_whitespace) {
            return Err(InvalidRequestLine);
        }
        let split = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(split);
        Ok(Self {
            method: method.to_owned(),
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            target: if target.is_empty() {
                "/".to_owned()
            } else {
                target.to_owned()
            },
        })
    }
}

/// A token as a set of claims.
#[derive(Debug, Clone, Default)]
pub struct CaseToken {
    /// The authorization server that issued it.
    pub server: Located<String>,
    /// The client.
    pub client: Option<String>,
    /// The subject.
    pub subject: Option<String>,
    /// The scopes, space-delimited.
    pub scope: Option<String>,
    /// When the user signed in, in seconds from now: negative for the past.
    pub auth_time: Option<i64>,
    /// When it expires, in seconds from now.
    pub expires: Option<i64>,
    /// Every other claim.
    pub claims: Map<String, Value>,
}

/// What must come out of a case. Only what is stated is compared.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// Whether the request may pass.
    pub allow: bool,
    /// The status of the denial.
    pub status: Option<u64>,
    /// The reason of the denial.
    pub reason: Option<Reason>,
    /// The scopes that are missing.
    pub missing: Option<Vec<String>>,
    /// Identity headers that the upstream gets.
    pub headers: Vec<(String, String)>,
}

shapes! {
    CaseFile {
        name: String,
        request: Located<String>,
        token: Option<CaseToken>,
        headers: Option<Texts>,
        expect: ExpectationFile,
    }

    ExpectationFile {
        allow: bool,
        status: Option<Located<Status>>,
        reason: Option<Located<String>>,
        missing: Option<Vec<String>>,
        headers: Option<Texts>,
    }
}

/// A mapping of names to texts.
#[derive(Debug, schemars::JsonSchema)]
pub(crate) struct Texts(std::collections::BTreeMap<String, String>);

impl Decode for Texts {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::open_loose(node, "a mapping of names to texts", problems)?;
        let mut texts = std::collections::BTreeMap::new();
        for entry in fields.entries() {
            texts.insert(entry.key.to_ascii_lowercase(), String::decode(&entry.value, problems)?);
        }
        Some(Self(texts))
    }
}

/// An HTTP status.
#[derive(Debug, schemars::JsonSchema)]
pub(crate) struct Status(u64);

impl Decode for Status {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Some(yaml::Scalar::Integer(number)) = node.scalar() {
            u64::try_from(number)
                .ok()
                .filter(|status| (100..600).contains(status))
                .map(Self)
                .or_else(|| {
                    problems.wrong_type(node, "an HTTP status");
                    None
                })
        } else {
            problems.wrong_type(node, "an HTTP status");
            None
        }
    }
}

/// Seconds from now: `-10m`, `5m`, `0s`.
#[derive(Debug)]
struct FromNow(i64);

impl Decode for FromNow {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Some(yaml::Scalar::Text(text)) = node.scalar() else {
            problems.wrong_type(node, "a time from now such as `-10m`");
            return None;
        };
        let (sign, span) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let seconds = |Period(span): Period| i64::try_from(Duration::as_secs(&span)).ok();
        let found = Period::parse(span)
            .and_then(seconds)
            .map(|seconds| Self(sign * seconds));
        if found.is_none() {
            problems.wrong_type(node, "a time from now such as `-10m`");
        }
        found
    }
}

impl Decode for CaseToken {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::open_loose(
            node,
            "a mapping with `server`, `client`, `sub`, `scope` and claims",
            problems,
        )?;
        let mut token = Self {
            server: fields.take("server", problems)?,
            client: fields.take("client", problems)?,
            subject: fields.take("sub", problems)?,
            scope: fields
                .take::<Option<OneOrMany<String>>>("scope", problems)?
                .map(|scopes| scopes.0.join(" ")),
            auth_time: fields.take::<Option<FromNow>>("auth_time", problems)?.map(|at| at.0),
            expires: fields.take::<Option<FromNow>>("exp", problems)?.map(|at| at.0),
            claims: Map::new(),
        };
        let known = ["server", "client", "sub", "scope", "auth_time", "exp"];
        for entry in fields
            .entries()
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            let Some(value) = json(&entry.value) else {
                problems.wrong_type(&entry.value, "a claim's value");
                return None;
            };
            token.claims.insert(entry.key.clone(), value);
        }
        Some(token)
    }
}

impl schemars::JsonSchema for CaseToken {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CaseToken".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "required": ["server"] })
    }
}

/// Reads a case file.
///
/// # Errors
/// The report, if anything in the file is wrong.
pub fn load(path: &Path, source: &dyn Source) -> Result<Vec<Case>, Report> {
    let text = source.text(path).map_err(|error| {
        let finding = source::unreadable(&error, "name case files after the options");
        Report::new(path, Arc::from(""), vec![finding])
    })?;
    let (root, findings) = yaml::read(&text);
    let mut problems = Problems::default();
    problems.extend(findings);
    let files: Vec<CaseFile> = root
        .as_ref()
        .and_then(|root| Vec::decode(root, &mut problems))
        .unwrap_or_default();
    let cases: Vec<Case> = files.into_iter().filter_map(|file| case(file, &mut problems)).collect();
    let report = Report::new(path, Arc::from(text), problems.into_findings());
    if report.errors() > 0 { Err(report) } else { Ok(cases) }
}

fn case(file: CaseFile, problems: &mut Problems) -> Option<Case> {
    let request = match RequestLine::parse(&file.request.value) {
        Ok(request) => Located::new(request, file.request.location),
        Err(error) => {
            problems.push(Finding::error(
                "invalid_request_line",
                file.request.location,
                error.to_string(),
            ));
            return None;
        }
    };
    let reason = match file.expect.reason {
        None => None,
        Some(word) => {
            if let Some(reason) = Reason::ALL.into_iter().find(|reason| reason.as_str() == word.value) {
                Some(reason)
            } else {
                let words: Vec<&str> = Reason::ALL.into_iter().map(Reason::as_str).collect();
                let finding = Finding::error(
                    "unknown_word",
                    word.location,
                    format!("unknown reason `{}`", word.value),
                );
                problems.push(finding.hint(format!("a reason is {}", super::decode::listed(&words))));
                return None;
            }
        }
    };
    let texts = |texts: Option<Texts>| texts.map(|texts| texts.0.into_iter().collect()).unwrap_or_default();
    Some(Case {
        name: file.name,
        location: file.at,
        request,
        headers: texts(file.headers),
        token: file.token,
        expect: Expectation {
            allow: file.expect.allow,
            status: file.expect.status.map(|status| status.value.0),
            reason,
            missing: file.expect.missing,
            headers: texts(file.expect.headers),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Memory;

    #[test]
    fn a_request_line_keeps_what_is_written() {
        let line = RequestLine::parse("GET https://api.bank.example/a/..%2fb?x=1").expect("valid");
        assert_eq!(
            (line.host.as_str(), line.target.as_str()),
            ("api.bank.example", "/a/..%2fb?x=1")
        );
        assert_eq!(RequestLine::parse("GET https://h").expect("valid").target, "/");
        for wrong in [
            "GET",
            "https://h/",
            "GET /transfers",
            "GET ftp://h/",
            "GET https://h/a b",
        ] {
            assert_eq!(RequestLine::parse(wrong), Err(InvalidRequestLine), "{wrong}");
        }
    }

    #[test]
    fn every_mistake_in_a_case_file_is_told_with_its_place() {
        let text = "- name: a\n  request: nowhere\n  expect: { allow: true }\n\
                    - name: b\n  request: GET https://h/\n  expect: { allow: false, reason: insufficient_scopes }\n\
                    - name: c\n  request: GET https://h/\n  expcet: { allow: true }\n";
        let report =
            load(Path::new("cases.yaml"), &Memory::of(Path::new("cases.yaml"), text)).expect_err("three mistakes");
        let found: Vec<(u32, &str)> = report
            .findings()
            .iter()
            .map(|finding| (finding.location.line, finding.code))
            .collect();
        assert_eq!(
            found,
            [(2, "invalid_request_line"), (6, "unknown_word"), (9, "unknown_key")]
        );
    }
}
