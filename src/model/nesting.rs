//! How deep the brackets of an expression nest, before anybody parses it.
//!
//! The CEL parser works by recursion and has no limit of its own: a text that nests deep enough
//! overflows the stack, which ends the process and which no guard can catch (attack E13). So the
//! text is bounded first, by a count that is never below what the parser sees:
//!
//! - In a text whose strings are certain (closed on their line, with escapes that every reader knows),
//!   what stands in quotes does not count.
//! - In any other text (raw or triple-quoted strings, comments, a quote that does not close) each
//!   opening bracket counts for good, wherever it stands, and no closing one takes it back.

/// What a text nests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nesting {
    /// The most brackets that may stand inside each other.
    pub brackets: usize,
    /// The most `?` that there may be.
    pub conditionals: usize,
    /// The most prefix operators (`!`, `-`) that may stand in a row.
    pub prefixes: usize,
}

impl Nesting {
    /// An upper bound of what the parser will see in the text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        certain(text).unwrap_or_else(|| {
            let count = |wanted: &[char]| text.chars().filter(|character| wanted.contains(character)).count();
            Self {
                brackets: count(&['(', '[', '{']),
                conditionals: count(&['?']),
                prefixes: count(&['!', '-']),
            }
        })
    }
}

/// The exact count, if the text's strings are certain.
fn certain(text: &str) -> Option<Nesting> {
    if text.contains("//") || text.contains("'''") || text.contains("\"\"\"") {
        return None;
    }
    let mut found = Nesting::default();
    let (mut depth, mut prefixes) = (0_usize, 0_usize);
    let mut before = ' ';
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            // A letter before a quote makes it another kind of string: r'…', b"…".
            '\'' | '"' if before.is_alphanumeric() => return None,
            '\'' | '"' => skip_string(&mut characters, character)?,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => found.conditionals += 1,
            _ => {}
        }
        prefixes = match character {
            '!' | '-' => prefixes + 1,
            blank if blank.is_whitespace() => prefixes,
            _ => 0,
        };
        found.brackets = found.brackets.max(depth);
        found.prefixes = found.prefixes.max(prefixes);
        before = character;
    }
    Some(found)
}

/// Goes past the end of a string, if it ends on its line and every reader agrees on where.
fn skip_string(characters: &mut std::str::Chars<'_>, quote: char) -> Option<()> {
    loop {
        match characters.next()? {
            '\n' | '\r' => return None,
            '\\' => {
                let known = matches!(
                    characters.next()?,
                    '\\' | '\'' | '"' | '`' | '?' | 'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v'
                );
                known.then_some(())?;
            }
            end if end == quote => return Some(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_e13_nothing_hides_a_bracket_from_the_count() {
        let deep = "(".repeat(40);
        let hidden = [
            format!("{deep}1"),
            format!("'{deep}"),
            format!("'a\n{deep}"),
            format!("'\\q' {deep}"),
            format!("'\\q{deep}'"),
            format!("r'\\' == '' || {deep}"),
            format!("R\"\\\" || {deep}"),
            format!("'''a'b''' == '' || {deep}"),
            format!("\"\"\"a\"b\"\"\" == '' || {deep}"),
            format!("// \"\n{deep}"),
            "[\")\",".repeat(40),
            "[')',".repeat(40),
        ];
        for text in hidden {
            assert!(Nesting::of(&text).brackets >= 40, "{text}");
        }
    }

    #[test]
    fn what_stands_in_a_plain_string_does_not_count() {
        let found =
            Nesting::of(r#"token.sub.matches("^((a|b)[cd]?)\\d$") && (path.id in ['?', "(("] ? !true : - -1 < 2)"#);
        assert_eq!(
            found,
            Nesting {
                brackets: 2,
                conditionals: 1,
                prefixes: 2
            }
        );
    }
}
