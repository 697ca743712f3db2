-- Inbox rows that are kept as evidence: nothing is ever worked out from them, also not by a replay.
CREATE TABLE inbox_aside (
    inbox_seq INTEGER PRIMARY KEY REFERENCES inbox (seq),
    reason    TEXT    NOT NULL,                  -- code from the fixed list in the documentation
    path      TEXT    NOT NULL                   -- element; empty: the whole row
) STRICT;

-- The FHIR Subscriptions that we hold at hospital servers, and how far their notifications have come.
-- The secret that a server has to send is kept as its hash only.
CREATE TABLE subscription (
    id                TEXT    PRIMARY KEY,       -- the last part of the endpoint: /hook/{id}
    server            TEXT    NOT NULL,          -- base URL, as the pull names its source
    remote_id         TEXT,                      -- the id that the server gave it
    kind              TEXT    NOT NULL CHECK (kind IN ('rest-hook', 'topic')),
    release           TEXT    NOT NULL,          -- R4, R4B, R5: the shape it was posted in
    watches           TEXT    NOT NULL,          -- criteria such as Observation?, or the topic's URL
    payload           TEXT    NOT NULL CHECK (payload IN ('none', 'id-only', 'full')),
    endpoint          TEXT    NOT NULL,
    secret_sha256     TEXT    NOT NULL CHECK (length(secret_sha256) = 64),
    heartbeat_seconds INTEGER CHECK (heartbeat_seconds > 0),
    created_at        TEXT    NOT NULL,
    state             TEXT    NOT NULL CHECK (state IN ('planned', 'requested', 'active', 'error', 'off', 'deleted')),
    handshake_at      TEXT,                      -- latest handshake
    last_heard_at     TEXT,                      -- latest notification of any kind
    last_heartbeat_at TEXT,
    -- Numbers are those of this epoch; a new one begins when the server was found to count anew and
    -- everything was read again.
    epoch             INTEGER NOT NULL DEFAULT 0,
    complete_to       INTEGER NOT NULL DEFAULT 0 CHECK (complete_to >= 0),
    highest           INTEGER NOT NULL DEFAULT 0 CHECK (highest >= complete_to),
    gap_since         TEXT,                      -- since when a number is missing
    renumbered_at     TEXT,                      -- when it was noticed that the server counts anew
    silent_since      TEXT,                      -- when it was noticed that nothing comes any more
    pull_wanted_at    TEXT,                      -- something changed, nothing was said of what
    repaired_at       TEXT                       -- when everything missed had been read again
) STRICT;

-- What was told of each event. Never removed: a number that means another event later shows that the
-- server counts anew.
CREATE TABLE subscription_event (
    subscription TEXT    NOT NULL REFERENCES subscription (id),
    epoch        INTEGER NOT NULL,
    number       INTEGER NOT NULL CHECK (number > 0),
    focus        TEXT,
    first_at     INTEGER,                        -- milliseconds since 1970: earliest time told
    last_at      INTEGER,                        -- latest time told
    PRIMARY KEY (subscription, epoch, number)
) STRICT, WITHOUT ROWID;

-- Resources that a notification named without bringing them; read by id, then removed.
CREATE TABLE subscription_wanted (
    subscription  TEXT    NOT NULL REFERENCES subscription (id),
    resource_type TEXT    NOT NULL,
    resource_id   TEXT    NOT NULL,
    asked_at      TEXT    NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (subscription, resource_type, resource_id)
) STRICT, WITHOUT ROWID;
