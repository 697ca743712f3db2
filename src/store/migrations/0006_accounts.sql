-- Who may work here. Names are pseudonymous; what an account did stays in the audit log under its name, so
-- that a name is never given to somebody else and an account is never removed, only disabled.
CREATE TABLE account (
    name         TEXT PRIMARY KEY,               -- such as dr-li; of the identity provider `oidc:` and its `sub`
    printed_name TEXT NOT NULL,                  -- as it stands in signatures
    role         TEXT NOT NULL CHECK (role IN ('coordinator', 'investigator', 'pharmacist', 'statistician',
                                               'monitor', 'administrator')),
    site         TEXT,                           -- whose subjects it sees; none: not bound to a site
    origin       TEXT NOT NULL CHECK (origin IN ('local', 'oidc')),
    password     TEXT,                           -- PHC string of Argon2id; the identity provider keeps its own
    must_change  INTEGER NOT NULL DEFAULT 0 CHECK (must_change IN (0, 1)),
    disabled     INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    failures     INTEGER NOT NULL DEFAULT 0,     -- attempts since the last success; the one that runs counts
    failed_at    TEXT,
    created_at   TEXT NOT NULL,
    changed_at   TEXT NOT NULL,
    CHECK ((origin = 'local') = (password IS NOT NULL))
) STRICT;
CREATE TRIGGER account_keeps_its_name BEFORE UPDATE OF name, origin, created_at ON account
BEGIN SELECT RAISE(ABORT, 'an account keeps its name'); END;
CREATE TRIGGER account_is_never_deleted BEFORE DELETE ON account
BEGIN SELECT RAISE(ABORT, 'an account is disabled, never deleted'); END;

-- Attempts under names that nobody has: throttled like the others, so that no answer tells which names exist.
CREATE TABLE stranger (
    key       TEXT PRIMARY KEY,                  -- salted hash of the name
    failures  INTEGER NOT NULL,
    failed_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX stranger_by_age ON stranger (failed_at);

-- Who is signed in. The token itself is nowhere.
CREATE TABLE session (
    token_sha256 TEXT PRIMARY KEY CHECK (length(token_sha256) = 64),
    account      TEXT NOT NULL REFERENCES account (name),
    created_at   TEXT NOT NULL,
    seen_at      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_account ON session (account);

-- Questions to the identity provider that wait for their answer. Each is answered once.
CREATE TABLE oidc_request (
    state_sha256 TEXT PRIMARY KEY CHECK (length(state_sha256) = 64),
    nonce        TEXT NOT NULL,
    verifier     TEXT NOT NULL,                  -- of PKCE; it proves nothing after the exchange
    purpose      TEXT NOT NULL,                  -- JSON: to sign in, or to sign which record
    created_at   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The latest moment that accounts and sessions have seen.
CREATE TABLE account_clock (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    highest TEXT NOT NULL
) STRICT;
