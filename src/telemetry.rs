//! What operators see: metrics, traces, the decision log, the log.

pub mod settings;
