-- Strata; and an arm stands nowhere but in its sealed slot: neither arm nor salt is kept beside an allocation.
-- What earlier versions kept there is not copied; the pages that held it are overwritten (secure_delete), and
-- the note `scrub` has the program rewrite the whole file once after this step.
INSERT OR REPLACE INTO meta (key, value)
    SELECT 'scrub', 'arms of an earlier version' WHERE EXISTS (SELECT 1 FROM allocation);

DROP TRIGGER allocation_list_is_never_edited;
ALTER TABLE allocation_list ADD COLUMN slots INTEGER NOT NULL DEFAULT 0;  -- over all strata
ALTER TABLE allocation_list ADD COLUMN plan TEXT NOT NULL DEFAULT '';     -- hash of what the list follows from but its seed
ALTER TABLE allocation_list ADD COLUMN signature INTEGER REFERENCES signature (id);
UPDATE allocation_list SET slots = total;
CREATE TRIGGER allocation_list_is_never_edited BEFORE UPDATE ON allocation_list
BEGIN SELECT RAISE(ABORT, 'an allocation list is never edited'); END;
CREATE TRIGGER allocation_list_is_signed BEFORE INSERT ON allocation_list
    WHEN NEW.signature IS NULL OR NEW.plan = '' OR NEW.slots < 1
BEGIN SELECT RAISE(ABORT, 'an allocation list is signed by whoever made it'); END;

-- Kept in memory between the two tables: see PRAGMA temp_store.
CREATE TEMP TABLE kept_slot AS SELECT list_id, position, sealed FROM allocation_slot;
CREATE TEMP TABLE kept_allocation AS
    SELECT id, list_id, position, subject, idempotency_key, proof, decision_seq, decided_input, definition, actor, at
      FROM allocation;
DROP TABLE allocation;
DROP TABLE allocation_slot;

CREATE TABLE allocation_slot (
    list_id  TEXT    NOT NULL REFERENCES allocation_list (id),
    stratum  INTEGER NOT NULL DEFAULT 0 CHECK (stratum >= 0),
    position INTEGER NOT NULL CHECK (position >= 1),       -- within the stratum
    sealed   BLOB    NOT NULL,
    PRIMARY KEY (list_id, stratum, position)
) STRICT;
CREATE TABLE allocation (
    id              TEXT    PRIMARY KEY,
    list_id         TEXT    NOT NULL,
    number          INTEGER NOT NULL CHECK (number >= 1),  -- over the trial, in the order of the draws
    stratum         INTEGER NOT NULL,
    position        INTEGER NOT NULL,                      -- within the stratum
    subject         TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL UNIQUE,
    levels          TEXT    NOT NULL,                      -- JSON: factor to level, as randomized
    leaf            TEXT    NOT NULL,                      -- hash of the slot's content; '' from earlier versions
    proof           TEXT    NOT NULL,                      -- JSON: ties the leaf to the commitment
    decision_seq    INTEGER NOT NULL REFERENCES decision (seq),
    decided_input   TEXT    NOT NULL,                      -- input hash of that decision
    definition      TEXT    NOT NULL,                      -- trial definition of that decision
    signature       INTEGER UNIQUE REFERENCES signature (id),  -- NULL from earlier versions
    actor           TEXT    NOT NULL,
    at              TEXT    NOT NULL,
    UNIQUE (list_id, number),
    UNIQUE (list_id, stratum, position),
    UNIQUE (list_id, subject),
    FOREIGN KEY (list_id, stratum, position) REFERENCES allocation_slot (list_id, stratum, position)
) STRICT;
INSERT INTO allocation_slot (list_id, stratum, position, sealed)
    SELECT list_id, 0, position, sealed FROM kept_slot ORDER BY list_id, position;
INSERT INTO allocation (id, list_id, number, stratum, position, subject, idempotency_key, levels, leaf, proof,
                        decision_seq, decided_input, definition, signature, actor, at)
    SELECT id, list_id, position, 0, position, subject, idempotency_key, '{}', '', proof,
           decision_seq, decided_input, definition, NULL, actor, at
      FROM kept_allocation ORDER BY list_id, position;
DROP TABLE kept_slot;
DROP TABLE kept_allocation;

CREATE TRIGGER allocation_follows_the_list BEFORE INSERT ON allocation
    WHEN NEW.number <> (SELECT ifnull(max(number), 0) + 1 FROM allocation WHERE list_id = NEW.list_id)
      OR NEW.position <> (SELECT ifnull(max(position), 0) + 1 FROM allocation
                           WHERE list_id = NEW.list_id AND stratum = NEW.stratum)
      OR NEW.number > (SELECT total FROM allocation_list WHERE id = NEW.list_id)
BEGIN SELECT RAISE(ABORT, 'an allocation takes the next position of its list, no other'); END;
CREATE TRIGGER allocation_is_signed BEFORE INSERT ON allocation
    WHEN NEW.signature IS NULL OR NEW.leaf = ''
BEGIN SELECT RAISE(ABORT, 'an allocation is signed, and bound to its slot'); END;
CREATE TRIGGER allocation_is_never_edited BEFORE UPDATE ON allocation
BEGIN SELECT RAISE(ABORT, 'an allocation is never edited'); END;
CREATE TRIGGER allocation_is_never_deleted BEFORE DELETE ON allocation
BEGIN SELECT RAISE(ABORT, 'an allocation is never deleted'); END;
CREATE TRIGGER allocation_slot_is_never_edited BEFORE UPDATE ON allocation_slot
BEGIN SELECT RAISE(ABORT, 'a slot is never edited'); END;
CREATE TRIGGER allocation_slot_is_never_deleted BEFORE DELETE ON allocation_slot
BEGIN SELECT RAISE(ABORT, 'a slot is never deleted'); END;

-- What was said about an allocation, or about all of a trial's, after the list was made. Each row is signed.
CREATE TABLE allocation_event (
    id            INTEGER PRIMARY KEY,
    trial         TEXT    NOT NULL,
    allocation_id TEXT    REFERENCES allocation (id),
    kind          TEXT    NOT NULL CHECK (kind IN ('marked-in-error', 'stratum-corrected', 'unblinded', 'closed',
                                                   'reopened', 'definition-signed')),
    detail        TEXT    NOT NULL,                        -- JSON of texts, free of arms
    signature     INTEGER NOT NULL UNIQUE REFERENCES signature (id),
    at            TEXT    NOT NULL,
    CHECK ((allocation_id IS NULL) = (kind IN ('closed', 'reopened', 'definition-signed')))
) STRICT;
CREATE INDEX allocation_event_by_trial ON allocation_event (trial, id);
CREATE TRIGGER allocation_event_is_never_edited BEFORE UPDATE ON allocation_event
BEGIN SELECT RAISE(ABORT, 'what was said about an allocation is never edited'); END;
CREATE TRIGGER allocation_event_is_never_deleted BEFORE DELETE ON allocation_event
BEGIN SELECT RAISE(ABORT, 'what was said about an allocation is never deleted'); END;

-- Whose arm the hospital was told, or is about to be: that it is told again is not written down again.
CREATE TABLE allocation_told (
    allocation_id TEXT PRIMARY KEY REFERENCES allocation (id),
    at            TEXT NOT NULL
) STRICT;
CREATE TRIGGER allocation_told_is_never_edited BEFORE UPDATE ON allocation_told
BEGIN SELECT RAISE(ABORT, 'what was told stays told'); END;
CREATE TRIGGER allocation_told_is_never_deleted BEFORE DELETE ON allocation_told
BEGIN SELECT RAISE(ABORT, 'what was told stays told'); END;

-- INSERT OR REPLACE deletes without asking the triggers above, unless the connection says otherwise.
CREATE TRIGGER allocation_list_is_never_replaced BEFORE INSERT ON allocation_list
    WHEN EXISTS (SELECT 1 FROM allocation_list WHERE id = NEW.id OR trial = NEW.trial)
BEGIN SELECT RAISE(ABORT, 'an allocation list is never replaced'); END;
CREATE TRIGGER allocation_slot_is_never_replaced BEFORE INSERT ON allocation_slot
    WHEN EXISTS (SELECT 1 FROM allocation_slot
                  WHERE list_id = NEW.list_id AND stratum = NEW.stratum AND position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'a slot is never replaced'); END;
CREATE TRIGGER allocation_event_is_never_replaced BEFORE INSERT ON allocation_event
    WHEN EXISTS (SELECT 1 FROM allocation_event WHERE id = NEW.id OR signature = NEW.signature)
BEGIN SELECT RAISE(ABORT, 'what was said about an allocation is never replaced'); END;
CREATE TRIGGER allocation_told_is_never_replaced BEFORE INSERT ON allocation_told
    WHEN EXISTS (SELECT 1 FROM allocation_told WHERE allocation_id = NEW.allocation_id)
BEGIN SELECT RAISE(ABORT, 'what was told stays told'); END;
CREATE TRIGGER signature_is_never_replaced BEFORE INSERT ON signature
    WHEN EXISTS (SELECT 1 FROM signature WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a signature is never replaced'); END;
