//! Sockets: listeners, TLS, limits, outbound fetching.

pub mod settings;
