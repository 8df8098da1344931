//! The tree against a naive matcher, written apart from it.

use proptest::prelude::*;

use super::*;

/// A rule as the naive matcher sees it: host, template, verb.
type Naive = (String, String, String);

/// The naive matcher: tries every rule, keeps the paths that match, sorts them.
fn naive(rules: &[Naive], host: &str, path: &str, method: &str) -> Option<Naive> {
    let host_rank = |pattern: &str| -> Option<usize> {
        match pattern.strip_prefix("*.") {
            None => (pattern == host).then_some(usize::MAX),
            Some(suffix) => {
                let rest = host.strip_suffix(suffix)?.strip_suffix('.')?;
                (!rest.is_empty()).then_some(suffix.len())
            }
        }
    };
    let best = rules.iter().filter_map(|rule| host_rank(&rule.0)).max()?;
    let here = rules.iter().filter(|rule| host_rank(&rule.0) == Some(best));
    let mut matching: Vec<(Vec<u8>, &Naive)> = here.filter_map(|rule| Some((rank(&rule.1, path)?, rule))).collect();
    matching.sort_by(|one, other| other.0.cmp(&one.0));
    let top = matching.first()?.0.clone();
    let verbs: Vec<&Naive> = matching
        .iter()
        .filter(|(rank, _)| *rank == top)
        .map(|(_, rule)| *rule)
        .collect();
    let with = |verb: &str| verbs.iter().find(|rule| rule.2 == verb).map(|rule| (*rule).clone());
    with(method)
        .or_else(|| if method == "HEAD" { with("GET") } else { None })
        .or_else(|| match method {
            "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => with("*"),
            _ => None,
        })
}

/// How specific a template is where it matches the path: 3 for a literal, 2 for a capture, 1 for a rest.
fn rank(template: &str, path: &str) -> Option<Vec<u8>> {
    let mut ranks = Vec::new();
    let mut segments = path[1..].split('/');
    for piece in template[1..].split('/') {
        if piece.ends_with("...}") {
            segments.next()?;
            ranks.push(1);
            return Some(ranks);
        }
        let segment = segments.next()?;
        if piece.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            ranks.push(2);
        } else if piece == segment {
            ranks.push(3);
        } else {
            return None;
        }
    }
    segments.next().is_none().then_some(ranks)
}

fn template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![3 => Just("a"), 2 => Just("b"), 3 => Just("{x}")];
    let end = prop_oneof![4 => Just(""), 1 => Just("/"), 1 => Just("/{r...}")];
    (proptest::collection::vec(piece, 0..4), end).prop_map(|(pieces, end)| {
        let mut text = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            text.push('/');
            // Wildcards of one template have different names.
            text.push_str(&piece.replace('x', &format!("x{index}")));
        }
        text.push_str(end);
        if text.is_empty() { "/".to_owned() } else { text }
    })
}

fn rules() -> impl Strategy<Value = Vec<Naive>> {
    let host = prop_oneof![
        3 => Just("h.example"), 1 => Just("*.example"), 1 => Just("*.h.example"), 1 => Just("a.h.example")
    ];
    let verb = prop_oneof![Just("GET"), Just("POST"), Just("*"), Just("HEAD"), Just("FOO")];
    proptest::collection::vec(
        (host.prop_map(str::to_owned), template(), verb.prop_map(str::to_owned)),
        1..24,
    )
    .prop_map(|rules| {
        let mut seen = std::collections::HashSet::new();
        rules.into_iter().filter(|rule| seen.insert(rule.clone())).collect()
    })
}

fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("c")];
    (proptest::collection::vec(piece, 0..5), any::<bool>()).prop_map(|(pieces, slash)| {
        let mut text: String = pieces.iter().flat_map(|piece| ["/", piece]).collect();
        if slash || text.is_empty() {
            text.push('/');
        }
        text
    })
}

/// The rules as APIs: one for each host, so that the order of rules is the order of declaration.
fn policy_of(rules: &[Naive]) -> CompiledPolicy {
    compiled(
        rules
            .iter()
            .enumerate()
            .map(|(index, (host, path, verb))| api(&format!("api{index}"), host, vec![public(path, &[verb])]))
            .collect(),
    )
}

fn found(policy: &CompiledPolicy, host: &str, path: &str, method: &str) -> Option<String> {
    let line = format!("{method} https://{host}{path}");
    match decide(policy, &request(&line, &[]), &Caller::Anonymous) {
        crate::policy::decision::Decision::Allow(permit) => {
            let rule = policy.rules().get(permit.route().index.0 as usize).expect("a rule");
            let host = policy.apis()[rule.api].hosts[0].clone();
            Some(format!("{host} {}", permit.route().name))
        }
        crate::policy::decision::Decision::Deny(_) => None,
    }
}

proptest! {
    #[test]
    fn edge_p24_the_tree_agrees_with_a_naive_matcher_in_any_order_of_rules(
        rules in rules(),
        seed in any::<u64>(),
        host in prop_oneof![Just("h.example"), Just("a.h.example"), Just("b.h.example"), Just("example"), Just("z.example")],
        path in path(),
        method in prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("PUT"), Just("FOO"), Just("get")],
    ) {
        let expected = naive(&rules, host, &path, method).map(|(host, path, verb)| format!("{host} {verb} {path}"));
        prop_assert_eq!(&found(&policy_of(&rules), host, &path, method), &expected);
        let mut shuffled = rules.clone();
        shuffled.sort_by_key(|rule| {
            use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
            BuildHasherDefault::<DefaultHasher>::default().hash_one((seed, rule))
        });
        prop_assert_eq!(&found(&policy_of(&shuffled), host, &path, method), &expected);
    }
}
