//! Waiting for an event, with a deadline.

use std::future::Future;
use std::time::Duration;

/// How long any one event may take before its test fails: long, because machines are slow when they are busy, and
/// free, because a test that passes never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
pub(crate) async fn until<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let answered = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    match answered.await {
        Ok(answer) => answer,
        Err(tokio::time::error::Elapsed { .. }) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}

/// Bounds something that ought to end by itself.
pub(crate) async fn bounded<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(tokio::time::error::Elapsed { .. }) => panic!("not done after {PATIENCE:?}: {what}"),
    }
}
