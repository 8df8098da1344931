//! x
pub mod pb;
pub mod reply;
pub mod view;
mod wire;

#[cfg(test)]
mod wire_tests;
