//! `telemetry`: the file's wishes with the `OTEL_*` variables laid over them.

use super::context::Context;
use super::decode::shown;
use super::file::TelemetryFile;
use crate::model::finding::Finding;
use crate::model::location::Location;
use crate::telemetry::settings::{DecisionLogSettings, DecisionLogTarget, OtlpSettings, TelemetrySettings};

/// The part of checks that is traced if nobody says another.
const SAMPLE: f64 = 0.1;

impl Context<'_> {
    /// What `telemetry` needs to know.
    pub(crate) fn telemetry(&mut self, file: Option<&TelemetryFile>) -> TelemetrySettings {
        let otlp = file.and_then(|file| file.otlp.as_ref()).map(|otlp| OtlpSettings {
            endpoint: otlp.endpoint.value.url.as_str().trim_end_matches('/').to_owned(),
            sample: otlp.sample.map_or(SAMPLE, |sample| sample.0),
        });
        let log = file.and_then(|file| file.decision_log.as_ref());
        TelemetrySettings {
            otlp: self.otlp_of_environment(otlp),
            decision_log: log.map_or_else(DecisionLogSettings::default, |log| {
                let default = DecisionLogSettings::default();
                DecisionLogSettings {
                    to: match log.to.as_deref() {
                        None | Some("stdout") => DecisionLogTarget::Stdout,
                        Some("none") => DecisionLogTarget::None,
                        Some(path) => DecisionLogTarget::File(path.into()),
                    },
                    allows: log.allows.map_or(default.allows, |part| part.0),
                    denials: log.denials.map_or(default.denials, |part| part.0),
                    mask: log.mask.clone().unwrap_or_default(),
                }
            }),
        }
    }

    /// The variables of the OpenTelemetry specification ("SDK environment variables") win over the file.
    fn otlp_of_environment(&mut self, file: Option<OtlpSettings>) -> Option<OtlpSettings> {
        let variable = |name| self.source.variable(name);
        let off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        if off {
            return None;
        }
        let endpoint =
            variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let sampler = variable("OTEL_TRACES_SAMPLER");
        let argument = variable("OTEL_TRACES_SAMPLER_ARG");
        let mut otlp = match (file, endpoint) {
            (Some(file), Some(endpoint)) => OtlpSettings { endpoint, ..file },
            (None, Some(endpoint)) => OtlpSettings {
                endpoint,
                sample: SAMPLE,
            },
            (file, None) => file?,
        };
        match sampler.as_deref() {
            Some("always_on" | "parentbased_always_on") => otlp.sample = 1.0,
            Some("always_off" | "parentbased_always_off") => otlp.sample = 0.0,
            Some("traceidratio" | "parentbased_traceidratio") => {
                let ratio = argument.as_deref().map_or(Ok(1.0), str::parse::<f64>);
                match ratio.ok().filter(|ratio| (0.0..=1.0).contains(ratio)) {
                    Some(ratio) => otlp.sample = ratio,
                    None => self.ignored(
                        "OTEL_TRACES_SAMPLER_ARG",
                        &argument.unwrap_or_default(),
                        "a number from 0 to 1",
                    ),
                }
            }
            Some(other) => self.ignored("OTEL_TRACES_SAMPLER", other, "for example `parentbased_traceidratio`"),
            None => {}
        }
        Some(otlp)
    }

    /// The specification wants a wrong value to be ignored with a warning, not refused.
    fn ignored(&mut self, name: &str, value: &str, right: &str) {
        let message = format!(
            "the environment's `{name}` is ignored: `{}` is no value of it",
            shown(value)
        );
        let finding = Finding::warning("environment_ignored", Location::default(), message);
        self.problems.push(finding.hint(format!("it is {right}")));
    }
}
