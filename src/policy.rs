//! The gate's rules, pure: request facts and a verified token in, a decision with its trace out.
//!
//! No I/O, no clock, no Envoy: `now` is an argument.
//!
//! ```text
//! declared ── compile ──▶ CompiledPolicy                      (at load: all mistakes at once)
//!                              │
//! facts ──▶ host ─▶ path ─▶ route, hygiene ──▶ Selected ──▶ needs a token? ── authz ──▶ caller
//!           └──────────────  select  ─────────────┘                                      │
//!                              permit or denial ◀── judge: binding, client, scopes, ◀────┘
//!                                                   sign-in, condition, forward
//! ```
//!
//! 1. [`facts`]: what the request says, as Envoy saw it.
//! 2. [`host`], [`path`]: refused if two servers could read them differently.
//! 3. [`route`]: host, then path, then verb; the most specific path wins; no match is a denial.
//! 4. [`hygiene`]: what no request may carry: a token in its query, a second method.
//! 5. [`caller`], [`claims`]: the token, already verified by `authz`, laid out for the rules.
//! 6. [`decide`]: the requirements in a fixed order; the first that fails is the answer.
//! 7. [`forward`]: what the upstream sees; [`challenge`]: what a refused client is told.
//! 8. [`decision`]: a permit (only [`decide`] can build one) or a denial (which always has a status).
//!
//! **Invariant:** what is not written down is closed, and what cannot be evaluated is false. One bad
//! element refuses the whole policy; nothing is skipped.
//!
//! The same functions serve the wire, `explain` and `test`: a [`Tracer`] that keeps steps is the only
//! difference.

pub mod caller;
pub mod challenge;
pub mod claims;
pub mod compile;
pub mod compiled;
pub mod decide;
pub mod decision;
pub mod declared;
mod expression;
pub mod facts;
pub mod forward;
pub mod headers;
pub mod held;
pub mod host;
pub mod hygiene;
pub mod path;
pub mod predicate;
pub mod route;
pub mod select;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
pub mod trace;
pub mod trie;

pub use caller::Caller;
pub use compile::compile;
pub use compiled::{Api, CompiledPolicy};
pub use decide::judge;
pub use select::{Selected, TokenNeed};
pub use trace::{Trace, Tracer, Untraced};
