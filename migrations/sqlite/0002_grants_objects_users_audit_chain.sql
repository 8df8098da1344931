-- Grants that live on. A row per grant, whatever number of tokens came of it: no token is kept, not
-- even its hash. `generation` says which refresh token is current.
CREATE TABLE oauth_grant (
    id              TEXT    NOT NULL PRIMARY KEY,
    server          TEXT    NOT NULL,
    client          TEXT    NOT NULL,
    user_id         TEXT,
    subject         TEXT    NOT NULL,
    scopes          TEXT    NOT NULL,
    resources       TEXT    NOT NULL,
    auth_time       INTEGER NOT NULL,
    amr             TEXT    NOT NULL,
    acr             TEXT,
    binding         TEXT    CHECK (binding IN ('dpop', 'certificate')),
    binding_digest  BLOB    CHECK ((binding_digest IS NULL) = (binding IS NULL)),
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    generation      INTEGER NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),
    rotated_at      INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL,
    revoked_at      INTEGER
) STRICT;

CREATE INDEX oauth_grant_user ON oauth_grant (user_id, id) WHERE user_id IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX oauth_grant_client ON oauth_grant (client, id) WHERE revoked_at IS NULL;
CREATE INDEX oauth_grant_end ON oauth_grant (MIN(expires_at, idle_expires_at));
CREATE INDEX oauth_grant_revoked ON oauth_grant (revoked_at) WHERE revoked_at IS NOT NULL;

-- Codes and the like, by the digest of their text. `used_by` is the grant that came of it: who comes
-- second is told of it, and it is revoked.
CREATE TABLE one_time (
    kind       TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    payload    TEXT    NOT NULL,
    used_by    TEXT,
    PRIMARY KEY (kind, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX one_time_expiry ON one_time (expires_at);

-- What was shown once and must not be shown again.
CREATE TABLE seen (
    purpose     TEXT    NOT NULL,
    digest      BLOB    NOT NULL,
    seen_until  INTEGER NOT NULL,
    PRIMARY KEY (purpose, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX seen_expiry ON seen (seen_until);

-- Failed attempts one after the other, under a keyed digest of who failed.
CREATE TABLE failure (
    name         BLOB    NOT NULL PRIMARY KEY,
    attempts     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    counts_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX failure_expiry ON failure (counts_until);

-- What administrators make, few enough that each node holds all of it.
CREATE TABLE object (
    kind       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

-- One row: it moves on with each change of objects, so that a node sees that another one made it.
CREATE TABLE object_generation (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL
) STRICT;

INSERT INTO object_generation (one, generation) VALUES (1, 0);

-- The directory. `password` is a PHC text of Argon2id.
CREATE TABLE directory_user (
    id         TEXT    NOT NULL PRIMARY KEY,
    login      TEXT    NOT NULL UNIQUE,
    status     TEXT    NOT NULL,
    profile    TEXT    NOT NULL,
    password   TEXT,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE membership (
    group_id TEXT NOT NULL,
    user_id  TEXT NOT NULL REFERENCES directory_user (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX membership_user ON membership (user_id, group_id);

-- The durable records, each with the digest of the one before it.
CREATE TABLE audit_entry (
    sequence    INTEGER NOT NULL PRIMARY KEY,
    at          INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    server      TEXT,
    client      TEXT,
    error_id    TEXT,
    actor       TEXT,
    target_kind TEXT,
    target_id   TEXT,
    detail      TEXT    NOT NULL,
    previous    BLOB    NOT NULL,
    hash        BLOB    NOT NULL
) STRICT;

CREATE INDEX audit_entry_error_id ON audit_entry (error_id) WHERE error_id IS NOT NULL;

-- A mistake of ours cannot rewrite what happened. Who owns the file can; the chain shows it.
CREATE TRIGGER audit_entry_stays BEFORE UPDATE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_entry_is_kept BEFORE DELETE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- Denials: they change nothing and there is no end of them, so only the newest are kept.
CREATE TABLE audit_denial (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    server      TEXT,
    client      TEXT,
    error_id    TEXT,
    actor       TEXT,
    target_kind TEXT,
    target_id   TEXT,
    detail      TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_denial_error_id ON audit_denial (error_id) WHERE error_id IS NOT NULL;

-- The table of step 1 held both. Its durable records are chained by the program (a digest has no
-- spelling in SQL), which then drops it.
INSERT INTO audit_denial (at, kind, server, client, error_id, detail)
SELECT at, kind, server, client, error_id, detail FROM audit WHERE kind = 'app.oauth2.as.authorize' ORDER BY id;

DELETE FROM audit WHERE kind = 'app.oauth2.as.authorize';
