//! Many at once: one winner, and nobody hurt.
