-- Whether somebody was allocated, whatever the trial, is asked of everybody that a draw looks at; without this
-- index the answer took longer with every participant.
CREATE INDEX allocation_by_subject ON allocation (subject);
-- What of a list a draw is decided on, without the public part: it is long, and `plan` is stored behind it.
CREATE INDEX allocation_list_terms ON allocation_list (trial, id, definition, plan, commitment, total);
