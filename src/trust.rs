//! Which issuers we believe, and where their keys come from.

pub mod settings;
