//! The issuer: authenticates clients, decides grants, mints and revokes tokens.

pub mod settings;
