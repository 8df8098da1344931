//! What the `OTEL_*` variables and the file say about traces, made one.
//!
//! The variables win over the file. They are read here from what the caller hands in, so that a test
//! can set them; three are left to the exporter, which reads them from the process itself:
//! `OTEL_EXPORTER_OTLP_HEADERS` (it may hold a key, which is better not copied about),
//! `OTEL_EXPORTER_OTLP_TIMEOUT` and `OTEL_EXPORTER_OTLP_COMPRESSION`, each also with `TRACES_` inside.
//!
//! A variable that cannot be used is ignored with a warning, as the OpenTelemetry specification asks;
//! a wrong endpoint is an error, since it would silently lose every span.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use percent_encoding::percent_decode_str;

use crate::telemetry::settings::OtlpSettings;
use crate::telemetry::share::Share;
use crate::telemetry::text;
use crate::telemetry::{Env, TelemetryError};

/// Where a collector listens if only the exporter is named (OTLP specification).
const ENDPOINT_DEFAULT: &str = "http://localhost:4317";

/// How spans are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::telemetry) struct Sampler {
    /// Whether the parent's choice is taken over.
    pub(super) parent_based: bool,
    /// The part of traces that is taken where no parent decides.
    root: Share,
}

impl Sampler {
    /// Whether it takes no trace at all of its own.
    pub(super) fn takes_nothing(self) -> bool {
        self.root == Share::None
    }

    /// Whether it takes this trace. The low 8 bytes of an id are the random ones.
    pub(super) fn takes(self, trace_id: TraceId) -> bool {
        // All samplers by ratio leave out the top bit, so that their choices nest.
        let low = u128::from_be_bytes(trace_id.to_bytes()) & u128::from(u64::MAX >> 1);
        u64::try_from(low).is_ok_and(|low| self.root.takes(low << 1))
    }
}

/// How spans wait and travel (`OTEL_BSP_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::telemetry) struct QueueSettings {
    /// How many spans wait at most; more are dropped.
    pub(super) spans_max: usize,
    /// How many go into one request at most.
    pub(super) batch_max: usize,
    /// How long a span waits for company.
    pub(super) delay: Duration,
}

/// Everything that traces need.
#[derive(Debug, Clone)]
pub(in crate::telemetry) struct TraceSettings {
    /// The collector.
    pub(super) endpoint: String,
    /// How spans are chosen.
    pub(super) sampler: Sampler,
    /// How they wait and travel.
    pub(super) queue: QueueSettings,
    /// Who we are.
    pub(super) resource: Resource,
}

impl TraceSettings {
    /// Makes one of the variables and the file; `None` if no traces are wanted.
    ///
    /// # Errors
    /// [`TelemetryError`] if the endpoint or the file's ratio cannot be used.
    pub(in crate::telemetry) fn resolve(
        file: Option<&OtlpSettings>,
        env: Env<'_>,
    ) -> Result<Option<Self>, TelemetryError> {
        // An empty variable counts as unset (OpenTelemetry specification).
        let set = |name: &str| {
            env(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let exporter = set("OTEL_TRACES_EXPORTER");
        let otlp_by_name = match exporter.as_deref() {
            None => false,
            Some("none") => return Ok(None),
            Some("otlp") => true,
            Some(other) => {
                ignored("OTEL_TRACES_EXPORTER", other, "`otlp` or `none`");
                false
            }
        };
        let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"))
            .or_else(|| file.map(|file| file.endpoint.clone()))
            .or_else(|| otlp_by_name.then(|| ENDPOINT_DEFAULT.to_owned()));
        let Some(endpoint) = endpoint else {
            return Ok(None);
        };
        check_endpoint(&endpoint)?;
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            if let Some(protocol) = set(name).filter(|protocol| protocol != "grpc") {
                ignored(name, &protocol, "`grpc`");
            }
        }
        Ok(Some(Self {
            endpoint,
            sampler: sampler(file, &set)?,
            queue: queue(&set),
            resource: resource(&set),
        }))
    }
}

/// Says that a variable is not heeded. Its value is shown: none of those that come here holds a secret.
fn ignored(name: &str, value: &str, wanted: &str) {
    tracing::warn!(
        variable = name,
        "`{name}` says `{value}`, which is ignored: it can be {wanted}"
    );
}

fn check_endpoint(endpoint: &str) -> Result<(), TelemetryError> {
    let refused = |problem| TelemetryError::Endpoint {
        // SECURITY: the endpoint is shown in logs and errors: not what stands before an `@` in it,
        // be it a user's password or a broken URL's.
        endpoint: text::host_alone(endpoint).to_owned(),
        problem,
    };
    let url = url::Url::parse(endpoint).map_err(|_| refused("is no URL: say for example `http://127.0.0.1:4317`"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(
            "is given with a user or password: put these into `OTEL_EXPORTER_OTLP_HEADERS`",
        ));
    }
    match url.scheme() {
        "http" => Ok(()),
        "https" => Err(refused(
            "asks for TLS, which the exporter does not speak: send to a collector beside Scopegate by `http://`",
        )),
        _ => Err(refused("is no `http://` URL: say for example `http://127.0.0.1:4317`")),
    }
}

fn sampler(file: Option<&OtlpSettings>, set: &impl Fn(&str) -> Option<String>) -> Result<Sampler, TelemetryError> {
    let ratio = file.map_or(1.0, |file| file.sample);
    let from_file = Sampler {
        parent_based: true,
        root: Share::from_ratio(ratio).ok_or(TelemetryError::Ratio {
            field: "otlp.sample",
            ratio,
        })?,
    };
    let Some(name) = set("OTEL_TRACES_SAMPLER") else {
        return Ok(from_file);
    };
    let by_argument = || match set("OTEL_TRACES_SAMPLER_ARG") {
        None => Share::All,
        Some(text) => text.parse().ok().and_then(Share::from_ratio).unwrap_or_else(|| {
            ignored("OTEL_TRACES_SAMPLER_ARG", &text, "a ratio from 0 to 1");
            Share::All
        }),
    };
    let (parent_based, root) = match name.as_str() {
        "always_on" => (false, Share::All),
        "always_off" => (false, Share::None),
        "traceidratio" => (false, by_argument()),
        "parentbased_always_on" => (true, Share::All),
        "parentbased_always_off" => (true, Share::None),
        "parentbased_traceidratio" => (true, by_argument()),
        other => {
            ignored(
                "OTEL_TRACES_SAMPLER",
                other,
                "`always_on`, `always_off` or `traceidratio`, each also with `parentbased_` before it",
            );
            return Ok(from_file);
        }
    };
    Ok(Sampler { parent_based, root })
}

fn queue(set: &impl Fn(&str) -> Option<String>) -> QueueSettings {
    let number = |name: &str, default: usize| match set(name) {
        None => default,
        Some(text) => text.parse().ok().filter(|number| *number > 0).unwrap_or_else(|| {
            ignored(name, &text, "a whole number above 0");
            default
        }),
    };
    let spans_max = number("OTEL_BSP_MAX_QUEUE_SIZE", 2048);
    QueueSettings {
        spans_max,
        batch_max: number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512).min(spans_max),
        delay: Duration::from_millis(number("OTEL_BSP_SCHEDULE_DELAY", 5000) as u64),
    }
}

fn resource(set: &impl Fn(&str) -> Option<String>) -> Resource {
    let mut attributes = vec![
        KeyValue::new("service.name", "scopegate"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", crate::entropy::random_text::<16>()),
    ];
    // A later attribute wins over an earlier one of the same name.
    if let Some(pairs) = set("OTEL_RESOURCE_ATTRIBUTES") {
        for pair in pairs.split(',') {
            let decoded = pair.split_once('=').map(|(name, value)| {
                let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
                (name.trim().to_owned(), value)
            });
            match decoded {
                Some((name, value)) if !name.is_empty() => attributes.push(KeyValue::new(name, value)),
                _ => ignored("OTEL_RESOURCE_ATTRIBUTES", pair, "a list like `key=value,key=value`"),
            }
        }
    }
    if let Some(name) = set("OTEL_SERVICE_NAME") {
        attributes.push(KeyValue::new("service.name", name));
    }
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build()
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    fn resolve(file: Option<(&str, f64)>, env: &[(&str, &str)]) -> Result<Option<TraceSettings>, TelemetryError> {
        let file = file.map(|(endpoint, sample)| OtlpSettings {
            endpoint: endpoint.to_owned(),
            sample,
        });
        let env = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        TraceSettings::resolve(file.as_ref(), &env)
    }

    type File = Option<(&'static str, f64)>;
    type Variables = &'static [(&'static str, &'static str)];
    type Expected = Option<(&'static str, bool, Share)>;

    #[test]
    fn the_variables_win_over_the_file() {
        const FILE: Option<(&str, f64)> = Some(("http://file:4317", 0.5));
        let half = Share::from_ratio(0.5).unwrap();
        let rows: &[(&str, File, Variables, Expected)] = &[
            ("nothing said", None, &[], None),
            ("the file alone", FILE, &[], Some(("http://file:4317", true, half))),
            (
                "the general endpoint",
                FILE,
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:1")],
                Some(("http://env:1", true, half)),
            ),
            (
                "the endpoint of traces before the general one",
                FILE,
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:1"),
                    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://env:2"),
                ],
                Some(("http://env:2", true, half)),
            ),
            (
                "an empty variable is none",
                FILE,
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
                Some(("http://file:4317", true, half)),
            ),
            (
                "the variable alone samples everything",
                None,
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:1")],
                Some(("http://env:1", true, Share::All)),
            ),
            (
                "the exporter alone",
                None,
                &[("OTEL_TRACES_EXPORTER", "otlp")],
                Some((ENDPOINT_DEFAULT, true, Share::All)),
            ),
            ("exporter none", FILE, &[("OTEL_TRACES_EXPORTER", "none")], None),
            ("disabled", FILE, &[("OTEL_SDK_DISABLED", "TRUE")], None),
            (
                "not disabled",
                FILE,
                &[("OTEL_SDK_DISABLED", "1")],
                Some(("http://file:4317", true, half)),
            ),
            (
                "always on",
                FILE,
                &[("OTEL_TRACES_SAMPLER", "always_on")],
                Some(("http://file:4317", false, Share::All)),
            ),
            (
                "a ratio whatever the parent says",
                FILE,
                &[
                    ("OTEL_TRACES_SAMPLER", "traceidratio"),
                    ("OTEL_TRACES_SAMPLER_ARG", "0"),
                ],
                Some(("http://file:4317", false, Share::None)),
            ),
            (
                "a parent-based ratio",
                FILE,
                &[
                    ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                    ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
                ],
                Some(("http://file:4317", true, half)),
            ),
            (
                "an argument that is none",
                FILE,
                &[
                    ("OTEL_TRACES_SAMPLER", "traceidratio"),
                    ("OTEL_TRACES_SAMPLER_ARG", "half"),
                ],
                Some(("http://file:4317", false, Share::All)),
            ),
            (
                "an unknown sampler",
                FILE,
                &[("OTEL_TRACES_SAMPLER", "jaeger_remote")],
                Some(("http://file:4317", true, half)),
            ),
        ];
        for (name, file, env, expected) in rows {
            let got = resolve(*file, env).unwrap();
            let got = got
                .as_ref()
                .map(|got| (got.endpoint.as_str(), got.sampler.parent_based, got.sampler.root));
            assert_eq!(got, *expected, "{name}");
        }
    }

    #[test]
    fn refuses_endpoints_that_would_lose_every_span() {
        for (endpoint, shown) in [
            ("collector:4317", "`collector:4317`"),
            ("not a url", "`not a url`"),
            ("https://collector:4317", "TLS"),
            ("http://ada:canary@collector:4317", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("http//ada:canary@collector:4317", "`collector:4317`"),
            ("https://ada:canary@collector:4317", "`collector:4317`"),
            ("http://canary@collector:4317", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("http://:canary@collector:4317", "OTEL_EXPORTER_OTLP_HEADERS"),
        ] {
            let error = resolve(Some((endpoint, 1.0)), &[]).unwrap_err().to_string();
            assert!(error.contains(shown), "{error}");
            assert!(!error.contains("canary"), "attack E18: {error}");
        }
        assert!(
            resolve(Some(("http://c:1", 2.0)), &[])
                .unwrap_err()
                .to_string()
                .contains("`2`")
        );
    }

    #[test]
    fn the_resource_says_who_we_are() {
        let of = |env: &[(&str, &str)], name: &'static str| {
            let settings = resolve(Some(("http://c:1", 1.0)), env).unwrap().expect("traces are on");
            settings.resource.get(&Key::new(name)).map(|value| value.to_string())
        };
        assert_eq!(of(&[], "service.name").as_deref(), Some("scopegate"));
        assert_eq!(of(&[], "telemetry.sdk.language").as_deref(), Some("rust"));
        let env = [(
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=a%20b, deployment.environment.name=prod,junk",
        )];
        assert_eq!(of(&env, "service.name").as_deref(), Some("a b"));
        assert_eq!(of(&env, "deployment.environment.name").as_deref(), Some("prod"));
        let env = [env[0], ("OTEL_SERVICE_NAME", "gate")];
        assert_eq!(of(&env, "service.name").as_deref(), Some("gate"));
    }

    #[test]
    fn the_queue_is_bounded_whatever_the_variables_say() {
        let queue = |env: &[(&str, &str)]| {
            resolve(Some(("http://c:1", 1.0)), env)
                .unwrap()
                .expect("traces are on")
                .queue
        };
        assert_eq!((queue(&[]).spans_max, queue(&[]).batch_max), (2048, 512));
        let small = queue(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_BSP_SCHEDULE_DELAY", "0")]);
        assert_eq!(
            (small.spans_max, small.batch_max, small.delay),
            (100, 100, Duration::from_secs(5))
        );
    }
}
