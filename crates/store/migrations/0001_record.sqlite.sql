-- The record: names, types and indexes of the specification, and what the design adds to them.
-- Times are microseconds since 1970, UTC. Text compares by its bytes, as ids and names do on every database.

CREATE TABLE organizations (
    organization_id text PRIMARY KEY CHECK (length(organization_id) <= 64),
    display_name text CHECK (length(display_name) <= 255),
    labels text NOT NULL CHECK (json_valid(labels)),
    caps text NOT NULL CHECK (json_valid(caps)),
    version integer NOT NULL,
    counter integer NOT NULL,
    settled_counter integer NOT NULL,
    created_at integer NOT NULL,
    updated_at integer NOT NULL,
    closed_at integer
) STRICT;
-- Those whose tenants have yet to follow: they are looked for often, and almost always there are none.
CREATE INDEX organizations_unsettled ON organizations (organization_id) WHERE settled_counter < counter;

-- What an organization's tenants are in sum. A list that is only appended, under the lock of the organization's row:
-- a row that every commit updates gets slower and slower under anybody's old snapshot.
CREATE TABLE organization_usage (
    organization_id text NOT NULL CHECK (length(organization_id) <= 64),
    serial integer NOT NULL,
    tenants integer NOT NULL,
    quotas text NOT NULL CHECK (json_valid(quotas)),
    PRIMARY KEY (organization_id, serial)
) STRICT;

CREATE TABLE tenants (
    tenant_id text PRIMARY KEY CHECK (length(tenant_id) <= 64),
    organization_id text NOT NULL REFERENCES organizations CHECK (length(organization_id) <= 64),
    display_name text CHECK (length(display_name) <= 255),
    profile text NOT NULL CHECK (profile IN ('mt-standard', 'st-dedicated')),
    state text NOT NULL CHECK (state IN ('Draft', 'Active', 'Suspended', 'Archived')),
    desired_state text CHECK (desired_state IN ('Active', 'Suspended')),
    region text NOT NULL CHECK (length(region) <= 64),
    labels text NOT NULL CHECK (json_valid(labels)),
    quotas text NOT NULL CHECK (json_valid(quotas)),
    policies text NOT NULL CHECK (json_valid(policies)),
    billing text NOT NULL CHECK (json_valid(billing)),
    deletion_protection integer NOT NULL,
    version integer NOT NULL,
    counter integer NOT NULL,
    created_at integer NOT NULL,
    updated_at integer NOT NULL,
    state_since integer NOT NULL,
    provisioned_at integer,
    archived_at integer,
    purge_after integer,
    purged_at integer
) STRICT;
CREATE INDEX tenants_organization_id ON tenants (organization_id);
CREATE INDEX tenants_state ON tenants (state);
CREATE INDEX tenants_region ON tenants (region);

-- Written only in a commit that makes or locks the tenant's row, and kept as long as it: a foreign key would look that row
-- up once more for each version.
CREATE TABLE tenant_versions (
    tenant_id text NOT NULL CHECK (length(tenant_id) <= 64),
    version integer NOT NULL,
    manifest text NOT NULL CHECK (json_valid(manifest)),
    actor text NOT NULL CHECK (length(actor) <= 64),
    correlation_id text NOT NULL CHECK (length(correlation_id) <= 64),
    created_at integer NOT NULL,
    PRIMARY KEY (tenant_id, version)
) STRICT;

CREATE TABLE environments (
    env_id text PRIMARY KEY CHECK (length(env_id) <= 64),
    tenant_id text NOT NULL REFERENCES tenants CHECK (length(tenant_id) <= 64),
    name text NOT NULL CHECK (length(name) <= 32),
    region text NOT NULL CHECK (length(region) <= 64),
    isolation_level text NOT NULL CHECK (isolation_level IN ('strict', 'shared')),
    quotas text NOT NULL CHECK (json_valid(quotas)),
    retention_days integer,
    version integer NOT NULL,
    state text NOT NULL CHECK (state IN ('Draft', 'Active', 'Suspended', 'Archived')),
    provisioned_at integer,
    created_at integer NOT NULL,
    updated_at integer NOT NULL
) STRICT;
CREATE UNIQUE INDEX environments_tenant_id_name ON environments (tenant_id, name);

-- Kept when the environment is removed: its history outlives it, so there is no foreign key to it.
CREATE TABLE environment_versions (
    tenant_id text NOT NULL CHECK (length(tenant_id) <= 64),
    env_id text NOT NULL CHECK (length(env_id) <= 64),
    version integer NOT NULL,
    manifest text NOT NULL CHECK (json_valid(manifest)),
    actor text NOT NULL CHECK (length(actor) <= 64),
    created_at integer NOT NULL,
    PRIMARY KEY (tenant_id, env_id, version)
) STRICT;

CREATE TABLE holds (
    hold_id text PRIMARY KEY CHECK (length(hold_id) <= 64),
    tenant_id text REFERENCES tenants CHECK (length(tenant_id) <= 64),
    organization_id text REFERENCES organizations CHECK (length(organization_id) <= 64),
    kind text NOT NULL CHECK (length(kind) <= 32),
    reason text,
    placed_by text NOT NULL CHECK (length(placed_by) <= 64),
    until integer,
    created_at integer NOT NULL,
    CHECK ((tenant_id IS NULL) <> (organization_id IS NULL))
) STRICT;
CREATE UNIQUE INDEX holds_tenant_id_kind ON holds (tenant_id, kind) WHERE tenant_id IS NOT NULL;
CREATE UNIQUE INDEX holds_organization_id_kind ON holds (organization_id, kind) WHERE organization_id IS NOT NULL;
CREATE INDEX holds_until ON holds (until) WHERE until IS NOT NULL;

CREATE TABLE aliases (
    alias text PRIMARY KEY CHECK (length(alias) <= 255),
    tenant_id text NOT NULL REFERENCES tenants CHECK (length(tenant_id) <= 64),
    created_at integer NOT NULL
) STRICT;
CREATE INDEX aliases_tenant_id ON aliases (tenant_id);

CREATE TABLE tenant_webhooks (
    webhook_id text PRIMARY KEY CHECK (length(webhook_id) <= 64),
    tenant_id text NOT NULL REFERENCES tenants CHECK (length(tenant_id) <= 64),
    name text NOT NULL CHECK (length(name) <= 64),
    url text NOT NULL,
    events text NOT NULL CHECK (json_valid(events)),
    secret text,
    retry_policy text NOT NULL CHECK (json_valid(retry_policy)),
    created_at integer NOT NULL,
    updated_at integer NOT NULL
) STRICT;
CREATE UNIQUE INDEX tenant_webhooks_tenant_id_name ON tenant_webhooks (tenant_id, name);

CREATE TABLE tenant_jobs (
    job_id text PRIMARY KEY CHECK (length(job_id) <= 64),
    tenant_id text NOT NULL CHECK (length(tenant_id) <= 64),
    action text NOT NULL CHECK (length(action) <= 64),
    state text NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed')),
    progress real NOT NULL,
    logs text NOT NULL,
    steps text NOT NULL CHECK (json_valid(steps)),
    waiting_for text,
    due_at integer NOT NULL,
    attempt integer NOT NULL,
    lease_holder text CHECK (length(lease_holder) <= 64),
    lease_epoch integer NOT NULL,
    error_code text CHECK (length(error_code) <= 64),
    error text,
    correlation_id text NOT NULL CHECK (length(correlation_id) <= 64),
    requested_by text NOT NULL CHECK (length(requested_by) <= 64),
    created_at integer NOT NULL,
    updated_at integer NOT NULL,
    finished_at integer,
    CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
) STRICT;
CREATE INDEX tenant_jobs_tenant_id_state ON tenant_jobs (tenant_id, state);
-- One lifecycle job per tenant at a time.
CREATE UNIQUE INDEX tenant_jobs_open ON tenant_jobs (tenant_id) WHERE state IN ('queued', 'running');
-- Not by state: then this index would also serve for the open job of one tenant, and be read whole for it.
CREATE INDEX tenant_jobs_due ON tenant_jobs (due_at) WHERE finished_at IS NULL;

-- The tables of the log have no rowid: it would be one more key to replace their rows by.
CREATE TABLE tenant_audit (
    audit_id text NOT NULL CHECK (length(audit_id) <= 64),
    tenant_id text NOT NULL CHECK (length(tenant_id) <= 64),
    event_type text NOT NULL CHECK (length(event_type) <= 64),
    event_version integer NOT NULL,
    actor text NOT NULL CHECK (length(actor) <= 64),
    on_behalf_of text CHECK (length(on_behalf_of) <= 64),
    payload text NOT NULL CHECK (json_valid(payload)),
    correlation_id text NOT NULL CHECK (length(correlation_id) <= 64),
    occurred_at integer NOT NULL,
    position integer NOT NULL,
    PRIMARY KEY (audit_id),
    FOREIGN KEY (tenant_id) REFERENCES tenants
) WITHOUT ROWID, STRICT;
CREATE INDEX tenant_audit_event_type ON tenant_audit (event_type);
CREATE INDEX tenant_audit_occurred_at ON tenant_audit (occurred_at);
CREATE INDEX tenant_audit_tenant_id_position ON tenant_audit (tenant_id, position);
CREATE INDEX tenant_audit_position ON tenant_audit (position);

CREATE TABLE platform_audit (
    audit_id text PRIMARY KEY CHECK (length(audit_id) <= 64),
    event_type text NOT NULL CHECK (length(event_type) <= 64),
    event_version integer NOT NULL,
    actor text NOT NULL CHECK (length(actor) <= 64),
    on_behalf_of text CHECK (length(on_behalf_of) <= 64),
    payload text NOT NULL CHECK (json_valid(payload)),
    correlation_id text NOT NULL CHECK (length(correlation_id) <= 64),
    occurred_at integer NOT NULL,
    position integer NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX platform_audit_position ON platform_audit (position);

-- What may be personal stands beside the log, where a purge empties it. What is no tenant's has the empty text for one.
CREATE TABLE audit_private (
    tenant_id text NOT NULL CHECK (length(tenant_id) <= 64),
    audit_id text NOT NULL CHECK (length(audit_id) <= 64),
    salt text NOT NULL CHECK (length(salt) <= 64),
    content text NOT NULL CHECK (json_valid(content)),
    PRIMARY KEY (tenant_id, audit_id)
) STRICT;

-- The one order of the log: a row that is locked and never updated, and a list of what was committed.
CREATE TABLE log_head (only_row integer PRIMARY KEY CHECK (only_row = 1)) STRICT;
INSERT INTO log_head VALUES (1);
CREATE TABLE log_batches (
    last_position integer PRIMARY KEY,
    first_position integer NOT NULL,
    committed_at integer NOT NULL
) STRICT;
INSERT INTO log_batches VALUES (0, 0, 0);

CREATE TABLE idempotency_records (
    digest text PRIMARY KEY CHECK (length(digest) <= 64),
    request_digest text NOT NULL CHECK (length(request_digest) <= 64),
    status integer NOT NULL,
    headers text NOT NULL CHECK (json_valid(headers)),
    body text NOT NULL,
    created_at integer NOT NULL,
    expires_at integer NOT NULL
) STRICT;
CREATE INDEX idempotency_records_expires_at ON idempotency_records (expires_at);

CREATE TABLE api_keys (
    key_id text PRIMARY KEY CHECK (length(key_id) <= 64),
    name text NOT NULL CHECK (length(name) <= 64),
    role text NOT NULL CHECK (length(role) <= 32),
    token_digest text NOT NULL CHECK (length(token_digest) <= 64),
    version integer NOT NULL,
    created_at integer NOT NULL,
    expires_at integer,
    revoked_at integer
) STRICT;
CREATE UNIQUE INDEX api_keys_token_digest ON api_keys (token_digest);
CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked_at IS NULL;

-- Marks on the database as a whole, each made once: "served" once it was used in production.
CREATE TABLE marks (
    name text PRIMARY KEY CHECK (length(name) <= 64),
    value text NOT NULL,
    created_at integer NOT NULL
) STRICT;

-- Events of tenants whose ids are below this one have expired. It only moves up; the operation that moves it leaves a record.
CREATE TABLE log_floor (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    audit_id text NOT NULL CHECK (length(audit_id) <= 64)
) STRICT;
INSERT INTO log_floor VALUES (1, '');
CREATE TRIGGER log_floor_rises BEFORE UPDATE ON log_floor WHEN new.audit_id < old.audit_id
BEGIN SELECT raise(ABORT, 'the floor of the audit log only moves up'); END;
CREATE TRIGGER log_floor_stays BEFORE DELETE ON log_floor
BEGIN SELECT raise(ABORT, 'the floor of the audit log only moves up'); END;
CREATE TRIGGER log_floor_is_one BEFORE INSERT ON log_floor WHEN EXISTS (SELECT 1 FROM log_floor)
BEGIN SELECT raise(ABORT, 'the floor of the audit log only moves up'); END;

-- The log is append-only. REPLACE deletes without firing DELETE triggers unless recursive_triggers is on, so an insert
-- that would replace is refused as well. On the write path no body of these ever runs.
CREATE TRIGGER tenant_audit_no_update BEFORE UPDATE ON tenant_audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER tenant_audit_no_delete BEFORE DELETE ON tenant_audit
WHEN old.audit_id >= (SELECT audit_id FROM log_floor)
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER tenant_audit_no_replace BEFORE INSERT ON tenant_audit
WHEN EXISTS (SELECT 1 FROM tenant_audit WHERE audit_id = new.audit_id)
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER platform_audit_no_update BEFORE UPDATE ON platform_audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER platform_audit_no_delete BEFORE DELETE ON platform_audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER platform_audit_no_replace BEFORE INSERT ON platform_audit
WHEN EXISTS (SELECT 1 FROM platform_audit WHERE audit_id = new.audit_id)
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
