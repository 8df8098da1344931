//! Declarations for tests: the bank of the examples, and the parts to build others from.

use std::time::Duration;

use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::location::{Located, Location};
use crate::model::secret::Secret;
use crate::oauth::declared::{
    AuthorizationServerDeclaration, ClaimDeclaration, ClaimPlace, ClientDeclaration, ClientKind, ClientOptions,
    ClientSecretDeclaration, Consent, IssuerDeclaration, PolicyClients, PolicyDeclaration, RefreshDeclaration,
    RuleDeclaration, RuleScopes, ScopeDeclaration, ServerOptions, SigningDeclaration, TokenProfile, UserDeclaration,
};

pub(crate) fn text(value: &str) -> Located<String> {
    Located::nowhere(value.to_owned())
}

pub(crate) fn texts(values: &[&str]) -> Vec<Located<String>> {
    values.iter().map(|value| text(value)).collect()
}

pub(crate) fn server_id(id: &str) -> AuthorizationServerId {
    AuthorizationServerId::parse(id).expect("a name")
}

pub(crate) fn client_id(id: &str) -> ClientId {
    ClientId::parse(id).expect("an identifier")
}

pub(crate) fn scope(name: &str, consent: Consent, default: bool) -> ScopeDeclaration {
    ScopeDeclaration {
        name: text(name),
        description: None,
        consent,
        default,
        metadata: default,
    }
}

pub(crate) fn claim(name: &str, value: &str, scopes: &[&str]) -> ClaimDeclaration {
    ClaimDeclaration {
        name: text(name),
        value: text(value),
        place: ClaimPlace::AccessToken,
        scopes: texts(scopes),
    }
}

pub(crate) fn rule(
    name: &str,
    grants: &[&str],
    groups: &[&str],
    scopes: Option<&[&str]>,
    seconds: u64,
) -> RuleDeclaration {
    RuleDeclaration {
        name: text(name),
        grants: texts(grants),
        groups: texts(groups),
        exclude_groups: Vec::new(),
        users: Vec::new(),
        scopes: scopes.map_or(RuleScopes::Any(Location::default()), |scopes| {
            RuleScopes::Only(texts(scopes))
        }),
        access_token: Located::nowhere(Duration::from_secs(seconds)),
        refresh_token: None,
    }
}

pub(crate) fn policy(name: &str, clients: Option<&[&str]>, rules: Vec<RuleDeclaration>) -> PolicyDeclaration {
    PolicyDeclaration {
        name: text(name),
        clients: clients.map_or(PolicyClients::All(Location::default()), |clients| {
            PolicyClients::Only(texts(clients))
        }),
        rules,
    }
}

pub(crate) fn server(
    id: &str,
    scopes: Vec<ScopeDeclaration>,
    policies: Vec<PolicyDeclaration>,
) -> AuthorizationServerDeclaration {
    AuthorizationServerDeclaration {
        id: Located::nowhere(server_id(id)),
        audience: text(&format!("https://api.bank.example/{id}")),
        signing: SigningDeclaration {
            algorithm: text("ES256"),
            rotate_every: Some(Duration::from_secs(90 * 24 * 3600)),
        },
        token_profile: TokenProfile::Rfc9068,
        scopes,
        claims: Vec::new(),
        policies,
        options: ServerOptions::default(),
    }
}

pub(crate) fn client(id: &str, kind: ClientKind, grants: &[&str]) -> ClientDeclaration {
    let confidential = matches!(kind, ClientKind::Web | ClientKind::Service);
    let signs_in = grants.contains(&"authorization_code");
    let secret = ClientSecretDeclaration {
        location: Location::default(),
        sha256: Digest::of(b"secret"),
    };
    ClientDeclaration {
        id: Located::nowhere(client_id(id)),
        kind,
        kind_location: Location::default(),
        grants: texts(grants),
        redirect_uris: if signs_in {
            texts(&["https://app.example/cb"])
        } else {
            Vec::new()
        },
        secrets: if confidential { vec![secret] } else { Vec::new() },
        assigned_groups: if signs_in { texts(&["customers"]) } else { Vec::new() },
        assigned_users: Vec::new(),
        options: ClientOptions::default(),
    }
}

/// The issuer's part of `examples/bank/scopegate.yaml`.
pub(crate) fn bank() -> IssuerDeclaration {
    let implicit = |name| scope(name, Consent::Implicit, false);
    let mut app = rule(
        "Moving money",
        &["authorization_code", "refresh_token"],
        &["customers"],
        Some(&["transfers:read", "transfers:write"]),
        300,
    );
    app.refresh_token = Some(RefreshDeclaration {
        lifetime: Duration::from_secs(12 * 3600),
        idle: Some(Duration::from_secs(3600)),
    });
    let mut transfers = server(
        "transfers",
        vec![
            implicit("transfers:read"),
            scope("transfers:write", Consent::Required, false),
            implicit("transfers:approve"),
        ],
        vec![
            policy("The bank's own app", Some(&["mobile"]), vec![app]),
            policy(
                "Services",
                Some(&["nightly-batch"]),
                vec![rule(
                    "Reading at night",
                    &["client_credentials"],
                    &[],
                    Some(&["transfers:read"]),
                    600,
                )],
            ),
        ],
    );
    transfers.claims = vec![claim("tier", "user.profile.tier", &["transfers:read"])];
    let mut sync = rule(
        "Read-only sync",
        &["authorization_code", "refresh_token"],
        &["customers"],
        Some(&["transactions:read"]),
        4 * 3600,
    );
    sync.refresh_token = Some(RefreshDeclaration {
        lifetime: Duration::from_secs(90 * 24 * 3600),
        idle: Some(Duration::from_secs(7 * 24 * 3600)),
    });
    let mut transactions = server(
        "transactions",
        vec![implicit("transactions:read")],
        vec![policy(
            "Partners and the app",
            Some(&["quickbooks", "mobile"]),
            vec![sync],
        )],
    );
    transactions.token_profile = TokenProfile::Okta;
    transactions.signing.algorithm = text("RS256");

    let mut mobile = client("mobile", ClientKind::Native, &["authorization_code", "refresh_token"]);
    mobile.redirect_uris = texts(&["com.bank.app:/callback", "http://127.0.0.1/callback"]);
    IssuerDeclaration {
        servers: vec![transfers, transactions],
        clients: vec![
            mobile,
            client("quickbooks", ClientKind::Web, &["authorization_code", "refresh_token"]),
            client("nightly-batch", ClientKind::Service, &["client_credentials"]),
        ],
        groups: texts(&["customers", "tellers", "api-administrators"]),
        users: vec![
            user("ada@bank.example", &["customers"]),
            user("bob@bank.example", &["tellers"]),
        ],
    }
}

pub(crate) fn user(login: &str, groups: &[&str]) -> UserDeclaration {
    UserDeclaration {
        login: text(login),
        password: Secret::new("correct horse".to_owned()),
        groups: texts(groups),
        profile: serde_json::Map::new(),
    }
}
