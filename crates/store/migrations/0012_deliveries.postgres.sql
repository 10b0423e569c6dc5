-- One row: the log position up to which events have become deliveries, and the process that does it.
CREATE TABLE webhook_dispatch (
    only_row boolean PRIMARY KEY CHECK (only_row),
    position bigint NOT NULL,
    lease_holder varchar(64) COLLATE "C",
    lease_epoch bigint NOT NULL,
    lease_until timestamptz
);
INSERT INTO webhook_dispatch SELECT true, max(last_position), NULL, 0, NULL FROM log_batches;

-- One event for one webhook. The id follows from both, so that an event is delivered to a webhook once.
CREATE TABLE webhook_deliveries (
    delivery_id varchar(64) COLLATE "C" PRIMARY KEY,
    webhook_id varchar(64) COLLATE "C" NOT NULL,
    tenant_id varchar(64) COLLATE "C",
    audit_id varchar(64) COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    event_type varchar(64) COLLATE "C" NOT NULL,
    state varchar(32) COLLATE "C" NOT NULL,
    attempts integer NOT NULL,
    tries integer NOT NULL,
    due_at timestamptz NOT NULL,
    last_status integer,
    last_error varchar(64) COLLATE "C",
    last_attempt_at timestamptz,
    created_at timestamptz NOT NULL
);
-- What is due, in order. A delivery leaves it when it is accepted: 100,000 that wait for one webhook slow down no other.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, position) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_webhook_id_state ON webhook_deliveries (webhook_id, state, delivery_id);

-- One row for each webhook that has had deliveries. A process leases the row, and then sends all deliveries of the webhook.
CREATE TABLE webhook_lanes (
    webhook_id varchar(64) COLLATE "C" PRIMARY KEY,
    due_at timestamptz,
    wakes bigint NOT NULL,
    lease_holder varchar(64) COLLATE "C",
    lease_epoch bigint NOT NULL,
    failures integer NOT NULL,
    open_until timestamptz,
    failing_since timestamptz,
    warned integer NOT NULL,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_failure varchar(64) COLLATE "C",
    seen_at timestamptz,
    replay_position bigint,
    replay_to bigint,
    replay_undelivered boolean NOT NULL,
    replay_paused boolean NOT NULL
);
CREATE INDEX webhook_lanes_due ON webhook_lanes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_lanes_replays ON webhook_lanes (replay_position) WHERE replay_position IS NOT NULL;

-- Every attempt. A part holds the attempts of one week; the parts are used in turn, and emptied with TRUNCATE.
CREATE TABLE webhook_attempts (
    delivery_id varchar(64) COLLATE "C" NOT NULL,
    attempt integer NOT NULL,
    slot integer NOT NULL,
    webhook_id varchar(64) COLLATE "C" NOT NULL,
    tenant_id varchar(64) COLLATE "C",
    started_at timestamptz NOT NULL,
    outcome varchar(32) COLLATE "C" NOT NULL,
    status integer,
    connect_ms integer,
    total_ms integer NOT NULL,
    answer_start text NOT NULL,
    error varchar(64) COLLATE "C",
    detail text,
    next_at timestamptz,
    PRIMARY KEY (slot, delivery_id, attempt)
) PARTITION BY LIST (slot);
CREATE INDEX webhook_attempts_tenant_id ON webhook_attempts (tenant_id);
DO $$
BEGIN
    FOR slot IN 0..15 LOOP
        EXECUTE format('CREATE TABLE webhook_attempts_%s PARTITION OF webhook_attempts FOR VALUES IN (%s)',
            lpad(slot::text, 2, '0'), slot);
    END LOOP;
END $$;

-- A role that already changes the webhooks of tenants also writes deliveries. `tenancy db migrate --serve-role` grants the same.
DO $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'tenant_webhooks'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> 0 AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_dispatch, webhook_deliveries, webhook_lanes, '
            'webhook_attempts TO %s', grantee);
        FOR slot IN 0..15 LOOP
            EXECUTE format('GRANT SELECT, TRUNCATE ON webhook_attempts_%s TO %s', lpad(slot::text, 2, '0'), grantee);
        END LOOP;
    END LOOP;
END $$;
