-- Limits, format and state of webhooks. A webhook receives the events after from_position; without one, it receives nothing
-- until the dispatcher has passed the event that added it. Existing webhooks receive what happens from now on. A process
-- of an earlier release does not know the columns and inserts webhooks with the defaults.
ALTER TABLE tenant_webhooks
    ADD COLUMN max_per_second integer,
    ADD COLUMN max_in_flight integer,
    ADD COLUMN timeout_seconds integer,
    ADD COLUMN format varchar(16) COLLATE "C" NOT NULL DEFAULT 'standard',
    ADD COLUMN enabled boolean NOT NULL DEFAULT true,
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN disabled_cause text,
    ADD COLUMN from_position bigint;
UPDATE tenant_webhooks SET from_position = (SELECT max(last_position) FROM log_batches);

-- Webhooks of organizations, and of the platform, which have no organization_id. full_name is the name, after the
-- organization and a slash if there is one.
CREATE TABLE platform_webhooks (
    webhook_id varchar(64) COLLATE "C" PRIMARY KEY,
    organization_id varchar(64) COLLATE "C" REFERENCES organizations,
    name varchar(64) COLLATE "C" NOT NULL,
    full_name varchar(129) COLLATE "C" NOT NULL,
    url text NOT NULL,
    events jsonb NOT NULL,
    secret text,
    retry_policy jsonb NOT NULL,
    max_per_second integer,
    max_in_flight integer,
    timeout_seconds integer,
    format varchar(16) COLLATE "C" NOT NULL,
    enabled boolean NOT NULL,
    disabled_at timestamptz,
    disabled_cause text,
    from_position bigint,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX platform_webhooks_full_name ON platform_webhooks (full_name);
CREATE INDEX platform_webhooks_organization_id ON platform_webhooks (organization_id, name);
