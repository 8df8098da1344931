//! Who may not use a client any more has no token of it either, also none that no grant stands behind.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::admin::Administration;
use crate::admin::assignments::Assignable;
use crate::admin::desk::Desk;
use crate::admin::users::NewUser;
use crate::clock::ManualClock;
use crate::issuer::IntrospectionAnswer;
use crate::issuer::change::Change;
use crate::model::secret::Secret;
use crate::revocation::CLOCKS_APART_MAX;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};
use crate::store::seal::SealingKey;
use crate::store::sqlite::SqliteStore;
use crate::testing::house::{House, NOW, PEOPLE, form};

/// [`PEOPLE`], where every client may ask, and an API may introspect.
fn text() -> String {
    let api = "  - { id: api, type: service, grants: [client_credentials], audiences: [\"https://api.bank.example/transfers\"], secrets: [{ sha256: \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\" }] }\n";
    PEOPLE
        .replace("clients: [app, kiosk]", "clients: all")
        .replace("            groups: [customers]\n", "")
        .replace("clients:\n  - { id: app", &format!("clients:\n{api}  - {{ id: app"))
}

/// Two administered clients, a group, and people who are in it or assigned by themselves.
struct Office {
    house: House,
    administration: Administration,
    group: String,
    eve: String,
    zoe: String,
}

/// A way to take the till away from Eve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    User,
    Group,
    Membership,
    GroupDeleted,
}

const WAYS: [Way; 4] = [Way::User, Way::Group, Way::Membership, Way::GroupDeleted];

impl Office {
    async fn open(house: House) -> Self {
        let administration = Administration::new(house.issuer.clone());
        let desk = Desk::of_itself(&administration, "test");
        let name = |name: &str| Map::from_iter([("name".to_owned(), json!(name))]);
        let group = desk.create_group(&name("tellers")).await.expect("made").id.clone();
        let mut people = Vec::new();
        for who in ["eve", "zoe"] {
            let login = format!("{who}@bank.example");
            let profile = json!({ "login": login, "email": login, "firstName": who, "lastName": "Example" });
            let new = NewUser {
                profile: profile.as_object().expect("an object").clone(),
                password: Some(Secret::new("a long pass phrase".to_owned())),
                groups: Vec::new(),
                activate: true,
            };
            people.push(desk.create_user(new).await.expect("made").id.to_string());
        }
        let clients = ["till-client", "safe-client"].map(|id| {
            let body = json!({
                "name": id, "kind": "native", "grants": ["authorization_code", "password"],
                "redirect_uris": ["http://127.0.0.1/cb"],
            });
            ObjectChange::Insert(StoredObject::new(ObjectKind::Client, id, body, NOW))
        });
        let change = Change {
            changes: clients.to_vec(),
            ..Change::default()
        };
        house.issuer.change(change, false).await.expect("made");
        let [eve, zoe] = people.try_into().expect("two");
        let office = Self {
            house,
            administration,
            group,
            eve,
            zoe,
        };
        for user in [&office.eve, &office.zoe] {
            office
                .desk()
                .assign("safe-client", Assignable::User, user)
                .await
                .expect("assigned");
        }
        office
            .desk()
            .assign("till-client", Assignable::User, &office.zoe)
            .await
            .expect("assigned");
        office
    }

    fn desk(&self) -> Desk<'_> {
        Desk::of_itself(&self.administration, "test")
    }

    async fn give(&self, way: Way) {
        if way == Way::User {
            let assigned = self.desk().assign("till-client", Assignable::User, &self.eve).await;
            assigned.expect("assigned");
            return;
        }
        let assigned = self.desk().assign("till-client", Assignable::Group, &self.group).await;
        assigned.expect("assigned");
        for user in [&self.eve, &self.zoe] {
            self.desk().set_member(&self.group, user, true).await.expect("a member");
        }
    }

    async fn take(&self, way: Way) {
        let desk = self.desk();
        let taken = match way {
            Way::User => desk.unassign("till-client", Assignable::User, &self.eve).await,
            Way::Group => desk.unassign("till-client", Assignable::Group, &self.group).await,
            Way::Membership => desk.set_member(&self.group, &self.eve, false).await,
            Way::GroupDeleted => desk.delete_group(&self.group, |_| true).await,
        };
        taken.expect("taken");
    }

    async fn token(&self, client: &str, who: &str) -> Result<String, String> {
        let body =
            format!("grant_type=password&client_id={client}&username={who}@bank.example&password=a+long+pass+phrase");
        let answer = self.house.ask("transfers", &body).await;
        let answer = answer.map_err(|failure| format!("{:?}", failure.error))?;
        assert!(answer.refresh_token.is_none(), "no grant is kept");
        Ok(answer.access_token.expose_secret().clone())
    }
}

async fn is_active(house: &House, token: &str) -> Value {
    let body = format!("client_id=api&client_secret=secret&token={token}");
    match house
        .issuer
        .introspect("transfers", &form(&body))
        .await
        .expect("answers")
    {
        IntrospectionAnswer::Json(document) => document["active"].clone(),
        IntrospectionAnswer::Jwt(_) => panic!("JSON was asked for"),
    }
}

#[tokio::test]
async fn attack_f13_a_token_without_a_grant_dies_with_the_assignment_and_no_other_does() {
    for way in WAYS {
        let mut office = Office::open(House::of(&text()).await).await;
        office.give(way).await;
        let lost = office.token("till-client", "eve").await.expect("signed in");
        let others = [
            office.token("safe-client", "eve").await.expect("another client"),
            office
                .token("till-client", "zoe")
                .await
                .expect("another user, who is assigned by herself too"),
        ];
        // The gate has the verdicts in its cache, and no clock moves.
        for token in others.iter().chain([&lost]) {
            office.house.assert_alive("transfers", token, "before");
            assert_eq!(is_active(&office.house, token).await, true, "{way:?}");
        }
        office.take(way).await;
        office.house.assert_dead("transfers", &lost, "at once");
        assert_eq!(is_active(&office.house, &lost).await, false, "{way:?}");
        let refused = office.token("till-client", "eve").await.expect_err("not assigned");
        assert!(refused.contains("UserNotAssigned"), "{way:?}: {refused}");
        for token in &others {
            office.house.assert_alive("transfers", token, "of somebody else");
            assert_eq!(is_active(&office.house, token).await, true, "{way:?}");
        }
        let Office {
            house, group, eve, zoe, ..
        } = office;
        let house = house.restart(&text()).await;
        office = Office {
            administration: Administration::new(house.issuer.clone()),
            house,
            group,
            eve,
            zoe,
        };
        office.house.assert_dead("transfers", &lost, "after a restart");
        for token in &others {
            office
                .house
                .assert_alive("transfers", token, "of somebody else, after a restart");
        }
        if way == Way::GroupDeleted {
            continue;
        }
        office.give(way).await;
        let early = office
            .token("till-client", "eve")
            .await
            .expect_err("a clock may be ahead");
        assert!(early.contains("Overtaken"), "{way:?}: {early}");
        office.house.clock.advance(CLOCKS_APART_MAX + Duration::from_secs(1));
        let new = office.token("till-client", "eve").await.expect("assigned again");
        office.house.assert_alive("transfers", &new, "assigned again");
        office
            .house
            .assert_dead("transfers", &lost, "and the old one stays dead");
    }
}

#[tokio::test]
async fn attack_f13_who_is_assigned_otherwise_too_loses_nothing() {
    for way in [Way::User, Way::Group, Way::Membership, Way::GroupDeleted] {
        let office = Office::open(House::of(&text()).await).await;
        office.give(Way::User).await;
        office.give(Way::Group).await;
        let token = office.token("till-client", "eve").await.expect("signed in");
        office.house.assert_alive("transfers", &token, "before");
        office.take(way).await;
        office.house.assert_alive("transfers", &token, "assigned otherwise");
        office.token("till-client", "eve").await.expect("nothing is in the way");
    }
}

#[tokio::test]
async fn attack_f13_another_node_hears_of_a_lost_assignment_and_its_clock_may_be_ahead() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = SqliteStore::open(&folder.path().join("scopegate.db"))
        .await
        .expect("opens");
    let stores: [Arc<dyn Store>; 2] = [Arc::new(MemoryStore::new()), Arc::new(file)];
    for store in stores {
        let sealing = Arc::new(SealingKey::generate().0);
        let node = async |ahead: Duration| {
            let clock = Arc::new(ManualClock::at(NOW.plus(ahead)));
            House::on(&text(), store.clone(), sealing.clone(), clock).await
        };
        let office = Office::open(node(Duration::ZERO).await).await;
        office.give(Way::User).await;
        let ahead = node(CLOCKS_APART_MAX).await;
        let body = "grant_type=password&client_id=till-client&username=eve@bank.example&password=a+long+pass+phrase";
        let token = ahead.ask("transfers", body).await.expect("signed in");
        let token = token.access_token.expose_secret();
        ahead.assert_alive("transfers", token, "before");
        office.take(Way::User).await;
        ahead.issuer.follow_once().await.expect("hears of it");
        ahead.assert_dead("transfers", token, "issued later, by its clock");
        office.house.clock.advance(CLOCKS_APART_MAX);
        office
            .house
            .assert_dead("transfers", token, "at the other node, when its clock is there too");
    }
}
