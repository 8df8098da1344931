//! The gate behind real Envoy.
