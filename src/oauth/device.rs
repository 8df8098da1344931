//! The device grant as states (RFC 8628): each step takes the state before it.
//!
//! ```text
//! Waiting ──poll──▶ Waiting ──approve──▶ Approved ── the device gets its tokens
//!                      └─────reject────▶ Rejected
//! ```
//!
//! - The device holds the *device code*, which nobody can guess; the person types the *user code*, which is
//!   short: letters without vowels, so that it spells no word, compared without regard to case and dashes
//!   (case 137).
//! - A device that asks before its interval is over is told to slow down, and its interval grows by five
//!   seconds (RFC 8628 section 3.5).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::authorization::{Approval, KeptApproval, Widened};
use crate::oauth::error::DeviceProblem;

/// How long a person has time to answer.
pub const DEVICE_CODE_LIFETIME: Duration = Duration::from_secs(600);

/// How long a device waits between two requests, at first.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// By how much the interval grows when a device asks too often.
const SLOWER: u64 = 5;

/// The letters of user codes: consonants, `Y` apart.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// How many letters a user code has: some 34 bits for ten minutes.
const USER_CODE_LETTERS: usize = 8;

/// A user code of these unguessable bytes, in two groups of four letters; none if too few of them can be used.
#[must_use]
pub fn user_code(random: &[u8]) -> Option<String> {
    // A byte beyond the last multiple of 20 would make some letters likelier than others.
    let fair = random.iter().filter(|byte| **byte < 240);
    let letters: String = fair
        .take(USER_CODE_LETTERS)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect();
    (letters.len() == USER_CODE_LETTERS).then(|| format!("{}-{}", &letters[..4], &letters[4..]))
}

/// A user code as a person types it, in its one spelling; none if it cannot be one.
#[must_use]
pub fn normalise_user_code(typed: &str) -> Option<String> {
    let letters: String = typed
        .chars()
        .take(64)
        .filter(|typed| !matches!(typed, '-' | ' '))
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    let is_code = letters.len() == USER_CODE_LETTERS && letters.bytes().all(|letter| LETTERS.contains(&letter));
    is_code.then_some(letters)
}

/// What a device asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The authorization server.
    pub server: AuthorizationServerId,
    /// The client.
    pub client: ClientId,
    /// The scopes; the defaults if none.
    pub scopes: Option<ScopeSet>,
    /// The resources; none for the server's audience.
    pub resources: Vec<String>,
}

/// A request that nobody has answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    request: DeviceRequest,
    interval: Duration,
    polled_at: Option<Timestamp>,
}

/// Where a device's request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// Nobody has answered.
    Waiting(Waiting),
    /// The person agreed.
    Approved(DeviceRequest, Approval),
    /// The person refused.
    Rejected(DeviceRequest),
}

impl Waiting {
    /// A new request.
    #[must_use]
    pub fn new(request: DeviceRequest) -> Self {
        Self {
            request,
            interval: POLL_INTERVAL,
            polled_at: None,
        }
    }

    /// The device asks: what it is told, and the state after it.
    #[must_use]
    pub fn poll(self, now: Timestamp) -> (Self, DeviceProblem) {
        let too_fast = self.polled_at.is_some_and(|last| now.since(last) < self.interval);
        let (interval, told) = if too_fast {
            let slower = self.interval.saturating_add(Duration::from_secs(SLOWER));
            (slower.min(DEVICE_CODE_LIFETIME), DeviceProblem::TooFast)
        } else {
            (self.interval, DeviceProblem::Pending)
        };
        let next = Self {
            interval,
            polled_at: Some(now),
            ..self
        };
        (next, told)
    }

    /// The person agrees.
    ///
    /// # Errors
    /// [`Widened`] when the approval has scopes that the request has not.
    pub fn approve(self, approval: Approval) -> Result<Device, Widened> {
        let asked = self.request.scopes.as_ref();
        if asked.is_some_and(|asked| !asked.is_superset(&approval.scopes)) {
            return Err(Widened);
        }
        Ok(Device::Approved(self.request, approval))
    }

    /// The person refuses.
    #[must_use]
    pub fn reject(self) -> Device {
        Device::Rejected(self.request)
    }

    /// What the page shows.
    #[must_use]
    pub fn request(&self) -> &DeviceRequest {
        &self.request
    }
}

impl Device {
    /// What the device asked for.
    #[must_use]
    pub fn request(&self) -> &DeviceRequest {
        match self {
            Self::Waiting(waiting) => &waiting.request,
            Self::Approved(request, _) | Self::Rejected(request) => request,
        }
    }

    /// What is kept beside the digest of the device code.
    #[must_use]
    pub fn to_payload(&self) -> Value {
        let request = self.request();
        let (state, interval, polled_at, approval) = match self {
            Self::Waiting(waiting) => (State::Waiting, waiting.interval.as_secs(), waiting.polled_at, None),
            Self::Approved(_, approval) => (State::Approved, 0, None, Some(KeptApproval::of(approval))),
            Self::Rejected(_) => (State::Rejected, 0, None, None),
        };
        let kept = Kept {
            state,
            server: request.server.to_string(),
            client: request.client.to_string(),
            scopes: request.scopes.as_ref().map(ToString::to_string),
            resources: request.resources.clone(),
            interval,
            polled_at: polled_at.map(Timestamp::unix_seconds),
            approval,
        };
        serde_json::to_value(kept).unwrap_or(Value::Null)
    }

    /// Reads what was kept; nothing if it is something else.
    #[must_use]
    pub fn read(payload: &Value) -> Option<Self> {
        let kept = Kept::deserialize(payload).ok()?;
        let scopes = kept.scopes.map(|text| ScopeSet::parse(&text)).transpose().ok()?;
        let request = DeviceRequest {
            server: AuthorizationServerId::parse(&kept.server).ok()?,
            client: ClientId::parse(&kept.client).ok()?,
            scopes,
            resources: kept.resources,
        };
        Some(match (kept.state, kept.approval) {
            (State::Waiting, None) => Self::Waiting(Waiting {
                request,
                interval: Duration::from_secs(kept.interval),
                polled_at: kept.polled_at.map(Timestamp::from_unix_seconds),
            }),
            (State::Approved, Some(approval)) => Self::Approved(request, approval.read()?),
            (State::Rejected, None) => Self::Rejected(request),
            _ => return None,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Waiting,
    Approved,
    Rejected,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    state: State,
    server: String,
    client: String,
    scopes: Option<String>,
    resources: Vec<String>,
    interval: u64,
    polled_at: Option<i64>,
    approval: Option<KeptApproval>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::UserId;

    fn waiting() -> Waiting {
        Waiting::new(DeviceRequest {
            server: AuthorizationServerId::parse("transfers").expect("valid"),
            client: ClientId::parse("tv").expect("valid"),
            scopes: Some(ScopeSet::parse("a b").expect("valid")),
            resources: Vec::new(),
        })
    }

    fn approval(scopes: &str) -> Approval {
        Approval {
            user: UserId::parse("u1").expect("valid"),
            scopes: ScopeSet::parse(scopes).expect("valid"),
            auth_time: Timestamp::from_unix_seconds(1),
            amr: Vec::new(),
            acr: None,
        }
    }

    #[test]
    fn case_136_attack_f27_who_asks_too_often_is_slowed_down_by_five_seconds_each_time() {
        use DeviceProblem::{Pending, TooFast};
        let mut state = waiting();
        for (now, expected) in [
            (100, Pending),
            (105, Pending),
            (109, TooFast),
            (118, TooFast),
            (132, TooFast),
            (152, Pending),
            (171, TooFast),
        ] {
            let (next, told) = state.poll(Timestamp::from_unix_seconds(now));
            assert_eq!(told, expected, "at {now}");
            state = next;
        }
    }

    #[test]
    fn case_137_a_user_code_spells_no_word_and_is_read_however_it_is_typed() {
        let code = user_code(&[0, 255, 1, 250, 2, 19, 20, 239, 240, 3, 4]).expect("enough bytes");
        assert_eq!(code, "BCDZ-BZFG");
        assert!(user_code(&[255; 32]).is_none());
        for typed in ["BCDZ-BZFG", "bcdzbzfg", " bcdz bzfg ", "B-C-D-Z-B-Z-F-G"] {
            assert_eq!(normalise_user_code(typed).as_deref(), Some("BCDZBZFG"), "{typed}");
        }
        for other in ["", "BCDZ-BZF", "BCDZ-BZFGG", "ACDZ-BZFG", "BCDZ_BZFG", "\u{e9}CDZ-BZFG"] {
            assert_eq!(normalise_user_code(other), None, "{other}");
        }
        for vowel in b"AEIOUY" {
            assert!(!LETTERS.contains(vowel));
        }
    }

    #[test]
    fn what_is_kept_reads_back_and_a_person_agrees_to_no_more_than_was_asked() {
        assert_eq!(waiting().approve(approval("c")), Err(Widened));
        let approved = waiting().approve(approval("a")).expect("no more");
        let polled = waiting().poll(Timestamp::from_unix_seconds(7)).0;
        for state in [
            approved.clone(),
            waiting().reject(),
            Device::Waiting(waiting()),
            Device::Waiting(polled),
        ] {
            assert_eq!(Device::read(&state.to_payload()), Some(state));
        }
        let mut odd = approved.to_payload();
        odd["state"] = "waiting".into();
        assert_eq!(Device::read(&odd), None);
    }
}
