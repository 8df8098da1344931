//! Sockets: where we listen, with which limits and which certificates, and how we fetch.
//!
//! - [`listen`] binds TCP and unix sockets and accepts from them, whatever the operating system refuses meanwhile.
//! - [`workers`] hands the connections of the ext_authz listener to the gate's threads.
//! - [`limits`] has every bound on a connection in one place, and serves one connection within them.
//! - [`tls`] has certificates that can be replaced while connections are made; [`dev_ca`] makes those of `dev: true`.
//! - [`asking`] asks clients for certificates that no authority has to vouch for: the issuer judges them.
//!
//! - [`fetch`] is the only outbound HTTP, behind the trait of `trust`.
//!
//! Nothing here knows what is served: the services come as arguments.

pub mod asking;
pub mod dev_ca;
pub mod fetch;
pub mod limits;
pub mod listen;
pub mod settings;
pub mod tls;
pub mod workers;
