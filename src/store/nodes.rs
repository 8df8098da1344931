//! What nodes that share a store tell each other: how far everything has come, and what holds for all of them.

use crate::store::{Cursor, StoreFuture};

/// The store between nodes.
pub trait NodeStore: Send + Sync {
    /// How far everything has come: one cheap look, however much there is.
    fn heads(&self) -> StoreFuture<'_, Heads>;

    /// Ends as soon as the store hears that something has changed, on whatever node; never, where it cannot hear. It
    /// may end without a change. Who waits looks from time to time even so.
    fn changed(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// What is kept of the database as a whole under this name.
    fn meta<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>>;

    /// Keeps a value under this name if there is none, and gives the one that is kept then: of several nodes, the
    /// first one's.
    fn keep_meta<'a>(&'a self, name: &'a str, value: &'a [u8]) -> StoreFuture<'a, Vec<u8>>;
}

/// How far everything has come. Each number moves on with each change of its kind, and never shows a change
/// before an earlier one: what is up to a number can be read when the number can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    /// The last revocation, forgotten or not.
    pub revocations: Cursor,
    /// The last change of signing keys.
    pub keys: i64,
    /// The last change of objects ([`crate::store::objects::ObjectStore::objects_generation`]).
    pub objects: i64,
}
