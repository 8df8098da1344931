//! Time as an argument: the one place that reads the machine's clocks.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::model::time::Timestamp;

/// Both clocks, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// See [`Clock::now`].
    pub wall: Timestamp,
    /// See [`Clock::monotonic`].
    pub monotonic: Duration,
}

/// Where the time comes from. Token lifetimes are judged by the wall clock, the age of caches by
/// the monotonic one: a step of the wall clock must not keep a verdict alive (case J25).
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, in whole seconds.
    fn now(&self) -> Timestamp;
    /// The monotonic clock, as the time since some fixed moment of this process.
    fn monotonic(&self) -> Duration;
    /// Both clocks at once.
    fn read(&self) -> Now {
        Now {
            wall: self.now(),
            monotonic: self.monotonic(),
        }
    }
    /// The wall clock with its fraction of a second, for spans and logs; nothing is judged by it.
    fn system_time(&self) -> SystemTime {
        let seconds = u64::try_from(self.now().unix_seconds()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as 1970: every token is then "issued in the future" and denied.
        let seconds = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    fn system_time(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that a test moves by hand; both clocks move apart from each other when it says so.
#[derive(Debug)]
pub struct ManualClock {
    wall_seconds: AtomicI64,
    monotonic_millis: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at this moment.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            wall_seconds: AtomicI64::new(now.unix_seconds()),
            monotonic_millis: AtomicU64::new(0),
        }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        self.wall_seconds
            .fetch_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.monotonic_millis
            .fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Steps the wall clock alone, as an administrator or NTP may.
    pub fn step_wall_clock(&self, by_seconds: i64) {
        self.wall_seconds.fetch_add(by_seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.wall_seconds.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_millis.load(Ordering::SeqCst))
    }
}
