//! Reads the names of log fields out of the source: what a rare event logs is seen in no test run.

use std::path::Path;

/// The fields of every `tracing` event in the sources beneath this folder, each with its file.
pub(super) fn in_sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the sources can be read") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "tests" {
                found.extend(in_sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !name.starts_with("test") {
            let source = std::fs::read_to_string(&path).expect("a source is UTF-8");
            // Tests stand at the foot of a file.
            let code = source.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
            found.extend(
                in_text(code)
                    .into_iter()
                    .map(|field| (field, path.display().to_string())),
            );
        }
    }
    found
}

/// The fields of every event in this text.
pub(super) fn in_text(code: &str) -> Vec<String> {
    let mut fields = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace"] {
        for (at, start) in code.match_indices(&format!("tracing::{level}!(")) {
            for argument in arguments(&code[at + start.len()..]) {
                let argument = argument.trim();
                if argument.starts_with('"') {
                    break;
                }
                match argument.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    Some(inner) => fields.extend(arguments(&format!("{inner})")).into_iter().filter_map(field)),
                    None => fields.extend(field(argument)),
                }
            }
        }
    }
    fields
}

/// The name of the field that this argument is, if it is one.
fn field(argument: &str) -> Option<String> {
    let argument = argument.trim();
    if argument.is_empty() || argument.starts_with("target:") || argument.starts_with("parent:") {
        return None;
    }
    let name = argument.split('=').next()?;
    Some(name.trim().trim_start_matches(['%', '?']).to_owned())
}

/// The arguments of a call, split at its own commas; the text begins behind the opening parenthesis.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped, mut begin) = (0_usize, false, false, 0);
    let mut arguments = Vec::new();
    for (at, c) in text.char_indices() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => quoted = true,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                arguments.push(&text[begin..at]);
                return arguments;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    panic!("a call without an end: {}", &text[..text.floor_char_boundary(80)]);
}
