//! How the connections of one worker share its thread when there is more to answer than time.
//!
//! A connection that always went on until it had answered everything would let the others' calls lie unread in their
//! sockets, where their time does not run. So each answers for a turn, and the more of them have something left, the
//! shorter the turns: a round over four to eighty of them takes about [`ROUND`]; over more, [`TURN_MIN`] for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a round over all connections that are behind takes: short beside the time that a check may take, so that what
/// is denied for want of time is denied before its caller gives up.
const ROUND: Duration = Duration::from_millis(8);

/// The longest turn: with few connections, none waits for long either.
const TURN_MAX: Duration = Duration::from_millis(2);

/// The shortest: long beside the system calls that a turn costs.
const TURN_MIN: Duration = Duration::from_micros(100);

/// The turns of one worker's connections.
#[derive(Debug, Default)]
pub(super) struct Turns {
    behind: AtomicUsize,
}

impl Turns {
    /// How long a connection may answer before the others have their turn.
    pub(super) fn turn(&self) -> Duration {
        let behind = u32::try_from(self.behind.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        (ROUND / behind.max(1)).clamp(TURN_MIN, TURN_MAX)
    }
}

/// Held by a connection for as long as it has more to answer than its turn was long enough for.
#[derive(Debug)]
pub(super) struct Behind(Arc<Turns>);

impl Behind {
    pub(super) fn new(turns: &Arc<Turns>) -> Self {
        turns.behind.fetch_add(1, Ordering::Relaxed);
        Self(turns.clone())
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.behind.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_as_long_with_sixty_four_connections_as_with_four() {
        let turns = Arc::new(Turns::default());
        assert_eq!(turns.turn(), TURN_MAX, "nobody waits");
        for count in [4_usize, 8, 64] {
            let behind: Vec<_> = (0..count).map(|_| Behind::new(&turns)).collect();
            assert_eq!(turns.turn() * u32::try_from(behind.len()).expect("few"), ROUND);
        }
        let behind: Vec<_> = (0..100_000).map(|_| Behind::new(&turns)).collect();
        assert_eq!(
            turns.turn(),
            TURN_MIN,
            "a turn is never too short to be worth its system calls"
        );
        drop(behind);
        assert_eq!(turns.turn(), TURN_MAX, "who has caught up counts no more");
    }
}
