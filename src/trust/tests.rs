//! Tests of trust: keys as they come and go, with a scripted [`Fetch`] and a clock moved by hand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use url::Url;

use super::*;
use crate::clock::ManualClock;
use crate::jose::alg::Algorithm;
use crate::jose::key::KeySet;
use crate::jose::sign::SigningKey;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Expectations, TokenTypes, VerifyError, verify};
use crate::model::event::Event;
use crate::model::id::Issuer;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::policy::caller::ClaimNames;
use crate::trust::fetch::{BoxFuture, FetchError, Fetched};
use crate::trust::settings::{FetchPolicy, IntrospectionSettings, KeySource};

mod floods;
mod introspection;
mod rotation;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const ISSUER: &str = "https://as.example";
const COOLDOWN: Duration = Duration::from_secs(30);
const STALE_MAX: Duration = Duration::from_secs(3600);

/// Answers in turn, and the last one for ever. Each answer takes a permit of `gate`.
struct Script {
    answers: Mutex<VecDeque<Result<Fetched, FetchError>>>,
    asked: AtomicUsize,
    gate: Semaphore,
    panics: std::sync::atomic::AtomicBool,
}

impl Script {
    fn open(first: Result<Fetched, FetchError>) -> Arc<Self> {
        Self::with_permits(first, 1_000_000)
    }

    fn with_permits(first: Result<Fetched, FetchError>, permits: usize) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new([first].into()),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(permits),
            panics: false.into(),
        })
    }

    fn set(&self, answer: Result<Fetched, FetchError>) {
        *self.answers.lock() = [answer].into();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn answer(&self) -> Result<Fetched, FetchError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.expect("never closed").forget();
        assert!(!self.panics.load(Ordering::SeqCst), "a fetch that panics");
        let mut answers = self.answers.lock();
        if answers.len() > 1 {
            return answers.pop_front().expect("more than one");
        }
        answers.front().cloned().expect("a script has an answer")
    }
}

impl Fetch for Script {
    fn get<'a>(&'a self, _: &'a Url, _: &'a FetchPolicy) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(self.answer())
    }

    fn post_form<'a>(
        &'a self,
        _: &'a Url,
        _: &'a FetchPolicy,
        client: (&'a str, &'a Secret<String>),
        form: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        assert_eq!((client.0, client.1.expose_secret().as_str()), ("gate", "canary-secret"));
        assert_eq!(form, [("token", "opaque"), ("token_type_hint", "access_token")]);
        Box::pin(self.answer())
    }
}

/// Keeps the text of each failure and how often keys were published.
#[derive(Default)]
struct Events {
    failures: Mutex<Vec<String>>,
    fetched: AtomicUsize,
    answered: Mutex<Vec<bool>>,
}

impl EventSink for Events {
    fn record(&self, event: &Event<'_>) {
        match event {
            Event::KeysFetchFailed { error, .. } => self.failures.lock().push((*error).to_owned()),
            Event::KeysFetched { .. } => {
                self.fetched.fetch_add(1, Ordering::SeqCst);
            }
            Event::Introspected { answered, .. } => self.answered.lock().push(*answered),
            _ => {}
        }
    }
}

/// One server without its background task: the test fetches when it says so.
struct World {
    script: Arc<Script>,
    clock: Arc<ManualClock>,
    events: Arc<Events>,
    server: Arc<TrustedServer>,
}

impl World {
    fn new(settings: TrustedServerSettings, script: Arc<Script>) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let events = Arc::new(Events::default());
        let around = Surroundings {
            fetch: script.clone(),
            clock: clock.clone(),
            events: events.clone(),
            io: Handle::current(),
        };
        let server = TrustedServer::new(settings, &|_| None, around).expect("valid");
        Self {
            script,
            clock,
            events,
            server,
        }
    }

    fn with(answer: Result<Fetched, FetchError>) -> Self {
        Self::new(settings(jwks_uri()), Script::open(answer))
    }

    /// What the background task does once; the pause that it would make.
    async fn scheduled(&self) -> Duration {
        self.server.fetch_on_schedule(&mut Duration::from_secs(1)).await
    }

    fn has(&self, key: &SigningKey) -> bool {
        self.server.keys().load().contains_kid(key.kid().as_str())
    }

    fn generation(&self) -> u64 {
        self.server.keys().generation()
    }
}

fn jwks_uri() -> KeySource {
    KeySource::Uri(Url::parse("https://as.example/keys").expect("valid"))
}

fn settings(keys: KeySource) -> TrustedServerSettings {
    TrustedServerSettings {
        id: AuthorizationServerId::parse("as").expect("valid"),
        issuer: Issuer::parse(ISSUER).expect("valid"),
        audiences: vec!["api".to_owned()],
        algorithms: vec![Algorithm::Es256],
        token_types: TokenTypes::Usual,
        claim_names: ClaimNames::default(),
        leeway: Duration::from_secs(30),
        keys,
        introspection: None,
        fetch: FetchPolicy::default(),
        keys_stale_max: STALE_MAX,
        keys_cooldown: COOLDOWN,
    }
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).expect("the library makes keys")
}

fn document(keys: &[Value]) -> Vec<u8> {
    json!({"keys": keys}).to_string().into_bytes()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "an answer among others of a script, which may be errors"
)]
fn answer(status: u16, body: impl Into<Vec<u8>>) -> Result<Fetched, FetchError> {
    Ok(Fetched {
        status,
        body: body.into(),
        max_age: None,
        retry_after: None,
    })
}

fn keys_of(keys: &[&SigningKey]) -> Result<Fetched, FetchError> {
    let entries: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
    answer(200, document(&entries))
}

fn token(key: &SigningKey) -> String {
    let claims = json!({"iss": ISSUER, "aud": "api", "sub": "alice", "exp": NOW.unix_seconds() + 300});
    let signed = key.sign("JWT", claims.as_object().expect("an object")).expect("signs");
    signed.expose_secret().clone()
}

fn check(keys: &KeySet, token: &str, settings: &TrustedServerSettings) -> Result<(), VerifyError> {
    let expect = Expectations {
        issuer: &settings.issuer,
        audiences: &settings.audiences,
        algorithms: &settings.algorithms,
        token_types: &settings.token_types,
        leeway: settings.leeway,
        now: NOW,
    };
    let mut unverified = Unverified::parse(token).expect("well formed");
    verify(&mut unverified, keys, &expect).map(|_| ())
}

fn mac_token(secret: &[u8], alg: &str, kid: Option<&str>) -> String {
    use aws_lc_rs::hmac;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
    let mut header = json!({"alg": alg, "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = json!(kid);
    }
    let claims = json!({"iss": ISSUER, "aud": "api", "sub": "alice", "exp": NOW.unix_seconds() + 300});
    let input = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
    let hash = match alg {
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let tag = hmac::sign(&hmac::Key::new(hash, secret), input.as_bytes());
    format!("{input}.{}", B64.encode(tag))
}

// === shared secrets ===

#[tokio::test]
async fn edge_j04_a_shared_secret_verifies_tokens_with_and_without_kid() {
    let secret = [7_u8; 64];
    let mut settings = settings(KeySource::SharedSecret(Secret::new(secret.to_vec())));
    settings.algorithms = vec![Algorithm::Hs256, Algorithm::Hs512];
    let world = World::new(settings, Script::open(answer(500, "")));
    let set = world.server.keys().load();
    let settings = &world.server.settings;
    for alg in ["HS256", "HS512"] {
        for kid in [None, Some("any")] {
            let wrong = mac_token(&[8; 64], alg, kid);
            assert_eq!(check(&set, &wrong, settings), Err(VerifyError::BadSignature));
            let right = mac_token(&secret, alg, kid);
            assert_eq!(check(&set, &right, settings), Ok(()), "{alg} {kid:?}");
        }
    }
    assert_eq!(world.server.keys_state(), KeysState::Ready);
    assert!(!world.server.may_refresh(), "there is nothing to fetch");
    assert_eq!(world.script.asked(), 0);
}

#[tokio::test]
async fn attack_a10_a_short_shared_secret_is_refused_and_not_shown() {
    let mut settings = settings(KeySource::SharedSecret(Secret::new(b"canary-short".to_vec())));
    settings.algorithms = vec![Algorithm::Hs256];
    let fetch: Arc<dyn Fetch> = Script::open(answer(500, ""));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let events: Arc<dyn EventSink> = Arc::new(Events::default());
    let error = Trust::start(
        vec![settings],
        None,
        &|_| None,
        &fetch,
        &clock,
        &events,
        &Handle::current(),
    )
    .err()
    .expect("too short");
    assert!(matches!(error, TrustError::WeakSecret { .. }));
    assert!(!format!("{error} {error:?}").contains("canary"));
}

// === bad answers ===

#[tokio::test]
async fn attack_b08_edge_j07_bad_answers_leave_the_last_good_set_until_it_is_too_stale() {
    let good = key();
    let mut private = key().public_jwk();
    private["d"] = json!("canary-private");
    let symmetric = json!({"kty": "oct", "kid": "s", "k": "Y2FuYXJ5"});
    let mut twin = key().public_jwk();
    twin["kid"] = json!(good.kid().as_str());
    let mut long = document(&[key().public_jwk()]);
    long.resize(64 * 1024 + 1, b' ');
    let table = [
        ("status 500", answer(500, document(&[key().public_jwk()]))),
        ("status 204", answer(204, "")),
        ("HTML", answer(200, "<html>canary</html>")),
        ("no keys", answer(200, document(&[]))),
        ("no `keys`", answer(200, "{}")),
        ("too long", answer(200, long)),
        ("too long on the wire", Err(FetchError::TooLong)),
        ("a redirect", Err(FetchError::Redirect)),
        ("a time-out", Err(FetchError::Timeout)),
        ("a private address", Err(FetchError::PrivateAddress)),
        ("a private key", answer(200, document(&[key().public_jwk(), private]))),
        (
            "a shared secret",
            answer(200, document(&[key().public_jwk(), symmetric])),
        ),
        ("two keys of one kid", answer(200, document(&[good.public_jwk(), twin]))),
        ("101 keys", answer(200, document(&vec![json!({}); 101]))),
    ];
    for (name, bad) in table {
        let world = World::with(keys_of(&[&good]));
        world.scheduled().await;
        let generation = world.generation();
        world.script.set(bad);
        world.clock.advance(STALE_MAX);
        world.scheduled().await;
        world.server.refresh_for_unknown_kid().await;
        assert_eq!(world.generation(), generation, "{name}");
        assert!(world.has(&good), "{name}");
        assert_eq!(world.server.keys().load().len(), 1, "{name}");
        assert_eq!(world.server.keys_state(), KeysState::Ready, "{name}");
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(world.server.keys_state(), KeysState::TooStale, "{name}");
        let failures = world.events.failures.lock().clone();
        assert_eq!(failures.len(), 2, "{name}");
        assert!(
            failures.iter().all(|text| !text.contains("canary")),
            "{name}: {failures:?}"
        );
        // It recovers by itself, with the document that it had.
        world.script.set(keys_of(&[&good]));
        world.scheduled().await;
        assert_eq!(world.server.keys_state(), KeysState::Ready, "{name}");
    }
}

#[tokio::test]
async fn attack_b06_without_a_first_answer_there_is_no_key_at_all() {
    let world = World::with(Err(FetchError::Timeout));
    world.scheduled().await;
    assert_eq!(world.server.keys_state(), KeysState::NeverFetched);
    assert!(world.server.keys().load().is_empty());
    assert_eq!(world.server.keys_age(), None);
    let refused = check(&world.server.keys().load(), &token(&key()), &world.server.settings);
    assert_eq!(refused, Err(VerifyError::UnknownKid));
}

#[tokio::test]
async fn a_step_of_the_wall_clock_makes_no_keys_stale() {
    let world = World::with(keys_of(&[&key()]));
    world.scheduled().await;
    world.clock.step_wall_clock(10_000_000);
    assert_eq!(world.server.keys_state(), KeysState::Ready);
    assert_eq!(world.server.keys_age(), Some(Duration::ZERO));
}

// === the schedule ===

#[tokio::test]
async fn attack_b05_the_pause_follows_max_age_within_bounds() {
    let table = [
        (None, 300),
        (Some(0), 30),
        (Some(10), 30),
        (Some(1000), 800),
        (Some(86_400), 3600),
        (Some(u64::MAX), 3600),
    ];
    for (max_age, pause) in table {
        let mut fetched = keys_of(&[&key()]).expect("an answer");
        fetched.max_age = max_age.map(Duration::from_secs);
        let paused = World::with(Ok(fetched)).scheduled().await;
        assert_eq!(paused, Duration::from_secs(pause), "{max_age:?}");
    }
    let mut settings = settings(jwks_uri());
    settings.keys_cooldown = Duration::ZERO;
    let mut fetched = keys_of(&[&key()]).expect("an answer");
    fetched.max_age = Some(Duration::ZERO);
    let paused = World::new(settings, Script::open(Ok(fetched))).scheduled().await;
    assert_eq!(paused, Duration::from_secs(1), "it does not spin");
}

#[tokio::test]
async fn failures_are_tried_again_ever_more_slowly_and_success_starts_over() {
    let world = World::with(answer(500, ""));
    let mut retry = Duration::from_secs(1);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        pauses.push(world.server.fetch_on_schedule(&mut retry).await.as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    world.script.set(keys_of(&[&key()]));
    world.server.fetch_on_schedule(&mut retry).await;
    assert_eq!(retry, Duration::from_secs(1));
}

#[tokio::test]
async fn discovery_is_asked_before_the_keys() {
    let known = key();
    let world = World::new(settings(KeySource::Discovery), Script::open(answer(404, "")));
    *world.script.answers.lock() = [
        answer(404, ""),
        answer(
            200,
            r#"{"issuer":"https://as.example","jwks_uri":"https://as.example/keys"}"#,
        ),
        keys_of(&[&known]),
    ]
    .into();
    world.scheduled().await;
    assert!(world.has(&known));
    assert_eq!(world.script.asked(), 3);
}

// === files ===

#[tokio::test]
async fn a_key_file_is_read_again_and_half_of_one_is_not_used() {
    let (one, two) = (key(), key());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).expect("written");
    let whole = document(&[two.public_jwk()]);
    let world = World::new(settings(KeySource::File(path.clone())), Script::open(answer(500, "")));
    world.scheduled().await;
    assert_eq!(
        world.server.keys_state(),
        KeysState::NeverFetched,
        "the file is not there yet"
    );
    write(&document(&[one.public_jwk()]));
    assert_eq!(world.scheduled().await, Duration::from_secs(1));
    assert!(world.has(&one));
    write(&whole[..whole.len() / 2]);
    world.scheduled().await;
    assert!(world.has(&one), "half of a document changes nothing");
    write(&whole);
    world.scheduled().await;
    assert!(world.has(&two) && !world.has(&one));
    let generation = world.generation();
    world.scheduled().await;
    assert_eq!(world.generation(), generation);
    assert_eq!(
        world.events.fetched.load(Ordering::SeqCst),
        2,
        "an unchanged file is no event"
    );
    assert_eq!(world.script.asked(), 0);
}

// === Trust ===

/// Lets other tasks run until this holds; a test that waits for ever is ended by its bound.
async fn until(holds: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come to hold");
}

struct Whole {
    script: Arc<Script>,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    events: Arc<dyn EventSink>,
}

impl Whole {
    fn new(first: Result<Fetched, FetchError>) -> Self {
        let script = Script::open(first);
        Self {
            fetch: script.clone(),
            script,
            clock: Arc::new(ManualClock::at(NOW)),
            events: Arc::new(Events::default()),
        }
    }

    fn start(&self, servers: Vec<TrustedServerSettings>, previous: Option<&Trust>) -> Result<Arc<Trust>, TrustError> {
        let io = Handle::current();
        Trust::start(
            servers,
            previous,
            &|_| None,
            &self.fetch,
            &self.clock,
            &self.events,
            &io,
        )
    }
}

#[tokio::test]
async fn a_reload_keeps_servers_that_stay_the_same_and_their_keys() {
    let whole = Whole::new(keys_of(&[&key()]));
    let id = settings(jwks_uri()).id;
    let first = whole.start(vec![settings(jwks_uri())], None).expect("valid");
    assert_eq!(first.waiting_for(), ["keys of the authorization server `as`"]);
    until(|| first.waiting_for().is_empty()).await;
    assert_eq!(first.key_ages(), [("as".to_owned(), Duration::ZERO)]);
    let second = whole.start(vec![settings(jwks_uri())], Some(&first)).expect("valid");
    let of = |trust: &Trust| Arc::clone(trust.server(&id).expect("there"));
    assert!(Arc::ptr_eq(&of(&first), &of(&second)));
    assert!(second.waiting_for().is_empty());
    assert_eq!(whole.script.asked(), 1, "a reload costs no fetch");
    let mut changed = settings(jwks_uri());
    changed.audiences.push("other".to_owned());
    let third = whole.start(vec![changed], Some(&second)).expect("valid");
    assert!(!Arc::ptr_eq(&of(&second), &of(&third)));
}

#[tokio::test]
async fn a_dropped_trust_ends_its_tasks() {
    let whole = Whole::new(keys_of(&[&key()]));
    let trust = whole.start(vec![settings(jwks_uri())], None).expect("valid");
    until(|| trust.waiting_for().is_empty()).await;
    let server = Arc::downgrade(trust.servers().next().expect("one"));
    let tasks = || Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    drop(trust);
    until(|| tasks() == 0).await;
    assert!(server.upgrade().is_none());
}

#[tokio::test]
async fn attack_b06_a_server_without_local_keys_cannot_start() {
    let whole = Whole::new(answer(500, ""));
    let error = whole
        .start(vec![settings(KeySource::Local)], None)
        .err()
        .expect("no keys");
    assert!(matches!(error, TrustError::NoLocalKeys(_)));
}
