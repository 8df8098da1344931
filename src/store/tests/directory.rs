//! Users, and who is in what.

use serde_json::{Map, Value, json};

use crate::audit::AuditKind;
use crate::model::id::UserId;
use crate::model::secret::Secret;
use crate::oauth::user::{UserRecord, UserStatus};
use crate::revocation::Revocation;
use crate::store::objects::{AuditQuery, UserChange};
use crate::store::tests::{Tested, at, event, server, stores};
use crate::store::{Changed, Cursor, Store};

pub(super) fn user_id(id: &str) -> UserId {
    UserId::parse(id).expect("valid")
}

pub(super) fn user(id: &str, login: &str) -> UserRecord {
    UserRecord {
        id: user_id(id),
        login: login.to_owned(),
        status: UserStatus::Active,
        profile: Map::from_iter([
            ("login".to_owned(), Value::from(login)),
            ("height".to_owned(), json!(1.1)),
        ]),
        password: Some(Secret::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned())),
        revision: 1,
        created_at: at(10),
        updated_at: at(10),
    }
}

/// A user as text, with what `Debug` does not show.
pub(super) fn told(user: &UserRecord) -> String {
    format!("{user:?} {:?}", user.password.as_ref().map(Secret::expose_secret))
}

async fn change(store: &dyn Store, change: UserChange) -> Changed {
    store.change_user(&change, &[], &[]).await.expect("answers")
}

async fn read(store: &dyn Store, id: &str) -> Option<String> {
    let user = store.user(&user_id(id)).await.expect("reads");
    user.as_ref().map(told)
}

fn ids(users: &[UserRecord]) -> Vec<&str> {
    users.iter().map(|user| user.id.as_str()).collect()
}

#[tokio::test]
async fn a_user_reads_back_and_changes_if_nobody_was_first() {
    for Tested { name, store, .. } in &stores().await {
        let mixed = UserRecord {
            login: "Anna@Bank.example".to_owned(),
            revision: 9,
            ..user("u1", "anna@bank.example")
        };
        let anna = UserRecord {
            login: "anna@bank.example".to_owned(),
            revision: 1,
            ..mixed.clone()
        };
        assert_eq!(read(&**store, "u1").await, None, "{name}");
        assert_eq!(
            change(&**store, UserChange::Insert(mixed)).await,
            Changed::Done,
            "{name}"
        );
        assert_eq!(read(&**store, "u1").await, Some(told(&anna)), "{name}");
        let by_login = store.user_by_login("ANNA@bank.EXAMPLE").await.expect("reads");
        assert_eq!(by_login.as_ref().map(told), Some(told(&anna)), "{name}");

        // Everything changes but the identifier and the creation.
        let changed = UserRecord {
            login: "Anna.B".to_owned(),
            status: UserStatus::Suspended,
            profile: Map::new(),
            password: None,
            revision: 77,
            created_at: at(99),
            updated_at: at(20),
            ..anna.clone()
        };
        let replace = |from| UserChange::Replace {
            user: changed.clone(),
            from,
        };
        assert_eq!(change(&**store, replace(2)).await, Changed::Overtaken, "{name}");
        assert_eq!(change(&**store, replace(1)).await, Changed::Done, "{name}");
        assert_eq!(change(&**store, replace(1)).await, Changed::Overtaken, "{name}");
        let expected = UserRecord {
            login: "anna.b".to_owned(),
            revision: 2,
            created_at: at(10),
            ..changed.clone()
        };
        assert_eq!(read(&**store, "u1").await, Some(told(&expected)), "{name}");
        let old_login = store.user_by_login("anna@bank.example").await.expect("reads");
        assert!(old_login.is_none(), "{name}");

        let remove = |from| UserChange::Remove {
            id: user_id("u1"),
            from,
        };
        assert_eq!(change(&**store, remove(1)).await, Changed::Overtaken, "{name}");
        assert_eq!(change(&**store, remove(2)).await, Changed::Done, "{name}");
        assert_eq!(change(&**store, remove(2)).await, Changed::Overtaken, "{name}");
        assert_eq!(read(&**store, "u1").await, None, "{name}");
    }
}

#[tokio::test]
async fn a_login_or_identifier_belongs_to_one_user() {
    for Tested { name, store, .. } in &stores().await {
        for (id, login) in [("u1", "anna"), ("u2", "bert")] {
            assert_eq!(
                change(&**store, UserChange::Insert(user(id, login))).await,
                Changed::Done,
                "{name}"
            );
        }
        let taken = [
            UserChange::Insert(user("u3", "ANNA")),
            UserChange::Insert(user("u1", "carl")),
            UserChange::Replace {
                user: user("u2", "Anna"),
                from: 1,
            },
        ];
        for one in taken {
            assert_eq!(change(&**store, one).await, Changed::Overtaken, "{name}");
        }
        assert_eq!(read(&**store, "u2").await, Some(told(&user("u2", "bert"))), "{name}");
        // One's own login is not taken, and that of who is gone neither.
        let own = UserChange::Replace {
            user: user("u2", "BERT"),
            from: 1,
        };
        assert_eq!(change(&**store, own).await, Changed::Done, "{name}");
        let gone = UserChange::Remove {
            id: user_id("u1"),
            from: 1,
        };
        assert_eq!(change(&**store, gone).await, Changed::Done, "{name}");
        assert_eq!(
            change(&**store, UserChange::Insert(user("u3", "anna"))).await,
            Changed::Done,
            "{name}"
        );
    }
}

#[tokio::test]
async fn users_are_found_by_the_beginning_of_their_login_in_parts() {
    for Tested { name, store, .. } in &stores().await {
        for (id, login) in [
            ("5", "anna"),
            ("3", "annabel"),
            ("4", "an%a"),
            ("1", "bert"),
            ("2", "änne"),
            ("6", "an"),
        ] {
            assert_eq!(
                change(&**store, UserChange::Insert(user(id, login))).await,
                Changed::Done,
                "{name}"
            );
        }
        let find = async |prefix: &str, after: Option<&str>, limit| {
            let after = after.map(user_id);
            let users = store.users(prefix, after.as_ref(), limit).await.expect("reads");
            ids(&users).join("")
        };
        assert_eq!(find("", None, 9).await, "123456", "{name}");
        assert_eq!(find("", Some("2"), 3).await, "345", "{name}");
        assert_eq!(find("AN", None, 9).await, "3456", "{name}");
        assert_eq!(find("ann", Some("3"), 9).await, "5", "{name}");
        assert_eq!(find("an%", None, 9).await, "4", "{name}");
        assert_eq!(find("än", None, 9).await, "2", "{name}");
        assert_eq!(find("' OR 1=1 --", None, 9).await, "", "{name}");
    }
}

#[tokio::test]
async fn who_is_in_a_group_is_told_once_and_ends_with_the_user() {
    let records = [event(AuditKind::MembershipAdded, None)];
    for Tested { name, store, .. } in &stores().await {
        for (id, login) in [("u1", "anna"), ("u2", "bert"), ("u3", "carl")] {
            assert_eq!(
                change(&**store, UserChange::Insert(user(id, login))).await,
                Changed::Done,
                "{name}"
            );
        }
        let set = async |id: &str, group: &str, is_member| {
            let set = store.set_membership(&user_id(id), group, is_member, &records).await;
            set.expect("writes");
            let query = AuditQuery {
                limit: 99,
                ..AuditQuery::default()
            };
            store.audit_entries(&query).await.expect("reads").len()
        };
        assert_eq!(set("u2", "tellers", true).await, 1, "{name}");
        assert_eq!(set("u1", "tellers", true).await, 2, "{name}");
        assert_eq!(set("u1", "auditors", true).await, 3, "{name}");
        // Done already, or by nobody: no change, no record.
        assert_eq!(set("u1", "tellers", true).await, 3, "{name}");
        assert_eq!(set("u3", "tellers", false).await, 3, "{name}");
        assert_eq!(set("nobody", "tellers", true).await, 3, "{name}");

        let members = async |after: Option<&str>, limit| {
            let after = after.map(user_id);
            let users = store.members("tellers", after.as_ref(), limit).await.expect("reads");
            ids(&users).join(" ")
        };
        assert_eq!(members(None, 9).await, "u1 u2", "{name}");
        assert_eq!(members(Some("u1"), 9).await, "u2", "{name}");
        assert_eq!(members(None, 1).await, "u1", "{name}");
        assert_eq!(
            store.groups_of(&user_id("u1")).await.expect("reads"),
            ["auditors", "tellers"],
            "{name}"
        );
        let (person, groups) = store.person(&user_id("u1")).await.expect("reads").expect("is there");
        let login = (person.id.as_str(), person.login.as_str());
        assert_eq!(
            (login, groups.join(" ")),
            (("u1", "anna"), "auditors tellers".to_owned()),
            "{name}"
        );
        let nobody = store.person(&user_id("nobody")).await.expect("reads");
        assert!(nobody.is_none(), "{name}");

        assert_eq!(set("u1", "auditors", false).await, 4, "{name}");
        assert_eq!(
            store.groups_of(&user_id("u1")).await.expect("reads"),
            ["tellers"],
            "{name}"
        );
        let gone = UserChange::Remove {
            id: user_id("u1"),
            from: 1,
        };
        assert_eq!(change(&**store, gone).await, Changed::Done, "{name}");
        assert_eq!(members(None, 9).await, "u2", "{name}");
        // Who comes back under the identifier is in nothing.
        assert_eq!(
            change(&**store, UserChange::Insert(user("u1", "anna"))).await,
            Changed::Done,
            "{name}"
        );
        assert!(
            store.groups_of(&user_id("u1")).await.expect("reads").is_empty(),
            "{name}"
        );
        let person = store.person(&user_id("u1")).await.expect("reads").expect("is there");
        assert_eq!(person.1, [""; 0], "{name}");
    }
}

#[tokio::test]
async fn a_user_changes_with_facts_and_records_or_not_at_all() {
    let facts = [Revocation::Server {
        server: server(),
        before: at(5),
    }];
    let records = [event(AuditKind::UserDeactivated, Some("e-9"))];
    for Tested { name, store, .. } in &stores().await {
        let replace = UserChange::Replace {
            user: user("u1", "anna"),
            from: 1,
        };
        let overtaken = store.change_user(&replace, &facts, &records).await.expect("answers");
        assert_eq!(overtaken, Changed::Overtaken, "{name}");
        assert_eq!(
            store.revocations_after(Cursor::default(), 9).await.expect("reads"),
            [],
            "{name}"
        );
        assert_eq!(store.audit_of_error("e-9").await.expect("reads"), [], "{name}");
        let insert = UserChange::Insert(user("u1", "anna"));
        let done = store.change_user(&insert, &facts, &records).await.expect("writes");
        assert_eq!(done, Changed::Done, "{name}");
        assert_eq!(
            store.revocations_after(Cursor::default(), 9).await.expect("reads")[0].1,
            facts[0],
            "{name}"
        );
        assert_eq!(store.audit_of_error("e-9").await.expect("reads"), records, "{name}");
    }
}
