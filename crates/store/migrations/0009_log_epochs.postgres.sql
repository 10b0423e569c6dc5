-- Epochs of the log's order. A restored database begins a new one: positions from the epoch before that are not below its
-- first position belong to events that were lost. Only `db after-restore` adds a row.
CREATE TABLE log_epochs (
    epoch bigint PRIMARY KEY,
    first_position bigint NOT NULL,
    started_at timestamptz NOT NULL
);
INSERT INTO log_epochs VALUES (1, 1, '2000-01-01T00:00:00Z');
