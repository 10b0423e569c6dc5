-- Epochs of the log's order. A restored database begins a new one: positions from the epoch before that are not below its
-- first position belong to events that were lost. Only `db after-restore` adds a row.
CREATE TABLE log_epochs (
    epoch integer PRIMARY KEY,
    first_position integer NOT NULL,
    started_at integer NOT NULL
) STRICT;
INSERT INTO log_epochs VALUES (1, 1, 0);
