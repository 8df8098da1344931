//! A tree of path segments: finds the most specific template that matches, in one walk.
//!
//! At each segment a literal is tried before `{name}`, and `{name}` before `{name...}`; a branch that
//! leads nowhere is left again. So the leftmost difference between two templates decides, whatever
//! the order in which they were put in. Each node is visited at most once for a request, and never
//! more nodes than the tree has: the walk is bounded by the rules, not by what a client sends.
//!
//! A leaf is a **path**; verbs are its content. A path that is found but lacks the verb is final:
//! the walk does not go on to a looser path (see `route`).

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::policy::template::Segment;

/// Where the wildcards of a match begin: indices of segments, in the order of the template.
pub type Positions = SmallVec<[u16; 6]>;

/// What the operator has named. Clients look names up and put none in, so that a fast hash will do.
pub type Named<V> = HashMap<Box<str>, V, RandomState>;

/// The tree. `L` is what a path holds.
#[derive(Debug)]
pub struct Trie<L> {
    root: Node<L>,
    ignore_case: bool,
    /// Under `ignore_trailing_slash` the last, empty segment is dropped from templates and paths
    /// alike, and `{name...}` may then match no segment at all.
    ignore_trailing_slash: bool,
}

#[derive(Debug)]
struct Node<L> {
    literals: Named<Node<L>>,
    capture: Option<Box<Node<L>>>,
    rest: Option<L>,
    leaf: Option<L>,
}

impl<L> Default for Node<L> {
    fn default() -> Self {
        Self {
            literals: Named::default(),
            capture: None,
            rest: None,
            leaf: None,
        }
    }
}

impl<L: Default> Trie<L> {
    /// An empty tree.
    #[must_use]
    pub fn new(ignore_case: bool, ignore_trailing_slash: bool) -> Self {
        Self {
            root: Node::default(),
            ignore_case,
            ignore_trailing_slash,
        }
    }

    /// What the path of this template holds, made empty if it is new.
    pub fn entry(&mut self, template: &[Segment]) -> &mut L {
        let mut node = &mut self.root;
        for (index, segment) in template.iter().enumerate() {
            node = match segment {
                Segment::Literal(text)
                    if text.is_empty() && self.ignore_trailing_slash && index + 1 == template.len() =>
                {
                    node
                }
                Segment::Literal(text) => {
                    let key = if self.ignore_case {
                        text.to_ascii_lowercase()
                    } else {
                        text.clone()
                    };
                    node.literals.entry(key.into_boxed_str()).or_default()
                }
                Segment::Capture(_) => node.capture.get_or_insert_default(),
                Segment::Rest(_) => return node.rest.get_or_insert_default(),
            };
        }
        node.leaf.get_or_insert_default()
    }

    /// The most specific path that matches, and where its wildcards begin.
    #[must_use]
    pub fn find(&self, segments: &[Cow<'_, str>]) -> Option<(&L, Positions)> {
        let mut positions = Positions::new();
        let leaf = self.walk(&self.root, segments, 0, &mut positions)?;
        Some((leaf, positions))
    }

    fn walk<'t>(
        &'t self,
        node: &'t Node<L>,
        segments: &[Cow<'_, str>],
        at: u16,
        positions: &mut Positions,
    ) -> Option<&'t L> {
        let Some(segment) = segments.get(usize::from(at)) else {
            if let Some(leaf) = &node.leaf {
                return Some(leaf);
            }
            let rest = node.rest.as_ref().filter(|_| self.ignore_trailing_slash)?;
            positions.push(at);
            return Some(rest);
        };
        if let Some(next) = self.literal(node, segment)
            && let Some(leaf) = self.walk(next, segments, at + 1, positions)
        {
            return Some(leaf);
        }
        if let Some(next) = node.capture.as_deref().filter(|_| !segment.is_empty()) {
            positions.push(at);
            if let Some(leaf) = self.walk(next, segments, at + 1, positions) {
                return Some(leaf);
            }
            positions.pop();
        }
        let rest = node.rest.as_ref()?;
        positions.push(at);
        Some(rest)
    }

    fn literal<'t>(&self, node: &'t Node<L>, segment: &str) -> Option<&'t Node<L>> {
        if node.literals.is_empty() {
            return None;
        }
        if self.ignore_case && segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return node.literals.get(segment.to_ascii_lowercase().as_str());
        }
        node.literals.get(segment)
    }
}
