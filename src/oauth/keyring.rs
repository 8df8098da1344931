//! The signing keys of one authorization server: NEXT → ACTIVE → EXPIRED → gone.
//!
//! ```text
//!            published             signs               verifies still
//!  ──────▶  NEXT  ───────────▶  ACTIVE  ───────────▶  EXPIRED  ──────────▶ gone
//!           for one JWKS          for                  until the last token
//!           max-age at least      `rotate_every`       that it signed is dead
//! ```
//!
//! [`plan`] says what is due; it is a function of the records and of `now`. Who carries it out
//! repeats each state in the store's `WHERE`, so that two nodes cannot do it twice. [`rotate`] is the
//! same by hand, and [`without_revoked`] takes out what is compromised: a revoked key goes whatever
//! its state, and there is no way back.
//!
//! Why NEXT is published so long before it signs: a verifier may keep the key set for as long as its
//! `Cache-Control` allows, and would refuse the first token of a key that it never saw (case 148).

use std::time::Duration;

use crate::jose::alg::Algorithm;
use crate::model::id::Kid;
use crate::model::time::Timestamp;

/// For how long a verifier may keep a key set, at most. A server that rotates faster says less.
pub const JWKS_MAX_AGE: Duration = Duration::from_secs(300);

/// How long an expired key stays beyond the life of its last token: the leeway of verifiers.
///
/// The gate allows at most 60 s (`trust`'s `leeway`); the two must move together.
pub const LEEWAY_MAX: Duration = Duration::from_secs(60);

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyState {
    /// Published, and not used yet.
    Next,
    /// Signs.
    Active,
    /// Signs no more; its tokens are still good.
    Expired,
}

impl KeyState {
    /// The word for the store, the API and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Next, Self::Active, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// What is known of a key, apart from the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its identifier: the RFC 7638 thumbprint.
    pub kid: Kid,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made, and so published.
    pub created_at: Timestamp,
    /// When it entered the state that it is in.
    pub entered_at: Timestamp,
    /// The longest life of a token that it may have signed. It only ever grows, and is written down
    /// before the first such token is signed.
    pub lifetime_max: Duration,
}

/// How an authorization server rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// What new keys sign with.
    pub algorithm: Algorithm,
    /// How old an ACTIVE key gets; never too old by itself if `None`.
    pub every: Option<Duration>,
}

impl Rotation {
    /// For how long a verifier may keep the key set.
    #[must_use]
    pub fn jwks_max_age(&self) -> Duration {
        self.every.map_or(JWKS_MAX_AGE, |every| every.min(JWKS_MAX_AGE))
    }
}

/// One thing that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a key that enters this state at once.
    Make(KeyState),
    /// NEXT signs from now on.
    Activate(Kid),
    /// ACTIVE signs no more.
    Expire(Kid),
    /// The key is forgotten.
    Remove(Kid, KeyState),
}

/// What is due now. Nothing, most of the time.
///
/// A server has exactly one ACTIVE and one NEXT key after the steps, both of its algorithm.
#[must_use]
pub fn plan(keys: &[KeyRecord], rotation: &Rotation, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    let fits = |key: &&KeyRecord| key.algorithm == rotation.algorithm;
    let of_state = |state| keys.iter().filter(move |key| key.state == state);
    let active = of_state(KeyState::Active).max_by_key(|key| key.entered_at);
    let next = of_state(KeyState::Next).filter(fits).min_by_key(|key| key.created_at);

    for key in of_state(KeyState::Expired) {
        if leaves_at(key, keys, rotation).is_some_and(|end| now >= end) {
            steps.push(Step::Remove(key.kid.clone(), KeyState::Expired));
        }
    }
    // A NEXT key of another algorithm has signed nothing: it goes. One too many goes likewise.
    for key in of_state(KeyState::Next) {
        if next.is_none_or(|kept| kept.kid != key.kid) {
            steps.push(Step::Remove(key.kid.clone(), KeyState::Next));
        }
    }
    for key in of_state(KeyState::Active) {
        if active.is_none_or(|kept| kept.kid != key.kid) {
            steps.push(Step::Expire(key.kid.clone()));
        }
    }

    match active {
        // The operator has changed the algorithm, and the gate believes that one alone: the change is
        // at once, and verifiers fetch the unknown key.
        Some(key) if !fits(&key) => {
            steps.push(Step::Expire(key.kid.clone()));
            steps.extend(take_over(next, None));
        }
        None => steps.extend(take_over(next, None)),
        Some(key) if is_due(key, rotation, now) => {
            let successors = take_over(next, Some((rotation, now)));
            if successors.iter().any(|step| matches!(step, Step::Activate(_))) {
                steps.push(Step::Expire(key.kid.clone()));
            }
            steps.extend(successors);
        }
        Some(_) if next.is_none() => steps.push(Step::Make(KeyState::Next)),
        Some(_) => {}
    }
    steps
}

/// Who signs next. With `since`, only a key that every verifier has had the time to see.
fn take_over(next: Option<&KeyRecord>, seen_by: Option<(&Rotation, Timestamp)>) -> Vec<Step> {
    match (next, seen_by) {
        (Some(next), Some((rotation, now))) if now < seen_from(next, rotation) => Vec::new(),
        (Some(next), _) => vec![Step::Activate(next.kid.clone()), Step::Make(KeyState::Next)],
        (None, Some(_)) => vec![Step::Make(KeyState::Next)],
        (None, None) => vec![Step::Make(KeyState::Active), Step::Make(KeyState::Next)],
    }
}

/// The steps of a rotation by hand (Okta's `keyRotate`): away from the key that was ACTIVE when it was
/// asked for. Nothing if that key is ACTIVE no more: whoever asked at the same time was first.
///
/// NEXT signs at once, even if it was published a moment ago: see [`seen_from`].
#[must_use]
pub fn rotate(keys: &[KeyRecord], from: &Kid, rotation: &Rotation) -> Vec<Step> {
    let fits = |key: &&KeyRecord| key.state == KeyState::Next && key.algorithm == rotation.algorithm;
    let is_active = keys.iter().any(|key| key.state == KeyState::Active && key.kid == *from);
    if !is_active {
        return Vec::new();
    }
    let next = keys.iter().filter(fits).min_by_key(|key| key.created_at);
    let mut steps = vec![Step::Expire(from.clone())];
    steps.extend(take_over(next, None));
    steps
}

/// The keys that are not compromised, and the steps that take the others out.
///
/// The fact that a key is revoked is durable before its row goes. So the row counts for nothing: were
/// it left behind by a crash, or read by a node in between, the key would still never sign again.
#[must_use]
pub fn without_revoked(keys: &[KeyRecord], is_revoked: impl Fn(&Kid) -> bool) -> (Vec<KeyRecord>, Vec<Step>) {
    let (revoked, alive): (Vec<KeyRecord>, Vec<KeyRecord>) = keys.iter().cloned().partition(|key| is_revoked(&key.kid));
    let steps = revoked.into_iter().map(|key| Step::Remove(key.kid, key.state));
    (alive, steps.collect())
}

/// From when on every verifier has had the time to see this key. One that fetches keys only when its
/// copy is too old may refuse the key's tokens before that.
#[must_use]
pub fn seen_from(key: &KeyRecord, rotation: &Rotation) -> Timestamp {
    key.created_at.plus(rotation.jwks_max_age())
}

/// When a key leaves its state by itself: NEXT signs, ACTIVE expires, EXPIRED is forgotten.
#[must_use]
pub fn leaves_at(key: &KeyRecord, keys: &[KeyRecord], rotation: &Rotation) -> Option<Timestamp> {
    if key.state == KeyState::Expired {
        return Some(key.entered_at.plus(key.lifetime_max).plus(LEEWAY_MAX));
    }
    let of_state = |state| keys.iter().find(|key| key.state == state);
    let due = of_state(KeyState::Active)?.entered_at.plus(rotation.every?);
    let seen = of_state(KeyState::Next).map(|next| seen_from(next, rotation));
    Some(seen.map_or(due, |seen| seen.max(due)))
}

fn is_due(active: &KeyRecord, rotation: &Rotation, now: Timestamp) -> bool {
    rotation.every.is_some_and(|every| now >= active.entered_at.plus(every))
}

/// The moment at which [`plan`] may have something to do, if no one else acts.
#[must_use]
pub fn due_at(keys: &[KeyRecord], rotation: &Rotation) -> Option<Timestamp> {
    keys.iter().filter_map(|key| leaves_at(key, keys, rotation)).min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(T0 + seconds)
    }

    fn rotation(every: u64) -> Rotation {
        Rotation {
            algorithm: Algorithm::Es256,
            every: Some(Duration::from_secs(every)),
        }
    }

    /// Carries the steps out as the issuer does.
    fn apply(keys: &mut Vec<KeyRecord>, steps: &[Step], rotation: &Rotation, now: Timestamp, made: &mut u32) {
        for step in steps {
            match step {
                Step::Make(state) => {
                    *made += 1;
                    keys.push(KeyRecord {
                        kid: Kid::parse(&format!("k{made}")).expect("valid"),
                        algorithm: rotation.algorithm,
                        state: *state,
                        created_at: now,
                        entered_at: now,
                        lifetime_max: Duration::from_secs(600),
                    });
                }
                Step::Activate(kid) | Step::Expire(kid) => {
                    let key = keys.iter_mut().find(|key| key.kid == *kid).expect("it exists");
                    let (from, to) = match step {
                        Step::Activate(_) => (KeyState::Next, KeyState::Active),
                        _ => (KeyState::Active, KeyState::Expired),
                    };
                    assert_eq!(key.state, from);
                    key.state = to;
                    key.entered_at = now;
                }
                Step::Remove(kid, state) => {
                    assert!(keys.iter().any(|key| key.kid == *kid && key.state == *state));
                    keys.retain(|key| key.kid != *kid);
                }
            }
        }
    }

    fn advance(keys: &mut Vec<KeyRecord>, rotation: &Rotation, now: Timestamp, made: &mut u32) {
        let steps = plan(keys, rotation, now);
        apply(keys, &steps, rotation, now, made);
    }

    #[test]
    fn a_new_server_gets_one_key_that_signs_and_one_that_will() {
        assert_eq!(
            plan(&[], &rotation(3600), at(0)),
            [Step::Make(KeyState::Active), Step::Make(KeyState::Next)]
        );
    }

    #[test]
    fn case_148_next_signs_only_after_it_was_published_for_a_max_age() {
        let rotation = rotation(3600);
        let (mut keys, mut made) = (Vec::new(), 0);
        advance(&mut keys, &rotation, at(0), &mut made);
        // NEXT is lost and made anew a second before the rotation is due.
        keys.retain(|key| key.state == KeyState::Active);
        advance(&mut keys, &rotation, at(3599), &mut made);
        assert_eq!(plan(&keys, &rotation, at(3600)), []);
        assert_eq!(plan(&keys, &rotation, at(3599 + 299)), []);
        let steps = plan(&keys, &rotation, at(3599 + 300));
        let [Step::Expire(old), Step::Activate(new), Step::Make(KeyState::Next)] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert_ne!(old, new);
    }

    #[test]
    fn case_148_an_expired_key_goes_when_its_last_token_is_dead() {
        let rotation = rotation(3600);
        let (mut keys, mut made) = (Vec::new(), 0);
        for now in [0, 3600] {
            advance(&mut keys, &rotation, at(now), &mut made);
        }
        assert_eq!(plan(&keys, &rotation, at(3600 + 659)), []);
        let steps = plan(&keys, &rotation, at(3600 + 660));
        assert!(
            matches!(steps.as_slice(), [Step::Remove(_, KeyState::Expired)]),
            "{steps:?}"
        );
    }

    #[test]
    fn another_algorithm_takes_over_at_once_and_old_tokens_stay_good() {
        let old = rotation(3600);
        let (mut keys, mut made) = (Vec::new(), 0);
        advance(&mut keys, &old, at(0), &mut made);
        let new = Rotation {
            algorithm: Algorithm::Rs256,
            every: None,
        };
        advance(&mut keys, &new, at(10), &mut made);
        let states: Vec<(Algorithm, KeyState)> = keys.iter().map(|key| (key.algorithm, key.state)).collect();
        assert_eq!(
            states,
            [
                (Algorithm::Es256, KeyState::Expired),
                (Algorithm::Rs256, KeyState::Active),
                (Algorithm::Rs256, KeyState::Next)
            ]
        );
        assert_eq!(plan(&keys, &new, at(11)), []);
    }

    #[test]
    fn without_an_interval_nothing_rotates_by_itself() {
        let never = Rotation {
            algorithm: Algorithm::Es256,
            every: None,
        };
        let (mut keys, mut made) = (Vec::new(), 0);
        advance(&mut keys, &never, at(0), &mut made);
        assert_eq!(plan(&keys, &never, at(1_000_000_000)), []);
        assert_eq!(due_at(&keys, &never), None);
    }

    proptest! {
        /// However late or often it is looked at, there is one signer, one successor, and no key
        /// signs that was not published for a max-age, nor is forgotten before its tokens are dead.
        #[test]
        fn rotation_never_breaks_its_promises(every in 60_u64..5000, waits in prop::collection::vec(0_i64..4000, 1..60)) {
            let rotation = rotation(every);
            let (mut keys, mut made, mut now) = (Vec::new(), 0, 0);
            for wait in waits {
                now += wait;
                let steps = plan(&keys, &rotation, at(now));
                for step in &steps {
                    match step {
                        Step::Activate(kid) => {
                            let key = keys.iter().find(|key: &&KeyRecord| key.kid == *kid).expect("it exists");
                            prop_assert!(at(now) >= key.created_at.plus(rotation.jwks_max_age()));
                        }
                        Step::Remove(kid, _) => {
                            let key = keys.iter().find(|key: &&KeyRecord| key.kid == *kid).expect("it exists");
                            prop_assert!(at(now).since(key.entered_at) >= Duration::from_secs(660));
                        }
                        _ => {}
                    }
                }
                apply(&mut keys, &steps, &rotation, at(now), &mut made);
                let count = |state| keys.iter().filter(|key| key.state == state).count();
                prop_assert_eq!((count(KeyState::Active), count(KeyState::Next)), (1, 1));
                prop_assert_eq!(plan(&keys, &rotation, at(now)), vec![]);
            }
        }
    }
}
