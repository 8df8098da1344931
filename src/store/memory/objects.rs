//! Objects of the administration, in memory.

use std::collections::BTreeMap;

use crate::audit::AuditEvent;
use crate::revocation::Revocation;
use crate::store::memory::MemoryStore;
use crate::store::objects::{ObjectChange, ObjectKind, ObjectStore, StoredObject};
use crate::store::{Changed, StoreFuture};

type Objects = BTreeMap<(ObjectKind, String), StoredObject>;

fn change(objects: &mut Objects, change: &ObjectChange) -> Changed {
    match change {
        ObjectChange::Insert(object) => {
            let id = (object.kind, object.id.clone());
            if objects.contains_key(&id) {
                return Changed::Overtaken;
            }
            let object = StoredObject {
                revision: 1,
                ..object.clone()
            };
            objects.insert(id, object);
        }
        ObjectChange::Replace {
            kind,
            id,
            from,
            body,
            at,
        } => {
            let object = objects.get_mut(&(*kind, id.clone()));
            let Some(object) = object.filter(|object| object.revision == *from) else {
                return Changed::Overtaken;
            };
            object.revision += 1;
            object.body = body.clone();
            object.updated_at = *at;
        }
        ObjectChange::Remove { kind, id, from } => {
            let id = (*kind, id.clone());
            if objects.get(&id).is_none_or(|object| object.revision != *from) {
                return Changed::Overtaken;
            }
            objects.remove(&id);
        }
    }
    Changed::Done
}

impl ObjectStore for MemoryStore {
    fn objects(&self, kind: ObjectKind) -> StoreFuture<'_, Vec<StoredObject>> {
        self.run(move |state| {
            let own = state.objects.values().filter(|object| object.kind == kind);
            Ok(own.cloned().collect())
        })
    }

    fn change_objects<'a>(
        &'a self,
        changes: &'a [ObjectChange],
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        self.run(move |state| {
            let mut draft = state.objects.clone();
            if changes.iter().any(|one| change(&mut draft, one) == Changed::Overtaken) {
                return Ok(Changed::Overtaken);
            }
            state.objects = draft;
            state.objects_generation += 1;
            for one in changes {
                if let ObjectChange::Remove {
                    kind: ObjectKind::Group,
                    id,
                    ..
                } = one
                {
                    state.members.retain(|(group, _)| group != id);
                }
            }
            state.attest(revocations, audit);
            Ok(Changed::Done)
        })
    }

    fn objects_generation(&self) -> StoreFuture<'_, i64> {
        self.run(move |state| Ok(state.objects_generation))
    }
}
