use std::sync::mpsc;

use serde_json::Value;

use super::*;
use crate::model::reason::Reason;
use crate::telemetry::testing::{Captured, event};

const SOON: Duration = Duration::from_secs(30);

fn everything() -> DecisionLogSettings {
    DecisionLogSettings {
        to: DecisionLogTarget::Stdout,
        allows: 1.0,
        denials: 1.0,
        mask: Vec::new(),
    }
}

fn logged(settings: &DecisionLogSettings, events: &[CheckEvent<'_>]) -> String {
    let captured = Captured::default();
    let sink = captured.clone();
    let log =
        DecisionLog::start_with(settings, Drops::default(), Box::new(move || Ok(Box::new(sink.clone())))).unwrap();
    for event in events {
        if log.wants(event) {
            log.write(event, None);
        }
    }
    assert!(log.shutdown(SOON));
    captured.text()
}

fn one(settings: &DecisionLogSettings, event: &CheckEvent<'_>) -> Value {
    let text = logged(settings, std::slice::from_ref(event));
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn writes_what_was_decided() {
    let line = one(&everything(), &event());
    assert_eq!(line["time"], "2026-09-10T00:26:40.123Z");
    assert_eq!(line["outcome"], "allow");
    assert_eq!(line.get("reason"), None);
    assert_eq!(line["latency_us"], 42);
    assert_eq!(line["path"], "/transfers/7");
    assert_eq!(line["cache"], "hit");
    let denial = CheckEvent {
        outcome: Outcome::Deny(Reason::InsufficientScope),
        ..event()
    };
    let line = one(&everything(), &denial);
    assert_eq!(
        (&line["outcome"], &line["reason"]),
        (&"deny".into(), &"insufficient_scope".into())
    );
}

#[test]
fn edge_m06_an_upgrade_is_called_long_lived() {
    assert_eq!(one(&everything(), &event())["connection"], "long-lived");
    let short = CheckEvent {
        long_lived: false,
        ..event()
    };
    assert_eq!(one(&everything(), &short).get("connection"), None);
}

#[test]
fn attack_e17_whatever_a_peer_sends_stays_on_one_line() {
    let evil = "/a\n{\"outcome\":\"allow\"}\r\u{1b}[2J\u{9b}31m\u{2028}\u{202e}\"\\";
    let event = CheckEvent {
        method: evil,
        host: evil,
        path: evil,
        request_id: evil,
        subject: Some(evil),
        client_id: Some(evil),
        outcome: Outcome::Deny(Reason::NoRoute),
        ..event()
    };
    let text = logged(&everything(), std::slice::from_ref(&event));
    assert_eq!(text.matches('\n').count(), 1);
    assert!(!text.trim_end_matches('\n').contains(text::is_unprintable), "{text:?}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["outcome"], "deny");
    assert_eq!(line["request_id"], evil);
}

#[test]
fn attack_e18_edge_o06_no_credential_comes_out_of_any_field() {
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJjYW5hcnkiOjF9.Y2FuYXJ5LWNhbmFyeQ";
    let within = format!("/x/{token}/y?access_token=canary#canary");
    let host = format!("ada:canary@{token}.example");
    let event = CheckEvent {
        method: token,
        host: &host,
        path: &within,
        request_id: token,
        subject: Some(token),
        client_id: Some(token),
        traceparent: Some("canary"),
        tracestate: Some("canary=canary"),
        ..event()
    };
    let text = logged(&everything(), std::slice::from_ref(&event));
    for part in token.split('.').chain(["canary", "access_token", "?"]) {
        assert!(!text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("/x/[token]/y"));
}

#[test]
fn fields_of_peers_are_capped() {
    let long = "\u{1}".repeat(100_000);
    let event = CheckEvent {
        decision_id: &long,
        method: &long,
        host: &long,
        path: &long,
        request_id: &long,
        subject: Some(&long),
        client_id: Some(&long),
        ..event()
    };
    let text = logged(&everything(), std::slice::from_ref(&event));
    assert!(text.len() < 16 << 10, "{}", text.len());
}

#[test]
fn samples_allows_and_denials_apart_and_by_decision_id() {
    let ids: Vec<String> = (0..100_000).map(|n| format!("decision-{n}")).collect();
    let settings = DecisionLogSettings {
        allows: 0.01,
        denials: 0.0,
        ..everything()
    };
    let of = |outcome| {
        ids.iter()
            .map(move |id| CheckEvent {
                decision_id: id,
                outcome,
                ..event()
            })
            .collect::<Vec<_>>()
    };
    let first = logged(&settings, &of(Outcome::Allow));
    let lines = first.lines().count();
    assert!((850..=1150).contains(&lines), "{lines}");
    assert_eq!(logged(&settings, &of(Outcome::Allow)), first);
    assert_eq!(logged(&settings, &of(Outcome::Deny(Reason::NoRoute))), "");
}

#[test]
fn masked_fields_are_keyed_digests_that_stay_equal_for_equal_values() {
    let settings = DecisionLogSettings {
        mask: vec![MaskedField::Subject, MaskedField::ClientId, MaskedField::Path],
        ..everything()
    };
    let text = logged(&settings, &[event(), event()]);
    for plain in ["ada@bank.example", "mobile", "/transfers/7"] {
        assert!(!text.contains(plain), "{text}");
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for field in ["subject", "client_id", "path"] {
        assert!(lines[0][field].as_str().unwrap().starts_with("hmac:"));
        assert_eq!(lines[0][field], lines[1][field]);
    }
    assert_ne!(lines[0]["subject"], lines[0]["client_id"]);
    // Another process has another key.
    assert_ne!(one(&settings, &event())["subject"], lines[0]["subject"]);
}

/// A target that takes nothing until it is told to.
struct Stuck {
    begun: mpsc::Sender<()>,
    go: Arc<Mutex<mpsc::Receiver<()>>>,
    inner: Captured,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        // An error means that the test let go for good.
        let _ = self.go.lock().recv();
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn edge_o09_a_stuck_target_costs_lines_and_never_a_check() {
    let (begun, begins) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    let go = Arc::new(Mutex::new(go));
    let captured = Captured::default();
    let inner = captured.clone();
    let drops = Drops::default();
    let open: Open = Box::new(move || {
        Ok(Box::new(Stuck {
            begun: begun.clone(),
            go: Arc::clone(&go),
            inner: inner.clone(),
        }))
    });
    let log = DecisionLog::start_with(&everything(), drops.clone(), open).unwrap();
    log.write(&event(), None);
    begins.recv().unwrap();
    // The writer hangs in its first write from here on. If logging waited for it, this loop would
    // never end.
    let checks = 100_000_u64;
    let mut written = 1;
    for _ in 0..checks {
        if log.wants(&event()) {
            log.write(&event(), None);
            written += 1;
        }
    }
    assert_eq!(written - 1 + drops.full.get(), checks);
    assert!(drops.full.get() > 0, "the buffer is bounded");
    assert!(log.shared.state.lock().waiting.len() < BUFFER_BYTES_MAX + (16 << 10));
    drop(let_go);
    assert!(log.shutdown(SOON));
    assert_eq!(
        captured.text().lines().count() as u64,
        written,
        "what was taken is written whole"
    );
}

#[test]
fn a_shutdown_does_not_wait_for_a_stuck_target_beyond_its_deadline() {
    let (begun, begins) = mpsc::channel();
    let (let_go, go) = mpsc::channel::<()>();
    let go = Arc::new(Mutex::new(go));
    let open: Open = Box::new(move || {
        Ok(Box::new(Stuck {
            begun: begun.clone(),
            go: Arc::clone(&go),
            inner: Captured::default(),
        }))
    });
    let drops = Drops::default();
    let log = DecisionLog::start_with(&everything(), drops.clone(), open).unwrap();
    log.write(&event(), None);
    begins.recv().unwrap();
    assert!(!log.shutdown(Duration::from_millis(1)));
    log.write(&event(), None);
    assert_eq!(drops.full.get(), 1, "after the end lines are dropped and counted");
    drop(let_go);
}

/// A target that fails as long as it is told to.
struct Failing {
    fail: Arc<Mutex<bool>>,
    report: mpsc::Sender<()>,
    inner: Captured,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = if *self.fail.lock() {
            // The disk takes the begin of a line and no more.
            self.inner.write_all(&bytes[..10])?;
            Err(io::Error::other("disk full"))
        } else {
            self.inner.write(bytes)
        };
        let _ = self.report.send(());
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn edge_o09_a_failing_target_is_counted_and_used_again_when_it_works() {
    let fail = Arc::new(Mutex::new(true));
    let (report, tries) = mpsc::channel();
    let captured = Captured::default();
    let (inner, failing) = (captured.clone(), Arc::clone(&fail));
    let open: Open = Box::new(move || {
        Ok(Box::new(Failing {
            fail: Arc::clone(&failing),
            report: report.clone(),
            inner: inner.clone(),
        }))
    });
    let drops = Drops::default();
    let log = DecisionLog::start_with(&everything(), drops.clone(), open).unwrap();
    log.write(&event(), None);
    tries.recv().unwrap();
    *fail.lock() = false;
    log.write(&event(), None);
    assert!(log.shutdown(SOON));
    assert_eq!(drops.write_failed.get(), 1);
    let text = captured.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "the torn line spoils no other: {text}");
    serde_json::from_str::<Value>(lines[1]).unwrap();
}

#[test]
fn a_file_is_appended_to_is_ours_alone_and_can_be_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("decisions.log");
    std::fs::write(&path, "before\n").unwrap();
    let settings = DecisionLogSettings {
        to: DecisionLogTarget::File(path.clone()),
        ..everything()
    };
    let log = DecisionLog::start(&settings, Drops::default()).unwrap().expect("a log");
    let moved = folder.path().join("decisions.log.1");
    std::fs::rename(&path, &moved).unwrap();
    log.reopen();
    log.write(&event(), None);
    assert!(log.shutdown(SOON));
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "before\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_file_that_cannot_be_opened_and_a_ratio_that_is_none_are_named() {
    let settings = DecisionLogSettings {
        to: DecisionLogTarget::File("/nowhere/at/all.log".into()),
        ..everything()
    };
    let error = DecisionLog::start(&settings, Drops::default()).unwrap_err().to_string();
    assert!(error.contains("`/nowhere/at/all.log`"), "{error}");
    let settings = DecisionLogSettings {
        allows: 1.5,
        ..everything()
    };
    let error = DecisionLog::start(&settings, Drops::default()).unwrap_err().to_string();
    assert!(
        error.contains("`1.5`") && error.contains("decision_log.allows"),
        "{error}"
    );
}
