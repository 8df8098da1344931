//! What works but is probably not meant.

use crate::model::finding::Finding;
use crate::model::location::Location;
use crate::oauth::access::{ClientSelector, Policy, Rule, ScopeSelector};

/// Words that, at the end of a scope's name, mean "everything".
const ADMINISTRATOR_WORDS: [&str; 9] = [
    "admin",
    "administrator",
    "all",
    "everything",
    "full",
    "full_access",
    "god",
    "root",
    "superuser",
];

/// Whether a scope gives everything to whoever holds it.
pub(super) fn is_generic_administrator(name: &str) -> bool {
    let last = name
        .rsplit([':', '.', '/', '-'])
        .next()
        .unwrap_or(name)
        .to_ascii_lowercase();
    last == "*" || ADMINISTRATOR_WORDS.contains(&last.as_str())
}

/// Whether a scope's name belongs to the management API.
pub(super) fn is_reserved_scope(name: &str) -> bool {
    name == "okta" || name.starts_with("okta.") || name.starts_with("okta:")
}

/// Rules that can never be reached, since one earlier rule matches whatever they match. Two earlier
/// rules that do so only together are not found.
pub(super) fn shadowed_rules(policies: &[Policy], places: &[Vec<Location>]) -> Vec<Finding> {
    let located: Vec<(&Policy, &Rule, Location)> = policies
        .iter()
        .zip(places)
        .flat_map(|(policy, places)| {
            policy
                .rules
                .iter()
                .zip(places)
                .map(move |(rule, place)| (policy, rule, *place))
        })
        .collect();
    let mut findings = Vec::new();
    for (index, (policy, rule, place)) in located.iter().enumerate() {
        let shadow = located[..index].iter().find(|(earlier_policy, earlier, _)| {
            clients_cover(&earlier_policy.clients, &policy.clients) && rule_covers(earlier, rule)
        });
        if let Some((earlier_policy, earlier, _)) = shadow {
            let message = format!(
                "the rule `{}` is never reached: the rule `{}` of the policy `{}` comes before it and matches all that it matches",
                rule.name, earlier.name, earlier_policy.name
            );
            let hint = "the first rule that matches decides: put the narrower rule first";
            findings.push(Finding::warning("shadowed_rule", *place, message).hint(hint));
        }
    }
    findings
}

fn clients_cover(earlier: &ClientSelector, later: &ClientSelector) -> bool {
    match (earlier, later) {
        (ClientSelector::All, _) => true,
        (ClientSelector::Only(_), ClientSelector::All) => false,
        (ClientSelector::Only(earlier), ClientSelector::Only(later)) => later.is_subset(earlier) && !later.is_empty(),
    }
}

fn rule_covers(earlier: &Rule, later: &Rule) -> bool {
    let scopes = match (&earlier.scopes, &later.scopes) {
        (ScopeSelector::Any, _) => true,
        (ScopeSelector::Only(_), ScopeSelector::Any) => false,
        (ScopeSelector::Only(earlier), ScopeSelector::Only(later)) => earlier.is_superset(later),
    };
    // People are looked at only where a grant has a user.
    let people = later.grants.iter().all(|grant| !grant.has_user()) || earlier.people_cover(later);
    // A rule without a valid grant type has its own error, and is not called shadowed beside it.
    scopes && people && !later.grants.is_empty() && later.grants.is_subset(&earlier.grants)
}
