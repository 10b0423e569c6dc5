-- Seals of the log: one row for each range of positions, with the digests of its events, chained by digest.
CREATE TABLE log_seals (
    first_position integer PRIMARY KEY,
    last_position integer NOT NULL,
    previous_digest text NOT NULL CHECK (length(previous_digest) <= 64),
    last_audit_id text NOT NULL CHECK (length(last_audit_id) <= 64),
    entries text NOT NULL,
    digest text NOT NULL CHECK (length(digest) <= 64),
    sealed_at integer NOT NULL
) STRICT;
CREATE TRIGGER log_seals_no_update BEFORE UPDATE ON log_seals
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER log_seals_no_delete BEFORE DELETE ON log_seals
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER log_seals_no_replace BEFORE INSERT ON log_seals
WHEN EXISTS (SELECT 1 FROM log_seals WHERE first_position = new.first_position)
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
