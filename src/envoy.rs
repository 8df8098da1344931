//! x
pub mod pb;
