//! Whatever Envoy is told to do with odd paths, what the gate judged is what the upstream receives.

use serde_json::json;

use super::stage::Lab;
use crate::support::envoy::Envoy;
use crate::support::http1::Request;

/// Paths that lead to `/public` (open to all) or `/admin` (for writers) of the API `tolerant`, depending on who reads them.
const PATHS: &[&str] = &[
    "/public",
    "/admin",
    "/public/../admin",
    "/admin/../public",
    "/public/%2e%2e/admin",
    "/public/.%2e/admin",
    "//admin",
    "/public//../admin",
    "/./admin",
    "/public%2f..%2fadmin",
    "/public/..%2fadmin",
    "/public%5c..%5cadmin",
    "/public\\..\\admin",
    "/admin%2f",
    "/admin/",
    "/%61dmin",
    "/public/%252e%252e/admin",
    "/public/..;/admin",
    "/admin;x=1",
    "/public;/../admin",
    "/public/%2e%2e%2fadmin",
    "/admin%00",
    "/admin%23",
    "/public?/../admin",
    "/public%3f/../admin",
];

/// Whether some server could read this target as being below `/admin`: every encoding undone, every separator taken
/// for a slash, every parameter cut off, dots resolved.
fn may_mean_admin(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default().to_ascii_lowercase();
    let mut decoded = path;
    for _ in 0..3 {
        for (code, text) in [
            ("%25", "%"),
            ("%2f", "/"),
            ("%5c", "/"),
            ("%2e", "."),
            ("%61", "a"),
            ("%3b", ";"),
            ("\\", "/"),
        ] {
            decoded = decoded.replace(code, text);
        }
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        let bare = segment.split([';', '%']).next().unwrap_or_default();
        match bare {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    segments.first() == Some(&"admin")
}

async fn what_passes_is_what_was_judged(lab: &Lab, envoy: &Envoy, settings: &str) {
    for path in PATHS {
        for host in ["tolerant.example", "strict.example"] {
            let reply = Request::get(path).host(host).send(envoy.address).await;
            let seen = lab.upstream.take();
            if let [seen] = seen.as_slice() {
                assert!(
                    !may_mean_admin(&seen.target),
                    "{path} at {host} with {settings} reached {}",
                    seen.target
                );
            } else {
                assert!(seen.is_empty());
                let redirect = matches!(reply.status, 301 | 307) && reply.header("location").is_some();
                assert!(
                    redirect || (400..500).contains(&reply.status),
                    "{path} with {settings}: {}",
                    reply.status
                );
            }
        }
    }
}

#[tokio::test]
async fn edge_p06_edge_p25_attack_d08_attack_d09_attack_d10_no_setting_of_envoys_opens_a_path() {
    let lab = Lab::start().await;
    for normalize in [false, true] {
        for merge in [false, true] {
            for slashes in [
                "KEEP_UNCHANGED",
                "REJECT_REQUEST",
                "UNESCAPE_AND_REDIRECT",
                "UNESCAPE_AND_FORWARD",
            ] {
                let settings = json!({
                    "normalize_path": normalize, "merge_slashes": merge, "path_with_escaped_slashes_action": slashes,
                });
                let envoy = lab.another_envoy(|envoy| envoy.manager(&settings)).await;
                what_passes_is_what_was_judged(&lab, &envoy, &settings.to_string()).await;
            }
        }
    }
}

#[test]
fn the_most_suspicious_reader_is_suspicious() {
    for path in [
        "/admin",
        "//admin",
        "/public/..%2fadmin",
        "/public/%252e%252e/admin",
        "/public/..;/admin",
        "/admin;x=1",
        "/%61dmin",
    ] {
        assert!(may_mean_admin(path), "{path}");
    }
    for path in ["/public", "/admin/../public", "/public?/../admin", "/public/admin"] {
        assert!(!may_mean_admin(path), "{path}");
    }
}
