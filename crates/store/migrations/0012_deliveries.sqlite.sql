-- One row: the log position up to which events have become deliveries, and the process that does it.
CREATE TABLE webhook_dispatch (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    position integer NOT NULL,
    lease_holder text CHECK (length(lease_holder) <= 64),
    lease_epoch integer NOT NULL,
    lease_until integer
) STRICT;
INSERT INTO webhook_dispatch SELECT 1, max(last_position), NULL, 0, NULL FROM log_batches;

-- One event for one webhook. The id follows from both, so that an event is delivered to a webhook once.
CREATE TABLE webhook_deliveries (
    delivery_id text NOT NULL PRIMARY KEY CHECK (length(delivery_id) <= 64),
    webhook_id text NOT NULL CHECK (length(webhook_id) <= 64),
    tenant_id text CHECK (length(tenant_id) <= 64),
    audit_id text NOT NULL CHECK (length(audit_id) <= 64),
    position integer NOT NULL,
    event_type text NOT NULL CHECK (length(event_type) <= 64),
    state text NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts integer NOT NULL,
    tries integer NOT NULL,
    due_at integer NOT NULL,
    last_status integer,
    last_error text CHECK (length(last_error) <= 64),
    last_attempt_at integer,
    created_at integer NOT NULL
) WITHOUT ROWID, STRICT;
-- What is due, in order. A delivery leaves it when it is accepted: 100,000 that wait for one webhook slow down no other.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, position) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_webhook_id_state ON webhook_deliveries (webhook_id, state, delivery_id);

-- One row for each webhook that has had deliveries. A process leases the row, and then sends all deliveries of the webhook.
CREATE TABLE webhook_lanes (
    webhook_id text NOT NULL PRIMARY KEY CHECK (length(webhook_id) <= 64),
    due_at integer,
    wakes integer NOT NULL,
    lease_holder text CHECK (length(lease_holder) <= 64),
    lease_epoch integer NOT NULL,
    failures integer NOT NULL,
    open_until integer,
    failing_since integer,
    warned integer NOT NULL,
    last_success_at integer,
    last_failure_at integer,
    last_failure text CHECK (length(last_failure) <= 64),
    seen_at integer,
    replay_position integer,
    replay_to integer,
    replay_undelivered integer NOT NULL,
    replay_paused integer NOT NULL
) STRICT;
CREATE INDEX webhook_lanes_due ON webhook_lanes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_lanes_replays ON webhook_lanes (replay_position) WHERE replay_position IS NOT NULL;

-- Every attempt. A slot holds the attempts of one week; the slots are used in turn, and emptied before they are used again.
CREATE TABLE webhook_attempts (
    delivery_id text NOT NULL CHECK (length(delivery_id) <= 64),
    attempt integer NOT NULL,
    slot integer NOT NULL,
    webhook_id text NOT NULL CHECK (length(webhook_id) <= 64),
    tenant_id text CHECK (length(tenant_id) <= 64),
    started_at integer NOT NULL,
    outcome text NOT NULL CHECK (length(outcome) <= 32),
    status integer,
    connect_ms integer,
    total_ms integer NOT NULL,
    answer_start text NOT NULL,
    error text CHECK (length(error) <= 64),
    detail text,
    next_at integer,
    PRIMARY KEY (slot, delivery_id, attempt)
) WITHOUT ROWID, STRICT;
CREATE INDEX webhook_attempts_tenant_id ON webhook_attempts (tenant_id);
