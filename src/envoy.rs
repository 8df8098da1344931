//! Envoy's side of the gate: a CheckRequest comes in, an explicit decision goes out.
//!
//! What Envoy (1.40, measured) does with each reply, and what follows for us:
//!
//! | reply | what Envoy does | so we |
//! |---|---|---|
//! | an empty CheckResponse | **allows** | have no way to write one |
//! | `status.code` 0 with a denied response | **allows** | write a code that is not 0 with every denial |
//! | a denied response without its status | 403, or allows with code 0 | write the status with every denial |
//! | `status.code` not 0 and a denied response | answers as the denied response says | deny in no other way |
//! | `status.code` 0 and an ok response | lets pass, changes headers | allow only from a `Permit` |
//! | bytes that do not parse, an RPC error, no answer in time | its error path: `failure_mode_allow` **opens** it | answer every fault with a denial, in time |
//! | `error_response` | the error path as well | never write it |
//!
//! How a check flows:
//!
//! 1. [`server`] tells Check from the services beside it ([`generated`]) and from what does not exist.
//! 2. [`grpc`] takes the message out of its frame, uncopied.
//! 3. [`service`] guards: time, number, panics, and one recorded event whatever happens.
//! 4. [`view`] reads the facts where they lie.
//! 5. The gate decides ([`service::Checks`]).
//! 6. [`reply`] writes the answer, the only builder of answers.
//!
//! [`pb`] has the same messages as generated types, for clients and tests. The RPC errors that are left (a message over
//! 4 MiB, a compressed one, a method that does not exist) are Envoy's configuration, never its clients' doing: keep
//! `with_request_body.max_request_bytes` below 4 MiB.

mod connection;
pub mod decision_id;
pub mod generated;
pub mod grpc;
pub mod pb;
pub mod reply;
pub mod server;
pub mod service;
mod turns;
pub mod view;
mod wire;

#[cfg(test)]
mod wire_tests;
