//! One authorization server: its keys as they come and go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::clock::Clock;
use crate::jose::key::KeySet;
use crate::keys::LiveKeys;
use crate::model::digest::Digest;
use crate::model::event::{Event, EventSink};
use crate::model::id::AuthorizationServerId;
use crate::trust::fetch::Fetch;
use crate::trust::introspect::{self, Introspection};
use crate::trust::settings::{KeySource, TrustedServerSettings};
use crate::trust::{TrustError, discovery};

/// How soon a scheduled fetch is tried again after a failure, at first; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause between two tries of a scheduled fetch that fails.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often keys are fetched where the answer has no `Cache-Control`.
const REFRESH_DEFAULT: Duration = Duration::from_secs(300);
/// The longest that keys are kept without asking, whatever `Cache-Control` says.
const REFRESH_MAX: Duration = Duration::from_secs(3600);
/// How often a key file is looked at.
const FILE_POLL: Duration = Duration::from_secs(1);

/// Whether there are keys that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysState {
    /// There are.
    Ready,
    /// They have not been had yet.
    NeverFetched,
    /// They were had longer ago than they may be kept.
    TooStale,
}

/// What came of asking for keys once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The keys are those of now.
    Fetched,
    /// They were asked for so recently that they are not asked for again.
    CoolingDown,
    /// They could not be had; the last good ones stay.
    Failed,
}

/// What a server works with.
pub(super) struct Surroundings {
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn EventSink>,
    pub(super) io: Handle,
}

/// One authorization server whose tokens the gate may believe.
pub struct TrustedServer {
    /// What the configuration says of it.
    pub settings: TrustedServerSettings,
    keys: Arc<LiveKeys>,
    /// When keys were last had, in milliseconds of the monotonic clock plus one; 0 for never.
    had_at: AtomicU64,
    asking: Mutex<Asking>,
    around: Surroundings,
    /// Ends the background task when nobody holds the server any more.
    background: DropGuard,
}

/// The state of fetching.
#[derive(Default)]
struct Asking {
    /// When a fetch for an unknown `kid` was last begun.
    begun: Option<Duration>,
    /// The fetch that is under way: whoever else wants one waits for it.
    flight: Option<watch::Receiver<Option<Refreshed>>>,
    /// The document that the current keys were read from. The same document is not published
    /// again: a new generation would have every cached verdict judged anew for nothing.
    document: Option<Digest>,
    /// How many fetches were begun, and the number of the latest one whose document is in force: an
    /// answer that a later fetch has overtaken would bring back keys that are gone (attack B07).
    tickets: u64,
    landed: u64,
}

impl Asking {
    /// A fetch that panicked has closed its channel without a word: it is over too (attack B15).
    fn under_way(&self) -> Option<watch::Receiver<Option<Refreshed>>> {
        self.flight.clone().filter(|flight| flight.has_changed().is_ok())
    }
}

/// Why keys could not be had. The text holds no secret: addresses and causes only.
type Cause = String;

impl TrustedServer {
    pub(super) fn new(
        settings: TrustedServerSettings,
        local_keys: &dyn Fn(&AuthorizationServerId) -> Option<Arc<LiveKeys>>,
        around: Surroundings,
    ) -> Result<Arc<Self>, TrustError> {
        let keys = match &settings.keys {
            KeySource::Local => {
                local_keys(settings.id_at_issuer()).ok_or_else(|| TrustError::NoLocalKeys(settings.id.clone()))?
            }
            KeySource::SharedSecret(secret) => LiveKeys::new(shared(&settings, secret)?),
            KeySource::Discovery | KeySource::Uri(_) | KeySource::File(_) | KeySource::None => {
                LiveKeys::new(KeySet::empty())
            }
        };
        let server = Self {
            settings,
            keys,
            had_at: AtomicU64::new(0),
            asking: Mutex::default(),
            around,
            background: CancellationToken::new().drop_guard(),
        };
        if !server.is_fetched() {
            server.had_now();
        }
        Ok(Arc::new(server))
    }

    /// Whether these are its keys, where an issuer of this process publishes them.
    pub(super) fn has_keys_of(&self, issuer: Option<Arc<LiveKeys>>) -> bool {
        !matches!(self.settings.keys, KeySource::Local) || issuer.is_some_and(|keys| Arc::ptr_eq(&keys, &self.keys))
    }

    /// The current keys.
    #[must_use]
    pub fn keys(&self) -> &Arc<LiveKeys> {
        &self.keys
    }

    /// Whether there are keys that may be used.
    #[must_use]
    pub fn keys_state(&self) -> KeysState {
        match self.keys_age() {
            None => KeysState::NeverFetched,
            Some(age) if self.is_fetched() && age > self.settings.keys_stale_max => KeysState::TooStale,
            Some(_) => KeysState::Ready,
        }
    }

    /// The time since the keys were last had; `None` if they never were. Zero for keys that are
    /// not fetched at all.
    #[must_use]
    pub fn keys_age(&self) -> Option<Duration> {
        if !self.is_fetched() {
            return Some(Duration::ZERO);
        }
        let had_at = Duration::from_millis(self.had_at.load(Ordering::Acquire).checked_sub(1)?);
        Some(self.around.clock.monotonic().saturating_sub(had_at))
    }

    /// Whether an unknown `kid` may cost a fetch now. If not, its token is refused at once.
    #[must_use]
    pub fn may_refresh(&self) -> bool {
        matches!(
            self.settings.keys,
            KeySource::Discovery | KeySource::Uri(_) | KeySource::File(_)
        ) && {
            let asking = self.asking.lock();
            asking.under_way().is_some() || !self.is_cooling(&asking)
        }
    }

    /// Asks for the keys because a token names one that they lack.
    ///
    /// One fetch serves all who wait. It runs as a task of its own: a caller that goes away takes
    /// neither the fetch nor the others' wait with it (attack B15).
    pub async fn refresh_for_unknown_kid(self: &Arc<Self>) -> Refreshed {
        let mut flight = {
            let mut asking = self.asking.lock();
            match asking.under_way() {
                Some(flight) => flight,
                None if self.is_cooling(&asking) => return Refreshed::CoolingDown,
                None => {
                    asking.begun = Some(self.around.clock.monotonic());
                    self.take_off(&mut asking)
                }
            }
        };
        flight
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|outcome| *outcome)
            .unwrap_or(Refreshed::Failed)
    }

    /// Asks the authorization server about an opaque token. The caller bounds the wait.
    pub async fn introspect(&self, token: &str) -> Introspection {
        let Some(endpoint) = &self.settings.introspection else {
            return Introspection::Inactive;
        };
        let now = self.around.clock.now();
        let answer = introspect::introspect(&self.settings, endpoint, &*self.around.fetch, token, now).await;
        let answered = !matches!(answer, Introspection::Unavailable { .. });
        let authorization_server = self.settings.id.as_str();
        self.around.events.record(&Event::Introspected {
            authorization_server,
            answered,
        });
        answer
    }

    /// Starts what runs beside the checks: scheduled fetches, or the watch over a key file. The task
    /// holds the server only while it works, so that it does not keep alive what a reload has dropped.
    pub(super) fn spawn_background(self: &Arc<Self>) {
        if !self.is_fetched() {
            return;
        }
        let server = Arc::downgrade(self);
        let end: CancellationToken = self.background.token().clone();
        self.around
            .io
            .spawn(async move { end.run_until_cancelled(keep_current(server)).await });
    }

    fn is_fetched(&self) -> bool {
        matches!(
            self.settings.keys,
            KeySource::Discovery | KeySource::Uri(_) | KeySource::File(_)
        )
    }

    fn is_cooling(&self, asking: &Asking) -> bool {
        let now = self.around.clock.monotonic();
        asking
            .begun
            .is_some_and(|begun| now.saturating_sub(begun) < self.settings.keys_cooldown)
    }

    fn had_now(&self) {
        let millis = u64::try_from(self.around.clock.monotonic().as_millis()).unwrap_or(u64::MAX - 1);
        self.had_at.store(millis.saturating_add(1), Ordering::Release);
    }

    /// Begins a fetch as a task of its own, for whoever wants to wait for it.
    fn take_off(self: &Arc<Self>, asking: &mut Asking) -> watch::Receiver<Option<Refreshed>> {
        let (landed, flight) = watch::channel(None);
        asking.flight = Some(flight.clone());
        let server = Arc::clone(self);
        self.around.io.spawn(async move {
            let outcome = match server.fetch_keys().await {
                Some(_) => Refreshed::Fetched,
                None => Refreshed::Failed,
            };
            server.asking.lock().flight = None;
            landed.send_replace(Some(outcome));
        });
        flight
    }

    /// Has the keys, and says when to have them again. `retry` is the pause after the next failure.
    pub(super) async fn fetch_on_schedule(&self, retry: &mut Duration) -> Duration {
        let had = self.fetch_keys().await;
        if matches!(self.settings.keys, KeySource::File(_)) {
            return FILE_POLL;
        }
        let Some(max_age) = had else {
            let pause = *retry;
            *retry = (pause * 2).min(RETRY_MAX);
            return pause;
        };
        *retry = RETRY_MIN;
        // Four fifths of its life: ahead of the moment at which others would drop it.
        let fresh = max_age.map_or(REFRESH_DEFAULT, |age| age / 5 * 4);
        fresh.clamp(self.settings.keys_cooldown.clamp(RETRY_MIN, REFRESH_MAX), REFRESH_MAX)
    }

    /// Has the keys once. `Some` with the answer's `max-age` if that went well.
    async fn fetch_keys(&self) -> Option<Option<Duration>> {
        let authorization_server = self.settings.id.as_str();
        match self.have_keys().await {
            Ok((usable, max_age)) => {
                self.had_now();
                if let Some(usable) = usable {
                    self.around.events.record(&Event::KeysFetched {
                        authorization_server,
                        usable,
                    });
                }
                Some(max_age)
            }
            Err(error) => {
                self.around.events.record(&Event::KeysFetchFailed {
                    authorization_server,
                    error: &error,
                });
                None
            }
        }
    }

    /// Reads the document and publishes the keys, if it is another document than the last one.
    async fn have_keys(&self) -> Result<(Option<usize>, Option<Duration>), Cause> {
        let ticket = {
            let mut asking = self.asking.lock();
            asking.tickets += 1;
            asking.tickets
        };
        let (document, max_age) = self.read_document().await?;
        let digest = Digest::of(&document);
        if Self::is_landed(&mut self.asking.lock(), ticket, digest) {
            return Ok((None, max_age));
        }
        // Built before it is swapped in: what cannot be used never takes the place of what can.
        let (set, problems) = KeySet::from_jwks(&document).map_err(|error| error.to_string())?;
        for problem in &problems {
            tracing::warn!(authorization_server.id = %self.settings.id, %problem, "a published key is not used");
        }
        if set.is_empty() {
            return Err("the key set holds no usable key".to_owned());
        }
        let usable = set.len();
        let mut asking = self.asking.lock();
        if Self::is_landed(&mut asking, ticket, digest) {
            return Ok((None, max_age));
        }
        self.keys.publish(set);
        asking.document = Some(digest);
        asking.landed = ticket;
        Ok((Some(usable), max_age))
    }

    /// Whether the fetch of this ticket has nothing to publish: a later one has landed, or the
    /// document is the one in force.
    fn is_landed(asking: &mut Asking, ticket: u64, digest: Digest) -> bool {
        if asking.document == Some(digest) {
            asking.landed = asking.landed.max(ticket);
        }
        asking.landed >= ticket
    }

    async fn read_document(&self) -> Result<(Vec<u8>, Option<Duration>), Cause> {
        let policy = &self.settings.fetch;
        let fetch = &*self.around.fetch;
        match &self.settings.keys {
            KeySource::File(path) => {
                let document = tokio::fs::read(path).await;
                Ok((
                    document.map_err(|error| format!("`{}`: {error}", path.display()))?,
                    None,
                ))
            }
            KeySource::Uri(url) => self.get_document(url).await,
            KeySource::Discovery => {
                let url = discovery::jwks_uri(&self.settings.issuer, fetch, policy).await;
                self.get_document(&url.map_err(|error| error.to_string())?).await
            }
            KeySource::Local | KeySource::SharedSecret(_) | KeySource::None => {
                Err("these keys are not fetched".to_owned())
            }
        }
    }

    async fn get_document(&self, url: &Url) -> Result<(Vec<u8>, Option<Duration>), Cause> {
        let answer = self
            .around
            .fetch
            .get(url, &self.settings.fetch)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("the key set answered {}", answer.status));
        }
        Ok((answer.body, answer.max_age))
    }
}

async fn keep_current(server: Weak<TrustedServer>) {
    let mut retry = RETRY_MIN;
    while let Some(held) = server.upgrade() {
        let pause = held.fetch_on_schedule(&mut retry).await;
        drop(held);
        tokio::time::sleep(pause).await;
    }
}

fn shared(
    settings: &TrustedServerSettings,
    secret: &crate::model::secret::Secret<Vec<u8>>,
) -> Result<KeySet, TrustError> {
    // A set that ignores `kid`: the configuration names the one secret, whatever a token's header says.
    let symmetric = settings.algorithms.iter().copied().filter(|one| one.is_symmetric());
    KeySet::from_secret_for(secret, symmetric).map_err(|error| TrustError::WeakSecret {
        server: settings.id.clone(),
        error,
    })
}
