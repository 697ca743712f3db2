-- Electronic signatures. Each is bound to the record that was shown, by its hash; it cannot be moved to
-- another one (21 CFR 11.70), and it says who, when and what it means (11.50).
CREATE TABLE signature (
    id            INTEGER PRIMARY KEY,
    actor         TEXT NOT NULL,                 -- the account; without accounts the name as it was given
    printed_name  TEXT NOT NULL,                 -- as it is printed
    role          TEXT NOT NULL,
    meaning       TEXT NOT NULL,                 -- a code such as randomize, attest, unblind
    subject       TEXT,
    record        TEXT NOT NULL,                 -- what was signed: JSON, free of arms
    record_sha256 TEXT NOT NULL CHECK (length(record_sha256) = 64),
    method        TEXT NOT NULL CHECK (method IN ('password', 'oidc', 'unauthenticated')),
    at            TEXT NOT NULL
) STRICT;
CREATE INDEX signature_by_subject ON signature (subject, id);
CREATE TRIGGER signature_is_never_edited BEFORE UPDATE ON signature
BEGIN SELECT RAISE(ABORT, 'a signature is never edited'); END;
CREATE TRIGGER signature_is_never_deleted BEFORE DELETE ON signature
BEGIN SELECT RAISE(ABORT, 'a signature is never deleted'); END;
