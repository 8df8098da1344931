//! Which people a rule is for.

use std::collections::BTreeSet;

use crate::oauth::access::Rule;

impl Rule {
    /// Whether the rule is for anybody: it names no group and no user.
    #[must_use]
    pub fn is_for_anybody(&self) -> bool {
        self.groups.is_empty() && self.users.is_empty()
    }

    /// Whether the rule is for this user, exclusions aside.
    #[must_use]
    pub fn includes(&self, id: &str, login: &str, groups: &[String]) -> bool {
        let named = self.users.contains(login) || self.users.contains(id);
        self.is_for_anybody() || named || groups.iter().any(|group| self.groups.contains(group))
    }

    /// Whether everybody that `later` is for is surely one that this rule is for.
    #[must_use]
    pub(super) fn people_cover(&self, later: &Self) -> bool {
        let subset = |part: &BTreeSet<String>, whole: &BTreeSet<String>| part.is_subset(whole);
        subset(&self.exclude_groups, &later.exclude_groups)
            && (self.is_for_anybody()
                || (!later.is_for_anybody()
                    && subset(&later.groups, &self.groups)
                    && subset(&later.users, &self.users)))
    }
}
