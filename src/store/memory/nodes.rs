//! How far everything has come, in memory: several issuers of one process may share it.

use crate::store::memory::MemoryStore;
use crate::store::nodes::{Heads, NodeStore};
use crate::store::{Cursor, StoreFuture};

impl NodeStore for MemoryStore {
    fn heads(&self) -> StoreFuture<'_, Heads> {
        self.run(|state| {
            Ok(Heads {
                revocations: Cursor(state.last),
                keys: state.keys_generation,
                objects: state.objects_generation,
            })
        })
    }

    fn meta<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.run(move |state| Ok(state.meta.get(name).cloned()))
    }

    fn keep_meta<'a>(&'a self, name: &'a str, value: &'a [u8]) -> StoreFuture<'a, Vec<u8>> {
        self.run(move |state| {
            let kept = state.meta.entry(name.to_owned()).or_insert_with(|| value.to_vec());
            Ok(kept.clone())
        })
    }
}
