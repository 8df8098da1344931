//! People with a past: what they hold was given when they were let in.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};

use super::{Grant, Request};
use crate::issuer::fixture::TestIssuer;
use crate::jose::alg::Algorithm;
use crate::jose::forge::{forge, key};
use crate::model::id::{Subject, UserId};
use crate::model::location::Located;
use crate::model::scope::ScopeSet;
use crate::oauth::declared::{
    AuthorizationServerDeclaration, ClientDeclaration, ClientKind, Consent, IssuerDeclaration, KeysDeclaration,
    RefreshDeclaration, TrustedIssuerDeclaration,
};
use crate::oauth::grant::GrantType;
use crate::oauth::refresh::{GrantRecord, RefreshToken, Shown, new_grant_id};
use crate::oauth::sample::{client, client_id, policy, rule, scope, server, server_id, texts};
use crate::oauth::user::{UserRecord, UserStatus};
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::objects::UserChange;
use crate::store::seal::SealingKey;
use crate::testing::house::{NOW, form};

const IDP: &str = "https://idp.example";

/// Everybody: of the file, and of the store.
pub(super) const ALL: [&str; 7] = [
    "ada@bank.example",
    "bob@bank.example",
    "cy@bank.example",
    "dora@bank.example",
    "eve@bank.example",
    "fay@bank.example",
    "gil@bank.example",
];

/// A user of the store, as of now.
pub(super) struct OfStore {
    pub(super) id: &'static str,
    login: &'static str,
    pub(super) status: UserStatus,
    pub(super) groups: &'static [&'static str],
}

const STORED: [OfStore; 4] = [
    of("u1", ALL[3], UserStatus::Active, &["g1"]),
    of("u2", ALL[4], UserStatus::Suspended, &["g1", "g2"]),
    of("u3", ALL[5], UserStatus::Deprovisioned, &["g1"]),
    of("u4", ALL[6], UserStatus::Active, &[]),
];

const fn of(id: &'static str, login: &'static str, status: UserStatus, groups: &'static [&'static str]) -> OfStore {
    OfStore {
        id,
        login,
        status,
        groups,
    }
}

pub(super) fn of_store(login: &str) -> Option<&'static OfStore> {
    const PEOPLE: &[OfStore] = &STORED;
    PEOPLE.iter().find(|user| user.login == login)
}

/// The server takes the assertions of an issuer, and the tokens of [`source`].
pub(super) fn trust(server: &mut AuthorizationServerDeclaration) {
    let jwks = json!({ "keys": [key(Algorithm::Es256).public_jwk()] });
    server.options.trusted_issuers = vec![TrustedIssuerDeclaration {
        issuer: Located::nowhere(IDP.to_owned()),
        keys: KeysDeclaration::Jwks(Located::nowhere(jwks)),
        subject_claim: None,
        allow_private_addresses: false,
    }];
    server.options.associated_servers = vec![Located::nowhere(server_id("source"))];
}

/// Where the tokens come from that are exchanged: they live as long as a token may.
pub(super) fn source() -> AuthorizationServerDeclaration {
    let mut rule = rule("any", &["refresh_token"], &[], None, 86_400);
    rule.refresh_token = Some(RefreshDeclaration {
        lifetime: Duration::from_secs(30 * 86_400),
        idle: None,
    });
    server(
        "source",
        vec![scope("a", Consent::Implicit, true)],
        vec![policy("any", Some(&["origin"]), vec![rule])],
    )
}

/// Whom the tokens of [`source`] are given to: everybody may use it at first.
pub(super) fn origin() -> ClientDeclaration {
    let mut origin = client("origin", ClientKind::Native, &["authorization_code", "refresh_token"]);
    origin.assigned_groups = texts(&["g1"]);
    origin.assigned_users = texts(&ALL[1..3]);
    origin
}

/// Whom the tokens of [`source`] are shown to.
pub(super) fn broker(mut client: ClientDeclaration) -> ClientDeclaration {
    client.options.audiences = texts(&["https://api.bank.example/source"]);
    client
}

/// What people hold.
pub(super) struct Earlier {
    store: Arc<dyn Store>,
    sealing: Arc<SealingKey>,
    access_tokens: BTreeMap<&'static str, String>,
    count: Cell<u32>,
}

impl Earlier {
    /// Everybody is let in and gets a token; then it becomes now.
    pub(super) async fn begin(declared: IssuerDeclaration) -> (TestIssuer, Self) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let sealing = Arc::new(SealingKey::generate().0);
        for user in &STORED {
            let active = record(user, UserStatus::Active, 1);
            let made = store.change_user(&UserChange::Insert(active), &[], &[]).await;
            assert_eq!(made.expect("kept"), crate::store::Changed::Done);
            let id = UserId::parse(user.id).expect("valid");
            store.set_membership(&id, "g1", true, &[]).await.expect("kept");
        }
        let test = TestIssuer::on(declared, store.clone(), sealing.clone())
            .await
            .expect("starts");
        let mut earlier = Self {
            store,
            sealing,
            access_tokens: BTreeMap::new(),
            count: Cell::new(0),
        };
        for login in ALL {
            let grant = Grant {
                began_by: GrantType::Password,
                scopes: ScopeSet::parse("a").expect("valid"),
            };
            let token = earlier.grant("source", "origin", login, &grant).await;
            let body = format!("grant_type=refresh_token&client_id=origin&refresh_token={token}");
            let answer = test.issuer.token("source", &form(&body)).await.expect("granted");
            earlier
                .access_tokens
                .insert(login, answer.access_token.expose_secret().clone());
        }
        for user in &STORED {
            let change = UserChange::Replace {
                user: record(user, user.status, 2),
                from: 1,
            };
            let changed = earlier.store.change_user(&change, &[], &[]).await;
            assert_eq!(changed.expect("kept"), crate::store::Changed::Done);
            let id = UserId::parse(user.id).expect("valid");
            for group in super::GROUPS {
                let is_member = user.groups.contains(&group);
                let changed = earlier.store.set_membership(&id, group, is_member, &[]).await;
                changed.expect("kept");
            }
        }
        (test, earlier)
    }

    /// The refresh token of a grant that this user gave to the client of the request.
    pub(super) async fn refresh_token(&self, request: &Request, login: &str, grant: &Grant) -> String {
        self.grant(request.server, request.client, login, grant).await
    }

    async fn grant(&self, server: &str, client: &str, login: &str, grant: &Grant) -> String {
        let id = new_grant_id(grant.began_by, &format!("grant{}", self.next()));
        let user = of_store(login).map_or(login, |user| user.id);
        let far = NOW.plus(Duration::from_secs(365 * 86_400));
        let record = GrantRecord {
            id: id.clone(),
            server: server_id(server),
            client: client_id(client),
            user: Some(UserId::parse(user).expect("valid")),
            subject: Subject::parse(login).expect("valid"),
            scopes: grant.scopes.clone(),
            resources: Vec::new(),
            auth_time: NOW,
            amr: Vec::new(),
            acr: None,
            binding: None,
            created_at: NOW,
            expires_at: far,
            generation: 0,
            rotated_at: NOW,
            idle_expires_at: far,
            revoked_at: None,
        };
        self.store.insert_grant(&record).await.expect("kept");
        let shown = Shown::Generation(0);
        let digest = self
            .sealing
            .mac(RefreshToken::PURPOSE, &RefreshToken::message(&id, shown));
        RefreshToken::text(&id, shown, &digest).expose_secret().clone()
    }

    /// What the trusted issuer says of this user: one who signs in now.
    pub(super) fn assertion(&self, server: &str, login: &str) -> String {
        let key = key(Algorithm::Es256);
        let header = json!({ "alg": "ES256", "kid": key.kid().as_str(), "typ": "JWT" });
        let now = NOW.unix_seconds();
        let claims = json!({
            "iss": IDP, "sub": login, "aud": format!("https://127.0.0.1:8443/oauth2/{server}"), "iat": now,
            "exp": now + 60, "auth_time": now, "jti": format!("a{}", self.next()),
        });
        forge(key, &header.to_string(), &claims.to_string())
    }

    /// The token that this user got at the source.
    pub(super) fn access_token(&self, login: &str) -> &str {
        &self.access_tokens[login]
    }

    fn next(&self) -> u32 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }
}

fn record(user: &OfStore, status: UserStatus, revision: i64) -> UserRecord {
    UserRecord {
        id: UserId::parse(user.id).expect("valid"),
        login: user.login.to_owned(),
        status,
        profile: Map::new(),
        password: None,
        revision,
        created_at: NOW,
        updated_at: NOW,
    }
}
