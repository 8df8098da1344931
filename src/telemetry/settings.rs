//! What `telemetry` needs to know.

use std::path::PathBuf;

/// What is seen, and where it goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TelemetrySettings {
    /// Traces by OTLP over gRPC; none if not said and `OTEL_EXPORTER_OTLP_ENDPOINT` is unset.
    pub otlp: Option<OtlpSettings>,
    /// The decision log.
    pub decision_log: DecisionLogSettings,
}

/// Where traces go. The `OTEL_*` variables win over these.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpSettings {
    /// The collector's endpoint, for example `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// The part of checks without a sampled or unsampled parent that is traced, from 0 to 1.
    pub sample: f64,
}

/// Which decisions are logged, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionLogSettings {
    /// Where to.
    pub to: DecisionLogTarget,
    /// The part of allows that is logged, from 0 to 1.
    pub allows: f64,
    /// The part of denials that is logged, from 0 to 1.
    pub denials: f64,
    /// Fields whose values are replaced by a keyed digest.
    pub mask: Vec<MaskedField>,
}

impl Default for DecisionLogSettings {
    fn default() -> Self {
        Self {
            to: DecisionLogTarget::None,
            allows: 0.0,
            denials: 1.0,
            mask: Vec::new(),
        }
    }
}

/// Where decisions are logged to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecisionLogTarget {
    /// Nowhere.
    None,
    /// Standard output, a JSON object a line.
    Stdout,
    /// This file, likewise.
    File(PathBuf),
}

/// A field of the decision log that can be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskedField {
    /// The token's subject.
    Subject,
    /// The token's client.
    ClientId,
    /// The request's path.
    Path,
}
