-- trialbridge, schema 1.
--
-- Reading guide for an auditor: the inbox holds what came in, byte for byte; record, quarantine,
-- decision, fact and gap are worked out from it and can be rebuilt; allocation and audit are for
-- ever. All times are UTC, RFC 3339. All hashes are SHA-256 in lower-case hex.

-- ---------------------------------------------------------------------------------------------
-- What came in. A row is on disk before its sender is answered, and is never changed afterwards.
CREATE TABLE inbox (
    seq         INTEGER PRIMARY KEY,             -- order of arrival; also the number of the receipt
    received_at TEXT    NOT NULL,
    origin      TEXT    NOT NULL,                -- pull, import, push, attestation, consent, ...
    source      TEXT    NOT NULL,                -- which server, file or person
    media_type  TEXT    NOT NULL,
    sha256      TEXT    NOT NULL CHECK (length(sha256) = 64),
    bytes       BLOB    NOT NULL,                -- exactly as received
    state       TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'processed', 'quarantined')),
    attempts    INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    UNIQUE (origin, source, sha256)
) STRICT;
CREATE INDEX inbox_by_state ON inbox (state, seq);

CREATE TRIGGER inbox_is_never_edited BEFORE UPDATE OF received_at, origin, source, media_type, sha256, bytes ON inbox
BEGIN SELECT RAISE(ABORT, 'an inbox row is never edited: only its state and attempts change'); END;
CREATE TRIGGER inbox_is_never_renumbered BEFORE UPDATE ON inbox WHEN NEW.seq <> OLD.seq
BEGIN SELECT RAISE(ABORT, 'an inbox row is never renumbered'); END;
CREATE TRIGGER inbox_is_never_deleted BEFORE DELETE ON inbox
BEGIN SELECT RAISE(ABORT, 'an inbox row is never deleted'); END;

-- ---------------------------------------------------------------------------------------------
-- Every version of every resource that was seen, and which of them stands.
CREATE TABLE record_history (
    seq           INTEGER PRIMARY KEY,
    source        TEXT    NOT NULL,
    resource_type TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    version_id    TEXT,                          -- meta.versionId or the ETag, if the source gives one
    last_updated  TEXT,                          -- meta.lastUpdated as received
    subject       TEXT,                          -- for example Patient/p1
    deleted       INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    inbox_seq     INTEGER NOT NULL REFERENCES inbox (seq),  -- the first inbox row that carried this version
    path          TEXT    NOT NULL,              -- where in that row, for example Bundle.entry[3]
    sha256        TEXT    NOT NULL CHECK (length(sha256) = 64),
    body          BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_history_once ON record_history
    (source, resource_type, id, sha256, deleted, ifnull(version_id, ''), ifnull(last_updated, ''), ifnull(subject, ''));
CREATE INDEX record_history_by_subject ON record_history (subject) WHERE subject IS NOT NULL;
CREATE INDEX record_history_by_inbox ON record_history (inbox_seq);

CREATE TABLE record (
    source        TEXT    NOT NULL,
    resource_type TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    version_id    TEXT,
    last_updated  TEXT,
    subject       TEXT,
    state         TEXT    NOT NULL CHECK (state IN ('current', 'deleted', 'conflict')),
    inbox_seq     INTEGER NOT NULL REFERENCES inbox (seq),
    path          TEXT    NOT NULL,
    sha256        TEXT    NOT NULL,
    history_seq   INTEGER NOT NULL REFERENCES record_history (seq),  -- the version that stands; its body is there
    PRIMARY KEY (source, resource_type, id)
) STRICT;
CREATE INDEX record_by_subject ON record (subject, source, resource_type, id);
CREATE INDEX record_in_conflict ON record (source, resource_type, id) WHERE state = 'conflict';
CREATE INDEX record_by_history ON record (history_seq);

-- The body of the version that stands, for reading with SQL.
CREATE VIEW record_body AS
    SELECT r.*, h.body FROM record r JOIN record_history h ON h.seq = r.history_seq;

-- Subjects whose decision has to be made again.
CREATE TABLE dirty_subject (
    subject TEXT    PRIMARY KEY,
    since   TEXT    NOT NULL,
    change  INTEGER NOT NULL                     -- number of the latest change; see change_counter
) STRICT;
CREATE TABLE change_counter (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO change_counter (id, value) VALUES (1, 0);

-- What could not be used, with its bytes and the reason.
CREATE TABLE quarantine (
    id        INTEGER PRIMARY KEY,
    inbox_seq INTEGER NOT NULL REFERENCES inbox (seq),
    reason    TEXT    NOT NULL,                  -- code from the fixed list in the documentation
    path      TEXT    NOT NULL,                  -- element or segment; empty: the whole inbox row
    sha256    TEXT    NOT NULL CHECK (length(sha256) = 64),
    bytes     BLOB,                              -- of the entry; NULL: the bytes are those of the inbox row
    state     TEXT    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved')),
    at        TEXT    NOT NULL,
    UNIQUE (inbox_seq, path, reason)
) STRICT;
CREATE INDEX quarantine_by_state ON quarantine (state, id);

-- ---------------------------------------------------------------------------------------------
-- What was decided about a subject. A decision is appended when it differs from the one before.
CREATE TABLE decision (
    seq        INTEGER PRIMARY KEY,
    subject    TEXT    NOT NULL,
    as_of      TEXT    NOT NULL,                 -- the day the criteria were evaluated for
    decided_at TEXT    NOT NULL,
    decision   TEXT    NOT NULL,                 -- eligible, ineligible, undetermined
    deciding   TEXT    NOT NULL,                 -- JSON array: the criteria that settled it
    definition TEXT    NOT NULL,                 -- hash of the trial definition used
    input      TEXT    NOT NULL,                 -- hash of the versioned inputs used
    json       TEXT    NOT NULL                  -- everything, as the screen command prints it
) STRICT;
CREATE INDEX decision_by_subject ON decision (subject, seq);
CREATE TRIGGER decision_is_never_edited BEFORE UPDATE ON decision
BEGIN SELECT RAISE(ABORT, 'a decision is never edited: a later one is appended'); END;
CREATE TRIGGER decision_is_never_deleted BEFORE DELETE ON decision
BEGIN SELECT RAISE(ABORT, 'a decision is never deleted'); END;

CREATE TABLE decision_current (
    subject      TEXT    PRIMARY KEY,
    decision_seq INTEGER NOT NULL REFERENCES decision (seq)
) STRICT;

-- The variables behind a subject's current decision, one row each.
CREATE TABLE fact (
    subject       TEXT    NOT NULL,
    position      INTEGER NOT NULL,              -- order as given, from 0
    variable      TEXT    NOT NULL,
    value         TEXT    NOT NULL,              -- canonical, as text: decimals keep their digits
    unit          TEXT,                          -- canonical UCUM unit
    effective     TEXT,                          -- clinical time, as precise as received
    source        TEXT    NOT NULL,              -- versioned reference, for example Observation/o1/_history/2
    received      TEXT,                          -- value as received
    received_unit TEXT,
    PRIMARY KEY (subject, position)
) STRICT;
CREATE INDEX fact_by_variable ON fact (variable, subject);

-- What of a subject's data could not be used, and why.
CREATE TABLE gap (
    subject   TEXT    NOT NULL,
    position  INTEGER NOT NULL,
    reference TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    path      TEXT    NOT NULL,
    PRIMARY KEY (subject, position)
) STRICT;
CREATE INDEX gap_by_reason ON gap (reason, subject);

-- ---------------------------------------------------------------------------------------------
-- Randomization. The slots are sealed: the key is not in this directory.
CREATE TABLE allocation_list (
    id         TEXT    PRIMARY KEY,
    trial      TEXT    NOT NULL UNIQUE,          -- one list a trial
    definition TEXT    NOT NULL,                 -- hash of the trial definition the list was made for
    commitment TEXT    NOT NULL,                 -- salted hash of the whole list, recorded before the first subject
    total      INTEGER NOT NULL CHECK (total > 0),
    created_at TEXT    NOT NULL,
    json       TEXT    NOT NULL                  -- the public part
) STRICT;
CREATE TABLE allocation_slot (
    list_id  TEXT    NOT NULL REFERENCES allocation_list (id),
    position INTEGER NOT NULL CHECK (position >= 1),
    sealed   BLOB    NOT NULL,
    PRIMARY KEY (list_id, position)
) STRICT;
CREATE TABLE allocation (
    id              TEXT    PRIMARY KEY,
    list_id         TEXT    NOT NULL,
    position        INTEGER NOT NULL,
    subject         TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL UNIQUE,
    arm             TEXT    NOT NULL,
    salt            TEXT    NOT NULL,
    proof           TEXT    NOT NULL,            -- JSON: ties this slot to the commitment
    decision_seq    INTEGER NOT NULL REFERENCES decision (seq),
    decided_input   TEXT    NOT NULL,            -- input hash of that decision
    definition      TEXT    NOT NULL,            -- trial definition of that decision
    actor           TEXT    NOT NULL,
    at              TEXT    NOT NULL,
    UNIQUE (list_id, position),
    UNIQUE (list_id, subject),
    FOREIGN KEY (list_id, position) REFERENCES allocation_slot (list_id, position)
) STRICT;

CREATE TRIGGER allocation_follows_the_list BEFORE INSERT ON allocation
    WHEN NEW.position <> (SELECT ifnull(max(position), 0) + 1 FROM allocation WHERE list_id = NEW.list_id)
BEGIN SELECT RAISE(ABORT, 'an allocation takes the next position of its list, no other'); END;
CREATE TRIGGER allocation_is_never_edited BEFORE UPDATE ON allocation
BEGIN SELECT RAISE(ABORT, 'an allocation is never edited'); END;
CREATE TRIGGER allocation_is_never_deleted BEFORE DELETE ON allocation
BEGIN SELECT RAISE(ABORT, 'an allocation is never deleted'); END;
CREATE TRIGGER allocation_slot_is_never_edited BEFORE UPDATE ON allocation_slot
BEGIN SELECT RAISE(ABORT, 'a slot is never edited'); END;
CREATE TRIGGER allocation_slot_is_never_deleted BEFORE DELETE ON allocation_slot
BEGIN SELECT RAISE(ABORT, 'a slot is never deleted'); END;
CREATE TRIGGER allocation_list_is_never_edited BEFORE UPDATE ON allocation_list
BEGIN SELECT RAISE(ABORT, 'an allocation list is never edited'); END;
CREATE TRIGGER allocation_list_is_never_deleted BEFORE DELETE ON allocation_list
BEGIN SELECT RAISE(ABORT, 'an allocation list is never deleted'); END;

-- ---------------------------------------------------------------------------------------------
-- What the hospital has still to be told, and what it is known to hold.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY,
    kind       TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    state      TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'needs-human')),
    attempts   INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_error TEXT,                             -- a code and a place, never a patient's data
    done_at    TEXT
) STRICT;
CREATE INDEX outbox_by_state ON outbox (state, id);

CREATE TABLE known_id (
    server    TEXT NOT NULL,
    kind      TEXT NOT NULL,
    key       TEXT NOT NULL,                     -- our name for the thing
    remote_id TEXT NOT NULL,                     -- the server's id of it
    etag      TEXT,
    PRIMARY KEY (server, kind, key)
) STRICT;

-- ---------------------------------------------------------------------------------------------
-- Who did what. Each row carries the hash of the row before it.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at       TEXT NOT NULL,
    actor    TEXT NOT NULL,
    role     TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT,
    detail   TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash     TEXT NOT NULL UNIQUE
) STRICT;
CREATE TRIGGER audit_has_no_hole BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit) AND NEW.sequence <> (SELECT max(sequence) + 1 FROM audit)
BEGIN SELECT RAISE(ABORT, 'an audit entry follows the one before it'); END;
CREATE TRIGGER audit_is_never_edited BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'an audit entry is never edited'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'an audit entry is never deleted'); END;

-- ---------------------------------------------------------------------------------------------
-- How far each pull has come; small facts about this installation.
CREATE TABLE cursor (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
