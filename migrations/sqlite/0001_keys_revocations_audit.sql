-- Signing keys of each authorization server. `sealed` is the private key under AES-256-GCM: without
-- the key file a dump of this table signs nothing.
CREATE TABLE signing_key (
    server       TEXT    NOT NULL,
    kid          TEXT    NOT NULL,
    algorithm    TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('next', 'active', 'expired')),
    created_at   INTEGER NOT NULL,
    entered_at   INTEGER NOT NULL,
    lifetime_max INTEGER NOT NULL,
    sealed       BLOB    NOT NULL,
    PRIMARY KEY (server, kid)
) STRICT, WITHOUT ROWID;

-- Two signers at once would make rotation ambiguous; the database itself refuses it.
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (server) WHERE state = 'active';

-- What is dead. A fact that is told again gets a new cursor, so that who reads on from an old one
-- sees it; `since` is the `before` of the fact, and for a single token its `exp`.
CREATE TABLE revocation (
    cursor     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL CHECK (kind IN ('token', 'session', 'subject', 'client', 'assignment', 'key', 'server')),
    server     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    since      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (kind, server, name)
) STRICT;

CREATE INDEX revocation_expiry ON revocation (expires_at);

-- Append only: nothing updates it, and only the oldest denials are pruned.
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    server   TEXT,
    client   TEXT,
    error_id TEXT,
    detail   TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_error_id ON audit (error_id) WHERE error_id IS NOT NULL;
