-- Names and texts compare by bytes (COLLATE "C"), as the other stores do, whatever the database was made with.

-- Numbers that move on with each change of a kind. Who changes takes the row's lock until its transaction ends, so
-- that a number is never seen before a lower one: a reader that goes on from the last number misses nothing.
CREATE TABLE counter (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counter (name, value) VALUES ('keys', 0), ('objects', 0), ('revocations', 0);

-- What is true of the database as a whole, such as a digest of the key that seals the private keys in it.
CREATE TABLE meta (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Signing keys of each authorization server. `sealed` is the private key under AES-256-GCM: without
-- the sealing key a dump of this table signs nothing.
CREATE TABLE signing_key (
    server       TEXT COLLATE "C" NOT NULL,
    kid          TEXT COLLATE "C" NOT NULL,
    algorithm    TEXT   NOT NULL,
    state        TEXT   NOT NULL CHECK (state IN ('next', 'active', 'expired')),
    created_at   BIGINT NOT NULL,
    entered_at   BIGINT NOT NULL,
    lifetime_max BIGINT NOT NULL,
    sealed       BYTEA  NOT NULL,
    PRIMARY KEY (server, kid)
);

-- Two signers at once would make rotation ambiguous; the database itself refuses it.
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (server) WHERE state = 'active';

-- What is dead. A fact that is told again gets a new cursor, so that who reads on from an old one
-- sees it; `since` is the `before` of the fact, and for a single token its `exp`.
CREATE TABLE revocation (
    cursor     BIGINT PRIMARY KEY,
    kind       TEXT   NOT NULL CHECK (kind IN ('token', 'session', 'subject', 'client', 'assignment', 'key', 'server')),
    server     TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    since      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    UNIQUE (kind, server, name)
);

CREATE INDEX revocation_expiry ON revocation (expires_at);

-- Grants that live on. Refresh tokens are not kept: the row has the generation that is current.
CREATE TABLE issued_grant (
    id              TEXT COLLATE "C" PRIMARY KEY,
    server          TEXT COLLATE "C" NOT NULL,
    client          TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C",
    subject         TEXT   NOT NULL,
    scopes          TEXT   NOT NULL,
    resources       TEXT   NOT NULL,
    auth_time       BIGINT NOT NULL,
    amr             TEXT   NOT NULL,
    acr             TEXT,
    binding         TEXT CHECK (binding IN ('dpop', 'certificate')),
    binding_digest  BYTEA CHECK ((binding IS NULL) = (binding_digest IS NULL)),
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    generation      BIGINT NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),
    rotated_at      BIGINT NOT NULL,
    idle_expires_at BIGINT NOT NULL,
    revoked_at      BIGINT
);

CREATE INDEX issued_grant_of_client ON issued_grant (client, id);
CREATE INDEX issued_grant_of_user ON issued_grant (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX issued_grant_of_server ON issued_grant (server, id);
CREATE INDEX issued_grant_end ON issued_grant (LEAST(expires_at, idle_expires_at));
CREATE INDEX issued_grant_revoked ON issued_grant (revoked_at) WHERE revoked_at IS NOT NULL;

-- Things that are good for one use, by the digest of their text. `payload` is JSON.
CREATE TABLE one_time (
    kind       TEXT   NOT NULL,
    digest     BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL,
    payload    TEXT   NOT NULL,
    used_by    TEXT COLLATE "C",
    PRIMARY KEY (kind, digest)
);

CREATE INDEX one_time_expiry ON one_time (expires_at);

-- What was shown once, and must not be again until then.
CREATE TABLE seen (
    purpose    TEXT   NOT NULL,
    digest     BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (purpose, digest)
);

CREATE INDEX seen_expiry ON seen (expires_at);

-- Failed attempts, one after the other.
CREATE TABLE failure (
    digest     BYTEA PRIMARY KEY,
    count      BIGINT NOT NULL,
    last_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX failure_expiry ON failure (expires_at);

-- What administrators make. `body` is JSON; `revision` moves on by one with each change.
CREATE TABLE object (
    kind       TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    revision   BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);

-- The directory. `login` is in lower case; `password` is a PHC text of Argon2id.
CREATE TABLE directory_user (
    id         TEXT COLLATE "C" PRIMARY KEY,
    login      TEXT COLLATE "C" NOT NULL UNIQUE,
    status     TEXT   NOT NULL,
    profile    TEXT   NOT NULL,
    password   TEXT,
    revision   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE membership (
    user_id  TEXT COLLATE "C" NOT NULL REFERENCES directory_user (id) ON DELETE CASCADE,
    group_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, group_id)
);

CREATE INDEX membership_of_group ON membership (group_id, user_id);

-- The audit log: append only, each entry with the digest of the one before it.
CREATE TABLE audit_entry (
    sequence    BIGINT PRIMARY KEY,
    at          BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    server      TEXT,
    client      TEXT,
    error_id    TEXT COLLATE "C",
    actor       TEXT,
    target_kind TEXT,
    target_id   TEXT,
    detail      TEXT   NOT NULL,
    previous    BYTEA  NOT NULL,
    hash        BYTEA  NOT NULL
);

-- A mistake of ours cannot rewrite what happened. Who owns the database can; the chain shows it.
CREATE FUNCTION audit_entry_is_kept() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;

CREATE TRIGGER audit_entry_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
EXECUTE FUNCTION audit_entry_is_kept();

CREATE INDEX audit_entry_at ON audit_entry (at);
CREATE INDEX audit_entry_error_id ON audit_entry (error_id) WHERE error_id IS NOT NULL;

-- The end of that chain, in one row that each writer locks: entries have no gaps and one order.
CREATE TABLE audit_head (
    one      BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    sequence BIGINT NOT NULL,
    hash     BYTEA  NOT NULL
);

INSERT INTO audit_head (sequence, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- Denials, apart from that log: they change nothing, and the oldest go first.
CREATE TABLE denial (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    server      TEXT,
    client      TEXT,
    error_id    TEXT COLLATE "C",
    actor       TEXT,
    target_kind TEXT,
    target_id   TEXT,
    detail      TEXT   NOT NULL
);

CREATE INDEX denial_error_id ON denial (error_id) WHERE error_id IS NOT NULL;
