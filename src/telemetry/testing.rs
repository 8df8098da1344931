//! What the tests of this room share.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use crate::model::event::{CacheOutcome, CheckEvent, Outcome, RouteIndex};

/// Keeps what is written to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// All that was written.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("what we write is UTF-8")
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// An allowed check of route 0 with everything that an event can say.
pub(super) fn event() -> CheckEvent<'static> {
    CheckEvent {
        decision_id: "0198c0de-0000-7000-8000-000000000001",
        route: Some(RouteIndex(0)),
        api: Some("transfers"),
        route_name: Some("GET /transfers/{id}"),
        outcome: Outcome::Allow,
        detail: Some("the scope is granted"),
        cache: CacheOutcome::Hit,
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_789_000_000_123),
        latency: Duration::from_micros(42),
        method: "GET",
        host: "api.bank.example",
        path: "/transfers/7",
        request_id: "5d3c",
        authorization_server: Some("bank"),
        subject: Some("ada@bank.example"),
        client_id: Some("mobile"),
        long_lived: true,
        traceparent: None,
        tracestate: None,
    }
}

/// A `traceparent` of a caller that samples.
pub(super) const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The same of a caller that does not.
pub(super) const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
