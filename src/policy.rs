//! The gate's rules, pure: request facts and a verified token in, a decision with its trace out.
//!
//! No I/O, no clock, no Envoy: `now` is an argument. The order of a decision:
//!
//! 1. [`facts`]: what the request says, as Envoy saw it.
//! 2. [`path`]: the path, refused if two servers could read it differently.
//! 3. [`route`]: host, then path, then verb; the most specific path wins; no match is a denial.
//! 4. [`caller`]: the token, already verified by `authz`.
//! 5. [`decide`]: client, scopes, `acr` and `max_age`, key binding, `when`.
//! 6. [`decision`]: a permit (only [`decide`] can build one) or a denial (which always has a status).

pub mod caller;
pub mod challenge;
pub mod compile;
pub mod compiled;
pub mod decide;
pub mod decision;
pub mod declared;
mod expression;
pub mod facts;
pub mod forward;
pub mod headers;
pub mod host;
pub mod hygiene;
pub mod path;
pub mod predicate;
pub mod route;
pub mod select;
pub mod template;
pub mod trace;
pub mod trie;

pub use caller::Caller;
pub use compile::compile;
pub use compiled::{Api, CompiledPolicy};
pub use decide::judge;
pub use select::{Selected, TokenNeed};
pub use trace::{Trace, Tracer, Untraced};
