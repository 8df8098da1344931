//! Scopegate: the gate and the pass office in one small program.
//!
//! It answers Envoy's and Istio's external-authorization calls (ext_authz v3, gRPC) by scope rules for
//! routes and verbs, and beside the gate, in the same process, an OAuth 2.0 issuer mints the tokens
//! that the gate checks. One truth about keys and revocations serves both, so that a cached verdict
//! dies with the token that it was given for.
//!
//! # Bird's eye
//!
//! ```text
//!              Envoy ─ CheckRequest                        apps, operators ─ HTTPS
//!                       │                                              │
//!   adapters   envoy/   bytes → facts → … → bytes          http/   one endpoint a file
//!                       │                                              │
//!   use cases  authz/   credential → cache → verify        issuer/ authenticate → grant → mint
//!              trust/   keys and introspection of others   store/  what is kept · audit
//!                       └────────  revocation, keys: the one truth that both read  ────────┘
//!                       │                                              │
//!   pure       policy/  facts → route → decide             oauth/  clients, access policies, keyring
//!                       └─────────────────────  jose/  verify, sign  ──────────────────────┘
//!                                          model/  the nouns
//!   around it  config/ · app · cli/ · telemetry/ · net/ · lifecycle
//! ```
//!
//! Data flows one way, and each room knows only the rooms below it; `tests/it/architecture.rs` reads
//! the sources and fails on an import that says otherwise.
//!
//! # Where things are
//!
//! | question | room |
//! |---|---|
//! | what is an identifier, a scope, a reason? | [`model`] |
//! | which signatures are believed? | [`jose`] |
//! | which route is this, and what does it need? | [`policy`] |
//! | how does a check go, from token to verdict? | [`authz`] |
//! | where do the keys of other issuers come from? | [`trust`] |
//! | what is dead? | [`revocation`] |
//! | who may get which token, and why? | [`oauth`], decided by `oauth::access::decide` |
//! | how is a token minted, a key rotated? | [`issuer`] |
//! | what survives a restart? | [`store`] |
//! | what does Envoy send and get? | [`envoy`] |
//! | what does a client of the issuer get? | [`http`] |
//! | what may which administrator do? | [`admin`] |
//! | which keys may the file have? | [`config`], its schema by `scopegate schema` |
//! | who can reach which route? | [`reach`] |
//! | what do operators see? | [`telemetry`] |
//! | where do we listen, with which limits? | [`net`] |
//! | in which order is everything made, and ended? | [`app`], [`lifecycle`] |
//! | who yields when processors are few? | [`threads`] |
//!
//! # Ports and threads
//!
//! | listener | default | serves | runs on |
//! |---|---|---|---|
//! | `ext_authz` | 9191, or a unix socket | Check, health, reflection where the file turns it on | the gate's threads, one runtime each |
//! | `issuer` | 8443, TLS | tokens, keys, metadata, introspection, revocation, registration | the I/O runtime |
//! | `admin` | not opened; 8444, TLS | the management API, and the tokens for it | the I/O runtime |
//! | `telemetry` | 9464 | `/metrics`, `/livez`, `/readyz` | the I/O runtime |
//!
//! Key fetching and introspection run on the I/O runtime too: nothing but checks runs on the gate's
//! threads, so that a thousand wrong passwords a second cost a check nothing. Where processors are few, the
//! others step back ([`threads`]).
//!
//! # Invariants
//!
//! - A [`policy::decision::Denial`] cannot be built without a reason, and every reason has a status;
//!   a [`policy::decision::Permit`] is built in `policy` alone. Whatever happens, a panic included, the
//!   gate answers gRPC OK with an explicit decision ([`envoy`] has the table of why).
//! - The check path never awaits: one snapshot pointer, one cache look-up, one answer. A check that
//!   must wait (a key that is not known yet, an opaque token) leaves that path explicitly.
//! - A snapshot is immutable. A reload swaps it whole or not at all.
//! - Deciding is a pure function; the wire, `explain` and `test` call the same one.
//! - A revocation is effective on the next check after it is acknowledged, whatever is cached.
//! - Secrets are typed so that they cannot be formatted ([`model::secret`]).
//!
//! # One check, step by step
//!
//! 1. [`net`] accepted Envoy's connection and gave it to one of the gate's threads.
//! 2. [`envoy`] reads the CheckRequest in place into [`policy::facts::RequestFacts`].
//! 3. [`policy`] finds host, path and verb: the route, or the denial.
//! 4. [`authz`] reads the Authorization header and finds the token's verdict, by its bytes if it keeps coming, else by its
//!    SHA-256; or it verifies the token.
//! 5. [`revocation`] is asked whether the token is alive, also when its verdict was cached.
//! 6. [`policy`] judges client, scopes, authentication, key binding and condition.
//! 7. [`envoy`] writes the answer, and one event goes to [`telemetry`].

pub mod admin;
pub mod app;
pub mod audit;
pub mod authz;
pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod envoy;
pub mod http;
pub mod issuer;
pub mod jose;
pub mod keys;
pub mod lifecycle;
pub mod model;
pub mod net;
pub mod oauth;
pub mod policy;
pub mod reach;
pub mod revocation;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod threads;
pub mod trust;
