-- Limits, format and state of webhooks. A webhook receives the events after from_position; without one, it receives nothing
-- until the dispatcher has passed the event that added it. Existing webhooks receive what happens from now on.
ALTER TABLE tenant_webhooks ADD COLUMN max_per_second integer;
ALTER TABLE tenant_webhooks ADD COLUMN max_in_flight integer;
ALTER TABLE tenant_webhooks ADD COLUMN timeout_seconds integer;
ALTER TABLE tenant_webhooks ADD COLUMN format text NOT NULL DEFAULT 'standard' CHECK (format IN ('standard', 'cloudevents'));
ALTER TABLE tenant_webhooks ADD COLUMN enabled integer NOT NULL DEFAULT 1;
ALTER TABLE tenant_webhooks ADD COLUMN disabled_at integer;
ALTER TABLE tenant_webhooks ADD COLUMN disabled_cause text;
ALTER TABLE tenant_webhooks ADD COLUMN from_position integer;
UPDATE tenant_webhooks SET from_position = (SELECT max(last_position) FROM log_batches);

-- Webhooks of organizations, and of the platform, which have no organization_id. full_name is the name, after the
-- organization and a slash if there is one.
CREATE TABLE platform_webhooks (
    webhook_id text PRIMARY KEY CHECK (length(webhook_id) <= 64),
    organization_id text REFERENCES organizations CHECK (length(organization_id) <= 64),
    name text NOT NULL CHECK (length(name) <= 64),
    full_name text NOT NULL CHECK (length(full_name) <= 129),
    url text NOT NULL,
    events text NOT NULL CHECK (json_valid(events)),
    secret text,
    retry_policy text NOT NULL CHECK (json_valid(retry_policy)),
    max_per_second integer,
    max_in_flight integer,
    timeout_seconds integer,
    format text NOT NULL CHECK (format IN ('standard', 'cloudevents')),
    enabled integer NOT NULL,
    disabled_at integer,
    disabled_cause text,
    from_position integer,
    version integer NOT NULL,
    created_at integer NOT NULL,
    updated_at integer NOT NULL
) STRICT;
CREATE UNIQUE INDEX platform_webhooks_full_name ON platform_webhooks (full_name);
CREATE INDEX platform_webhooks_organization_id ON platform_webhooks (organization_id, name);
