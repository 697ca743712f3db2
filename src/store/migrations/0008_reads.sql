-- What a subject's decision looked for among what belongs to nobody, a Medication or a ResearchStudy, whether it
-- was there or not: when it comes or changes, these subjects are judged again, and nobody else.
CREATE TABLE decision_reads (
    source        TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    id            TEXT NOT NULL,
    subject       TEXT NOT NULL,
    PRIMARY KEY (source, resource_type, id, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX decision_reads_by_subject ON decision_reads (subject);

-- Of decisions that were made before, nobody knows: everybody is judged once more.
UPDATE change_counter SET value = value + 1;
INSERT INTO dirty_subject (subject, since, change)
    SELECT n.subject, d.decided_at, (SELECT value FROM change_counter)
      FROM decision_current n JOIN decision d ON d.seq = n.decision_seq WHERE true
    ON CONFLICT (subject) DO UPDATE SET change = excluded.change;
