//! What real Envoy does, pinned: the gate's design rests on these facts, and a release that changes one must fail here
//! before it surprises anybody. A scripted service stands where the gate would, so nothing of ours is under test.
//!
//! - `answers`: what the client gets for each kind of answer to a check.
//! - `mutations`: what becomes of the headers that an answer sets and removes.
//! - `requests`: what a CheckRequest says of the request that a client sent.

mod answers;
mod mutations;
mod requests;

use crate::support::envoy::{Envoy, EnvoyBuilder};
use crate::support::peers::Release;
use crate::support::standin::{Answer, StandIn};
use crate::support::upstream::Upstream;

/// A scripted service, an Envoy that asks it, and the upstream behind.
struct Stage {
    service: StandIn,
    envoy: Envoy,
    upstream: Upstream,
}

impl Stage {
    /// At Envoy's own defaults, but for what `configure` says.
    async fn start(answer: impl Into<Answer>, configure: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Self {
        let upstream = Upstream::start().await;
        let service = StandIn::start(answer).await;
        let envoy = configure(EnvoyBuilder::plain(service.service(), upstream.address))
            .start()
            .await;
        Self {
            service,
            envoy,
            upstream,
        }
    }
}

/// Every release that the tests have.
fn every_release() -> impl Iterator<Item = Release> {
    Release::OLDER.into_iter().chain([Release::V1_40_0])
}
