//! What is kept across restarts: the one interface, in the issuer's own terms.

pub mod settings;
