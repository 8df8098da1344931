//! Scopes (RFC 6749 section 3.3): what a token may do.

use std::fmt;
use std::sync::Arc;

/// One scope token: `1*( %x21 / %x23-5B / %x5D-7E )`, compared byte for byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Arc<str>);

/// A text that is no scope token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope is printable ASCII without space, quote or backslash (RFC 6749 section 3.3)")]
pub struct InvalidScope;

impl Scope {
    /// Reads one scope token.
    ///
    /// # Errors
    /// [`InvalidScope`] when the text is empty or holds a character outside the grammar.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(InvalidScope);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The scope's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?})", &*self.0)
    }
}

/// A set of scopes, sorted, without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ScopeSet(Vec<Scope>);

impl ScopeSet {
    /// Reads the space-delimited form. Only SP separates; runs of it count as one (a tab or another
    /// white space is no separator, and no part of a scope either).
    ///
    /// # Errors
    /// [`InvalidScope`] when a part is no scope token.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        text.split(' ')
            .filter(|part| !part.is_empty())
            .map(Scope::parse)
            .collect()
    }

    /// Whether the set holds this scope: exact match, no prefix, no hierarchy.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.binary_search(scope).is_ok()
    }

    /// Whether every scope of `other` is in this set.
    #[must_use]
    pub fn is_superset(&self, other: &Self) -> bool {
        other.0.iter().all(|scope| self.contains(scope))
    }

    /// The scopes of `self` that `held` lacks.
    #[must_use]
    pub fn missing_from(&self, held: &Self) -> Self {
        Self(self.0.iter().filter(|scope| !held.contains(scope)).cloned().collect())
    }

    /// Whether the set is written like this: what its `Display` writes, without writing it.
    #[must_use]
    pub fn is_written_as(&self, text: &str) -> bool {
        let mut scopes = self.0.iter().map(Scope::as_str);
        match text {
            "" => self.0.is_empty(),
            _ => text.split(' ').all(|part| scopes.next() == Some(part)) && scopes.next().is_none(),
        }
    }

    /// The scopes in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.0.iter()
    }

    /// How many scopes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }
}

impl<'a> IntoIterator for &'a ScopeSet {
    type Item = &'a Scope;
    type IntoIter = std::slice::Iter<'a, Scope>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The space-delimited form of RFC 6749 section 3.3.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_a41_scopes_are_exact_tokens_separated_by_space_only() {
        let held = ScopeSet::parse("read:all  b b").expect("valid");
        assert_eq!(held.to_string(), "b read:all");
        assert!(!held.contains(&Scope::parse("read").expect("valid")));
        assert!(held.is_written_as("b read:all") && held.is_written_as(&held.to_string()));
        for other in [
            "",
            " ",
            "b",
            "read:all b",
            "b  read:all",
            " b read:all",
            "b read:all ",
            "b read:all c",
        ] {
            assert!(!held.is_written_as(other), "{other:?}");
        }
        for bad in ["a\tb", "a\u{a0}b", "a\0", "a\"b", "a\\b"] {
            assert_eq!(ScopeSet::parse(bad), Err(InvalidScope), "{bad:?}");
        }
    }

    #[test]
    fn case_j17_scopes_differ_by_case_and_an_empty_text_is_the_empty_set() {
        let held = ScopeSet::parse("orders:read").expect("valid");
        assert!(!held.contains(&Scope::parse("Orders:Read").expect("valid")));
        assert_eq!(ScopeSet::parse(""), Ok(ScopeSet::default()));
        assert!(ScopeSet::default().is_written_as("") && !ScopeSet::default().is_written_as(" "));
    }
}
