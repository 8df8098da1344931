//! The memory store is the model: the same calls in any order have the same answers from every other kind.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::audit::{self, AuditEvent, AuditKind};
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, Kid, Subject, UserId};
use crate::model::time::Timestamp;
use crate::oauth::keyring::KeyState;
use crate::oauth::refresh::GrantRecord;
use crate::oauth::user::{UserRecord, UserStatus};
use crate::revocation::Revocation;
use crate::store::grants::{GrantSelector, OneTime, OneTimeKind, ReplayPurpose, Rotation};
use crate::store::objects::{AuditQuery, ObjectChange, ObjectKind, StoredObject, UserChange};
use crate::store::tests::directory::{told, user};
use crate::store::tests::grants::grant;
use crate::store::tests::{Tested, at, event, key, memory, postgres, sqlite};
use crate::store::{Cursor, KeyChange, Store};

/// One call of the store.
#[derive(Debug, Clone)]
enum Call {
    InsertGrant(GrantRecord),
    Rotate(GrantId, u32, Timestamp, Timestamp),
    RevokeGrants(GrantSelector, Timestamp, Vec<Revocation>),
    Grants(GrantSelector, Option<GrantId>, u32),
    PutOneTime(OneTime),
    ChangeOneTime(OneTimeKind, Digest, Value, Value),
    UseOneTime(OneTimeKind, Digest, GrantId, Option<GrantRecord>),
    FirstUse(ReplayPurpose, Digest, Timestamp),
    CountFailure(Digest, Timestamp, Duration),
    Failures(Digest, Timestamp, Duration),
    ClearFailures(Digest),
    ChangeObjects(Vec<ObjectChange>, Vec<Revocation>),
    ChangeUser(UserChange, Vec<Revocation>),
    UserByLogin(String),
    Users(String, Option<UserId>, u32),
    SetMembership(UserId, String, bool),
    Members(String, Option<UserId>, u32),
    ChangeKeys(AuthorizationServerId, Vec<KeyChange>),
    RaiseLifetime(AuthorizationServerId, Duration),
    Revoke(Revocation, AuditEvent),
    AppendAudit(Vec<AuditEvent>),
    AuditOfError(String),
    AuditEntries(AuditQuery),
    Prune(Timestamp),
}

/// Few values of each, so that calls meet.
fn time() -> impl Strategy<Value = Timestamp> {
    (0..45_i64, -1..=1_i64).prop_map(|(days, seconds)| at(days * 86_400 + seconds))
}

fn name(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select(names)
}

fn grant_id() -> impl Strategy<Value = GrantId> {
    name(&["g1", "g2", "g3", "G1"]).prop_map(|id| GrantId::parse(id).expect("valid"))
}

fn user_id() -> impl Strategy<Value = UserId> {
    name(&["u1", "u2", "u3"]).prop_map(|id| UserId::parse(id).expect("valid"))
}

fn server() -> impl Strategy<Value = AuthorizationServerId> {
    name(&["transfers", "cards"]).prop_map(|id| AuthorizationServerId::parse(id).expect("valid"))
}

fn client() -> impl Strategy<Value = ClientId> {
    name(&["app", "it's"]).prop_map(|id| ClientId::parse(id).expect("valid"))
}

fn digest() -> impl Strategy<Value = Digest> {
    (0..3_u8).prop_map(|number| Digest::of(&[number]))
}

fn payload() -> impl Strategy<Value = Value> {
    select(vec![
        json!({ "a": 1, "b": [null, "é"] }),
        json!({ "a": 2 }),
        json!(null),
    ])
}

fn one_time_kind() -> impl Strategy<Value = OneTimeKind> {
    select(vec![OneTimeKind::AuthorizationCode, OneTimeKind::DeviceCode])
}

fn window() -> impl Strategy<Value = Duration> {
    select(vec![
        Duration::ZERO,
        Duration::from_secs(86_400),
        Duration::from_secs(u64::MAX),
    ])
}

fn a_grant() -> impl Strategy<Value = GrantRecord> {
    let ends = (time(), time());
    (grant_id(), server(), client(), prop::option::of(user_id()), ends).prop_map(
        |(id, server, client, user, (expires_at, idle_expires_at))| GrantRecord {
            id,
            server,
            client,
            user,
            expires_at,
            idle_expires_at,
            ..grant("g")
        },
    )
}

fn selector() -> impl Strategy<Value = GrantSelector> {
    let some = (
        prop::option::of(server()),
        prop::option::of(client()),
        prop::option::of(user_id()),
    );
    prop_oneof![
        grant_id().prop_map(GrantSelector::One),
        some.prop_map(|(server, client, user)| GrantSelector::Where { server, client, user }),
    ]
}

fn fact() -> impl Strategy<Value = Revocation> {
    prop_oneof![
        (server(), name(&["s1", "s2"]), time()).prop_map(|(server, session, before)| Revocation::Session {
            server,
            session: session.to_owned(),
            before,
        }),
        (client(), time()).prop_map(|(client, before)| Revocation::Client { client, before }),
        (client(), name(&["ada", "bob"]), time()).prop_map(|(client, subject, before)| Revocation::Assignment {
            client,
            subject: Subject::parse(subject).expect("valid"),
            before,
        }),
        (server(), name(&["k1", "k2"])).prop_map(|(server, kid)| Revocation::Key {
            server,
            kid: Kid::parse(kid).expect("valid"),
        }),
    ]
}

fn facts() -> impl Strategy<Value = Vec<Revocation>> {
    prop::collection::vec(fact(), 0..2)
}

fn object_change() -> impl Strategy<Value = ObjectChange> {
    let kind = || select(vec![ObjectKind::Client, ObjectKind::Group]);
    let id = || name(&["a", "b"]).prop_map(str::to_owned);
    prop_oneof![
        (kind(), id(), payload(), time()).prop_map(|(kind, id, body, at)| ObjectChange::Insert(StoredObject {
            kind,
            id,
            revision: 5,
            body,
            created_at: at,
            updated_at: at,
        })),
        (kind(), id(), 1..4_i64, payload(), time()).prop_map(|(kind, id, from, body, at)| ObjectChange::Replace {
            kind,
            id,
            from,
            body,
            at,
        }),
        (kind(), id(), 1..4_i64).prop_map(|(kind, id, from)| ObjectChange::Remove { kind, id, from }),
    ]
}

fn user_change() -> impl Strategy<Value = UserChange> {
    let a_user = || {
        let login = name(&["anna", "Anna.B", "bert"]);
        (user_id(), login, select(UserStatus::ALL.to_vec()), time()).prop_map(|(id, login, status, at)| UserRecord {
            status,
            created_at: at,
            updated_at: at,
            ..user(id.as_str(), login)
        })
    };
    prop_oneof![
        2 => a_user().prop_map(UserChange::Insert),
        2 => (a_user(), 1..4_i64).prop_map(|(user, from)| UserChange::Replace { user, from }),
        1 => (user_id(), 1..4_i64).prop_map(|(id, from)| UserChange::Remove { id, from }),
    ]
}

fn key_change() -> impl Strategy<Value = KeyChange> {
    let state = || select(vec![KeyState::Next, KeyState::Active, KeyState::Expired]);
    let kid = || name(&["k1", "k2", "k3"]);
    prop_oneof![
        (kid(), state()).prop_map(|(kid, state)| KeyChange::Insert(key(kid, state))),
        (kid(), state(), state(), time()).prop_map(|(kid, from, to, at)| KeyChange::Enter {
            kid: Kid::parse(kid).expect("valid"),
            from,
            to,
            at,
        }),
        (kid(), state()).prop_map(|(kid, from)| KeyChange::Remove {
            kid: Kid::parse(kid).expect("valid"),
            from,
        }),
    ]
}

fn an_event() -> impl Strategy<Value = AuditEvent> {
    let kind = select(vec![AuditKind::TokenRevoked, AuditKind::AccessDenied]);
    let error_id = prop::option::of(name(&["e1", "e2"]));
    (
        kind,
        error_id,
        time(),
        any::<f64>().prop_filter("JSON has finite numbers", |number| number.is_finite()),
    )
        .prop_map(|(kind, error_id, at, number)| AuditEvent {
            at,
            detail: json!({ "number": number }),
            ..event(kind, error_id)
        })
}

fn query() -> impl Strategy<Value = AuditQuery> {
    let kinds = select(vec![vec![], vec![AuditKind::TokenRevoked.as_str().to_owned()]]);
    let times = (prop::option::of(time()), prop::option::of(time()));
    (0..6_i64, kinds, times, 0..6_u32, any::<bool>()).prop_map(|(after, kinds, (since, until), limit, descending)| {
        AuditQuery {
            after,
            kinds,
            since,
            until,
            limit,
            descending,
        }
    })
}

fn call() -> impl Strategy<Value = Call> {
    let limit = || 0..4_u32;
    let group = || name(&["a", "b"]).prop_map(str::to_owned);
    let about_grants = prop_oneof![
        4 => a_grant().prop_map(Call::InsertGrant),
        6 => (grant_id(), 0..4_u32, time(), time()).prop_map(|(id, from, at, idle)| Call::Rotate(id, from, at, idle)),
        2 => (selector(), time(), facts()).prop_map(|(which, at, facts)| Call::RevokeGrants(which, at, facts)),
        2 => (selector(), prop::option::of(grant_id()), limit()).prop_map(|(which, after, n)| Call::Grants(which, after, n)),
    ];
    let about_one_time = prop_oneof![
        3 => (one_time_kind(), digest(), time(), payload()).prop_map(|(kind, digest, expires_at, payload)| {
            Call::PutOneTime(OneTime { kind, digest, expires_at, payload, used_by: None })
        }),
        1 => (one_time_kind(), digest(), payload(), payload()).prop_map(|(k, d, from, to)| Call::ChangeOneTime(k, d, from, to)),
        3 => (one_time_kind(), digest(), grant_id(), prop::option::of(a_grant()))
            .prop_map(|(kind, digest, by, grant)| Call::UseOneTime(kind, digest, by, grant)),
        1 => (digest(), time()).prop_map(|(digest, until)| Call::FirstUse(ReplayPurpose::DpopProof, digest, until)),
        2 => (digest(), time(), window()).prop_map(|(key, now, window)| Call::CountFailure(key, now, window)),
        1 => (digest(), time(), window()).prop_map(|(key, now, window)| Call::Failures(key, now, window)),
        1 => digest().prop_map(Call::ClearFailures),
    ];
    let about_objects = prop_oneof![
        4 => (prop::collection::vec(object_change(), 0..3), facts()).prop_map(|(changes, facts)| Call::ChangeObjects(changes, facts)),
        4 => (user_change(), facts()).prop_map(|(change, facts)| Call::ChangeUser(change, facts)),
        1 => name(&["ANNA", "bert"]).prop_map(|login| Call::UserByLogin(login.to_owned())),
        1 => (name(&["", "a", "anna."]), prop::option::of(user_id()), limit())
            .prop_map(|(prefix, after, n)| Call::Users(prefix.to_owned(), after, n)),
        3 => (user_id(), group(), any::<bool>()).prop_map(|(user, group, is)| Call::SetMembership(user, group, is)),
        1 => (group(), prop::option::of(user_id()), limit()).prop_map(|(group, after, n)| Call::Members(group, after, n)),
    ];
    let about_the_rest = prop_oneof![
        2 => (server(), prop::collection::vec(key_change(), 0..3)).prop_map(|(server, changes)| Call::ChangeKeys(server, changes)),
        1 => (server(), 0..900_u64).prop_map(|(server, life)| Call::RaiseLifetime(server, Duration::from_secs(life))),
        2 => (fact(), an_event()).prop_map(|(fact, event)| Call::Revoke(fact, event)),
        1 => prop::collection::vec(an_event(), 0..3).prop_map(Call::AppendAudit),
        1 => name(&["e1", "e2"]).prop_map(|id| Call::AuditOfError(id.to_owned())),
        2 => query().prop_map(Call::AuditEntries),
        2 => time().prop_map(|at| Call::Prune(at.plus(Duration::from_secs(20 * 86_400)))),
    ];
    prop_oneof![3 => about_grants, 2 => about_one_time, 3 => about_objects, 2 => about_the_rest]
}

/// The answer as text. An error counts by what it says.
fn text<T: std::fmt::Debug>(answer: Result<T, crate::store::StoreError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("error: {error}"),
    }
}

fn people(users: Result<Vec<UserRecord>, crate::store::StoreError>) -> String {
    text(users.map(|users| users.iter().map(told).collect::<Vec<_>>()))
}

async fn answer(store: &dyn Store, call: &Call) -> String {
    let records = [event(AuditKind::GrantRevoked, None)];
    match call {
        Call::InsertGrant(grant) => text(store.insert_grant(grant).await),
        Call::Rotate(id, from, at, idle_expires_at) => {
            let rotation = Rotation {
                id,
                from: *from,
                at: *at,
                idle_expires_at: *idle_expires_at,
            };
            text(store.rotate_grant(&rotation).await)
        }
        Call::RevokeGrants(which, at, facts) => text(store.revoke_grants(which, *at, facts, &records).await),
        Call::Grants(which, after, limit) => text(store.grants(which, after.as_ref(), *limit).await),
        Call::PutOneTime(thing) => text(store.put_one_time(thing).await),
        Call::ChangeOneTime(kind, digest, from, to) => text(store.change_one_time(*kind, digest, from, to).await),
        Call::UseOneTime(kind, digest, by, grant) => text(store.use_one_time(*kind, digest, by, grant.as_ref()).await),
        Call::FirstUse(purpose, digest, until) => text(store.first_use(*purpose, digest, *until).await),
        Call::CountFailure(key, now, window) => text(store.count_failure(key, *now, *window).await),
        Call::Failures(key, now, window) => text(store.failures(key, *now, *window).await),
        Call::ClearFailures(key) => text(store.clear_failures(key).await),
        Call::ChangeObjects(changes, facts) => text(store.change_objects(changes, facts, &records).await),
        Call::ChangeUser(change, facts) => text(store.change_user(change, facts, &records).await),
        Call::UserByLogin(login) => people(store.user_by_login(login).await.map(Vec::from_iter)),
        Call::Users(prefix, after, limit) => people(store.users(prefix, after.as_ref(), *limit).await),
        Call::SetMembership(user, group, is) => text(store.set_membership(user, group, *is, &records).await),
        Call::Members(group, after, limit) => people(store.members(group, after.as_ref(), *limit).await),
        Call::ChangeKeys(server, changes) => text(store.change_keys(server, changes, &records).await),
        Call::RaiseLifetime(server, lifetime) => text(store.raise_lifetime(server, *lifetime).await),
        // Where the list goes on is the store's own affair.
        Call::Revoke(fact, event) => text(store.revoke(fact, event).await.map(|_| ())),
        Call::AppendAudit(events) => text(store.append_audit(events).await),
        Call::AuditOfError(error_id) => text(store.audit_of_error(error_id).await),
        Call::AuditEntries(query) => text(store.audit_entries(query).await),
        Call::Prune(now) => text(store.prune(*now).await),
    }
}

/// Everything that the store can be asked for.
async fn whole(store: &dyn Store) -> Vec<String> {
    let mut all = Vec::new();
    let every = GrantSelector::Where {
        server: None,
        client: None,
        user: None,
    };
    all.push(text(store.grants(&every, None, 99).await));
    for id in ["g1", "g2", "g3", "G1"] {
        all.push(text(store.grant(&GrantId::parse(id).expect("valid")).await));
    }
    for kind in [OneTimeKind::AuthorizationCode, OneTimeKind::DeviceCode] {
        for number in 0..3_u8 {
            all.push(text(store.one_time(kind, &Digest::of(&[number])).await));
        }
    }
    for kind in ObjectKind::ALL {
        all.push(text(store.objects(kind).await));
    }
    for server in ["transfers", "cards"] {
        let server = AuthorizationServerId::parse(server).expect("valid");
        let keys = store.keys(&server).await.map(|mut keys| {
            keys.sort_by_key(|key| key.record.kid.clone());
            keys
        });
        all.push(text(keys));
    }
    all.push(people(store.users("", None, 99).await));
    for id in ["u1", "u2", "u3"] {
        all.push(text(store.groups_of(&UserId::parse(id).expect("valid")).await));
    }
    let facts = store.revocations_after(Cursor::default(), 99).await;
    all.push(text(
        facts.map(|facts| facts.into_iter().map(|(_, fact)| fact).collect::<Vec<_>>()),
    ));
    let query = AuditQuery {
        limit: 999,
        ..AuditQuery::default()
    };
    let entries = store.audit_entries(&query).await;
    if let Ok(entries) = &entries {
        all.push(format!("chain: {:?}", audit::verify(entries).map(|end| end.sequence)));
    }
    all.push(text(entries));
    all
}

/// Makes the calls of the model and of another store, and holds one to the other.
async fn compare(tested: &Tested, calls: &[Call]) -> Result<(), TestCaseError> {
    let (model, name) = (memory().store, tested.name);
    for call in calls {
        let (expected, found) = (answer(&*model, call).await, answer(&*tested.store, call).await);
        prop_assert_eq!(&found, &expected, "{}: {:?}", name, call);
    }
    let expected = whole(&*model).await;
    prop_assert!(expected.iter().any(|line| line.starts_with("chain: Ok(")));
    for (found, expected) in whole(&*tested.store).await.iter().zip(&expected) {
        prop_assert_eq!(found, expected, "{}", name);
    }
    Ok(())
}

fn run(work: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn sqlite_answers_as_the_model_does(calls in prop::collection::vec(call(), 1..80)) {
        run(async { compare(&sqlite().await, &calls).await })?;
    }
}

proptest! {
    // A call takes a journey there and back: fewer and longer histories.
    #![proptest_config(cases(6))]

    #[test]
    fn postgres_answers_as_the_model_does(calls in prop::collection::vec(call(), 60..160)) {
        run(async { compare(&postgres().await, &calls).await })?;
    }
}
