-- trialbridge, schema 2: what is pushed to us.

-- ---------------------------------------------------------------------------------------------
-- The key that a sender gave to a message (HL7 v2 MSH-10, FHIR MessageHeader.id). The first row of a
-- key holds it; a later one has other bytes under the same key, and is never processed.
CREATE TABLE message_key (
    inbox_seq INTEGER PRIMARY KEY REFERENCES inbox (seq),
    origin    TEXT NOT NULL,
    source    TEXT NOT NULL,
    key       TEXT NOT NULL
) STRICT;
CREATE INDEX message_key_by_key ON message_key (origin, source, key, inbox_seq);

-- ---------------------------------------------------------------------------------------------
-- Who is who. Worked out from the records.

-- Identifiers that a version of a Patient carries.
CREATE TABLE person_identifier (
    history_seq INTEGER NOT NULL REFERENCES record_history (seq),
    subject     TEXT    NOT NULL,
    system      TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    PRIMARY KEY (history_seq, system, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX person_identifier_by_value ON person_identifier (system, value);
CREATE INDEX person_identifier_by_subject ON person_identifier (subject);

-- What a version of a Patient or Linkage says about two subjects.
CREATE TABLE person_link (
    history_seq INTEGER NOT NULL REFERENCES record_history (seq),
    kind        TEXT    NOT NULL CHECK (kind IN ('replaced-by', 'see-also', 'same', 'different')),
    subject     TEXT    NOT NULL,                -- replaced-by: the one that was merged
    other       TEXT    NOT NULL,                -- replaced-by: the one that goes on
    PRIMARY KEY (history_seq, kind, subject, other)
) STRICT, WITHOUT ROWID;
CREATE INDEX person_link_by_subject ON person_link (subject);
CREATE INDEX person_link_by_other ON person_link (other);

-- The identifier that a subject is known by where no Patient of that id was received. What such a key
-- stands for never changes, so a row outlives the record that brought it.
CREATE TABLE person_alias (
    subject TEXT PRIMARY KEY,
    system  TEXT NOT NULL,
    value   TEXT NOT NULL
) STRICT;
CREATE INDEX person_alias_by_value ON person_alias (system, value);

-- ---------------------------------------------------------------------------------------------
-- What happened to the data behind an allocation after it was made. Kept for ever.
CREATE TABLE deviation (
    id            INTEGER PRIMARY KEY,
    subject       TEXT    NOT NULL,
    allocation_id TEXT    NOT NULL REFERENCES allocation (id),
    opened_at     TEXT    NOT NULL,
    kind          TEXT    NOT NULL,              -- a code; what a kind means stands in the documentation
    reference     TEXT    NOT NULL,              -- what changed: a resource, a criterion or a score
    detail        TEXT    NOT NULL,              -- JSON: before and after, as codes and versions, never values
    state         TEXT    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged')),
    UNIQUE (allocation_id, kind, reference, detail)
) STRICT;
CREATE INDEX deviation_by_state ON deviation (state, id);
CREATE TRIGGER deviation_is_never_edited
    BEFORE UPDATE OF subject, allocation_id, opened_at, kind, reference, detail ON deviation
BEGIN SELECT RAISE(ABORT, 'a deviation is never edited: it can be acknowledged'); END;
CREATE TRIGGER deviation_is_never_deleted BEFORE DELETE ON deviation
BEGIN SELECT RAISE(ABORT, 'a deviation is never deleted'); END;

-- How documents are read (see src/pipeline.rs): a store in which nothing was read yet needs no replay.
INSERT INTO meta (key, value) SELECT 'intake.version', '2' WHERE NOT EXISTS (SELECT 1 FROM inbox);

-- Keys of subjects that are only known by an identifier are hashes; with this salt nobody can work a
-- record number out of one without the database.
INSERT INTO meta (key, value) VALUES ('identity.salt', lower(hex(randomblob(32))));
