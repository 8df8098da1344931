//! A line of the file as a report may show it: without the secrets that stand in it.
//!
//! The reader may have given up before anything was decoded, so this works on the text alone, by the
//! names of keys, misspelt ones included. It hides too much rather than too little.

use crate::model::finding::nearest;

/// What stands in place of a secret, whatever its length.
const HIDDEN: &str = "***";

/// Keys that have one of the telling words in them and hold no secret.
const HARMLESS: [&str; 7] = [
    "secrets",
    "client_secret_file",
    "shared_secret_file",
    "shared_secret_files",
    "password_file",
    "secret_file",
    "passwords",
];

/// A line without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The text, on one line, without control characters.
    pub(crate) text: String,
    /// Where the column that was asked for stands in it, from 0.
    pub(crate) caret: usize,
}

/// The line (from 1) of a text, with the place of a column (from 1) in what is shown.
pub(crate) fn line(text: &str, line: u32, column: u32) -> Option<Shown> {
    let mut state = Continues::Nothing;
    let wanted = line.checked_sub(1)? as usize;
    for (index, line) in text.lines().enumerate() {
        let characters: Vec<char> = line.chars().collect();
        let hidden = hide(&characters, &mut state);
        if index == wanted {
            return Some(render(&characters, &hidden, column));
        }
    }
    None
}

fn render(characters: &[char], hidden: &[bool], column: u32) -> Shown {
    let column = (column as usize).saturating_sub(1);
    let mut shown = Shown {
        text: String::new(),
        caret: 0,
    };
    let mut length = 0;
    for (index, character) in characters.iter().enumerate() {
        let is_hidden = hidden.get(index) == Some(&true);
        let goes_on = is_hidden && index > 0 && hidden.get(index - 1) == Some(&true);
        if index <= column && !goes_on {
            shown.caret = length;
        }
        if is_hidden {
            if !goes_on {
                shown.text.push_str(HIDDEN);
                length += HIDDEN.len();
            }
            continue;
        }
        shown.text.push(match character {
            '\t' => ' ',
            other if other.is_control() => '\u{fffd}',
            other => *other,
        });
        length += 1;
    }
    if column >= characters.len() {
        shown.caret = length;
    }
    shown
}

/// What of a secret goes on in the next line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Continues {
    Nothing,
    /// A quoted text that is not closed.
    Quoted(char),
    /// Lines that are indented further than the key at this column.
    Indented(usize),
}

fn hide(line: &[char], state: &mut Continues) -> Vec<bool> {
    let mut hidden = vec![false; line.len()];
    let mut from = 0;
    match *state {
        Continues::Nothing => {}
        Continues::Quoted(quote) => {
            let Some(end) = closing(line, 0, quote) else {
                hidden.fill(true);
                return hidden;
            };
            hidden[..end].fill(true);
            from = end;
            *state = Continues::Nothing;
        }
        Continues::Indented(column) => {
            let indent = line.iter().take_while(|character| **character == ' ').count();
            if indent == line.len() || indent > column {
                hidden[indent..].fill(true);
                return hidden;
            }
            *state = Continues::Nothing;
        }
    }
    while let Some((key, start, value)) = next_key(line, from) {
        from = value;
        if is_secret(&key) || (key == "sha256" && !is_digest(line, value)) {
            from = hide_value(line, start, value, &mut hidden, state);
        }
    }
    hide_credentials(line, &mut hidden);
    hidden
}

/// The next `key:` from a position on: its text, where it starts, where its value starts.
fn next_key(line: &[char], from: usize) -> Option<(String, usize, usize)> {
    let word = |character: &char| character.is_alphanumeric() || matches!(character, '_' | '-' | '.');
    let mut colon = from;
    loop {
        colon += line.get(colon..)?.iter().position(|character| *character == ':')?;
        let mut end = colon;
        while end > from && matches!(line.get(end - 1), Some(' ' | '"' | '\'')) {
            end -= 1;
        }
        let mut start = end;
        while start > from && line.get(start - 1).is_some_and(word) {
            start -= 1;
        }
        let value = colon + 1 + line.get(colon + 1..)?.iter().take_while(|c| c.is_whitespace()).count();
        if start < end {
            let key = line.get(start..end)?.iter().collect::<String>().to_lowercase();
            return Some((key, start, value));
        }
        colon += 1;
    }
}

fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 7] = [
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "private_key",
        "credential",
    ];
    // The private members of a JWK (RFC 7518 section 6): somebody may paste a whole key pair into `jwks`.
    const JWK_PRIVATE: [&str; 7] = ["d", "dp", "dq", "k", "p", "q", "qi"];
    if JWK_PRIVATE.contains(&key) {
        return true;
    }
    !HARMLESS.contains(&key)
        && (WORDS.iter().any(|word| key.contains(word))
            || nearest(
                key,
                ["password", "secret", "client_secret", "shared_secret", "path", "paths"],
            )
            .is_some_and(|meant| !meant.starts_with("path")))
}

/// Whether the value is a digest, or so short that its owner cannot have meant it for a secret.
fn is_digest(line: &[char], value: usize) -> bool {
    let text: String = line
        .iter()
        .skip(value)
        .skip_while(|character| matches!(character, '"' | '\''))
        .take_while(|character| !character.is_whitespace() && !matches!(character, '"' | '\'' | ',' | '}' | ']'))
        .collect();
    text.chars().all(|digit| digit.is_ascii_hexdigit()) || text.len() <= 8
}

/// Hides the value that starts here, and returns where it ends.
fn hide_value(line: &[char], key: usize, value: usize, hidden: &mut [bool], state: &mut Continues) -> usize {
    let rest = line.get(value..).unwrap_or_default();
    let in_flow = {
        let before = line.get(..key).unwrap_or_default();
        let count = |wanted: [char; 2]| before.iter().filter(|character| wanted.contains(character)).count();
        count(['{', '[']) > count(['}', ']'])
    };
    let end = match rest.first() {
        Some(quote @ ('"' | '\'')) => {
            let end = closing(line, value + 1, *quote);
            if end.is_none() {
                *state = Continues::Quoted(*quote);
            }
            end.unwrap_or(line.len())
        }
        Some('{' | '[') => line.len(),
        _ if in_flow => {
            let stops = |character: &char| matches!(character, ',' | '}' | ']');
            value + rest.iter().position(stops).unwrap_or(rest.len())
        }
        _ => {
            *state = Continues::Indented(key);
            line.len()
        }
    };
    if let Some(part) = hidden.get_mut(value..end) {
        part.fill(true);
    }
    end
}

/// Where a quoted text that has begun ends: the position after its closing quote.
fn closing(line: &[char], from: usize, quote: char) -> Option<usize> {
    let mut index = from;
    while let Some(character) = line.get(index) {
        if *character == '\\' && quote == '"' {
            index += 2;
        } else if *character == quote {
            if quote == '\'' && line.get(index + 1) == Some(&'\'') {
                index += 2;
            } else {
                return Some(index + 1);
            }
        } else {
            index += 1;
        }
    }
    None
}

/// `scheme://user:password@host`: the password, on any line.
fn hide_credentials(line: &[char], hidden: &mut [bool]) {
    let mut from = 0;
    while let Some(found) = line
        .get(from..)
        .and_then(|rest| rest.windows(3).position(|part| part == [':', '/', '/']))
    {
        let start = from + found + 3;
        let rest = line.get(start..).unwrap_or_default();
        let authority = rest
            .iter()
            .position(|character| character.is_whitespace() || matches!(character, '"' | '\''))
            .unwrap_or(rest.len());
        let rest = rest.get(..authority).unwrap_or_default();
        if let Some(at) = rest.iter().rposition(|character| *character == '@')
            && let Some(colon) = rest.iter().position(|character| *character == ':')
            && colon < at
            && let Some(part) = hidden.get_mut(start + colon + 1..start + at)
        {
            part.fill(true);
        }
        from = start;
    }
}

#[cfg(test)]
mod tests;
