//! Keys that verify.

/// An immutable set of verification keys.
#[derive(Debug, Default)]
pub struct KeySet;
