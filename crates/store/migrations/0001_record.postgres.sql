-- The record: names, types and indexes of the specification, and what the design adds to them.
-- Ids and names are COLLATE "C", so that their order is the same on every database.
-- Words of closed lists (states, profiles) are written by a program that can write no others, and read strictly: a CHECK on
-- each would be made anew for every batch and cost as much as an index.
-- JSON that the specification names is jsonb. What is ours alone and is only ever written and read whole is its canonical
-- text: the server need not take it apart and put it together again.

CREATE TABLE organizations (
    organization_id varchar(64) COLLATE "C" PRIMARY KEY,
    display_name varchar(255),
    labels jsonb NOT NULL,
    caps jsonb NOT NULL,
    version integer NOT NULL,
    counter bigint NOT NULL,
    settled_counter bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    closed_at timestamptz
);
-- Those whose tenants have yet to follow: they are looked for often, and almost always there are none.
CREATE INDEX organizations_unsettled ON organizations (organization_id) WHERE settled_counter < counter;

-- What an organization's tenants are in sum. A list that is only appended, under the lock of the organization's row:
-- a row that every commit updates gets slower and slower under anybody's old snapshot.
CREATE TABLE organization_usage (
    organization_id varchar(64) COLLATE "C" NOT NULL,
    serial bigint NOT NULL,
    tenants bigint NOT NULL,
    quotas text NOT NULL,
    PRIMARY KEY (organization_id, serial)
);

CREATE TABLE tenants (
    tenant_id varchar(64) COLLATE "C" PRIMARY KEY,
    organization_id varchar(64) COLLATE "C" NOT NULL REFERENCES organizations,
    display_name varchar(255),
    profile varchar(32) COLLATE "C" NOT NULL,
    state varchar(32) COLLATE "C" NOT NULL,
    desired_state varchar(32) COLLATE "C",
    region varchar(64) COLLATE "C" NOT NULL,
    labels jsonb NOT NULL,
    quotas jsonb NOT NULL,
    policies jsonb NOT NULL,
    billing jsonb NOT NULL,
    deletion_protection boolean NOT NULL,
    version integer NOT NULL,
    counter bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    state_since timestamptz NOT NULL,
    provisioned_at timestamptz,
    archived_at timestamptz,
    purge_after timestamptz,
    purged_at timestamptz
);
CREATE INDEX tenants_organization_id ON tenants (organization_id);
CREATE INDEX tenants_state ON tenants (state);
CREATE INDEX tenants_region ON tenants (region);

-- Written only in a commit that makes or locks the tenant's row, and kept as long as it: a foreign key would look that row
-- up once more for each version.
CREATE TABLE tenant_versions (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    version integer NOT NULL,
    manifest text NOT NULL,
    actor varchar(64) COLLATE "C" NOT NULL,
    correlation_id varchar(64) COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, version)
);

CREATE TABLE environments (
    env_id varchar(64) COLLATE "C" PRIMARY KEY,
    tenant_id varchar(64) COLLATE "C" NOT NULL REFERENCES tenants,
    name varchar(32) COLLATE "C" NOT NULL,
    region varchar(64) COLLATE "C" NOT NULL,
    isolation_level varchar(32) COLLATE "C" NOT NULL,
    quotas jsonb NOT NULL,
    retention_days integer,
    version integer NOT NULL,
    state varchar(32) COLLATE "C" NOT NULL,
    provisioned_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX environments_tenant_id_name ON environments (tenant_id, name);

-- Kept when the environment is removed: its history outlives it, so there is no foreign key to it.
CREATE TABLE environment_versions (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    env_id varchar(64) COLLATE "C" NOT NULL,
    version integer NOT NULL,
    manifest text NOT NULL,
    actor varchar(64) COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, env_id, version)
);

CREATE TABLE holds (
    hold_id varchar(64) COLLATE "C" PRIMARY KEY,
    tenant_id varchar(64) COLLATE "C" REFERENCES tenants,
    organization_id varchar(64) COLLATE "C" REFERENCES organizations,
    kind varchar(32) COLLATE "C" NOT NULL,
    reason text,
    placed_by varchar(64) COLLATE "C" NOT NULL,
    until timestamptz,
    created_at timestamptz NOT NULL,
    CHECK ((tenant_id IS NULL) <> (organization_id IS NULL))
);
CREATE UNIQUE INDEX holds_tenant_id_kind ON holds (tenant_id, kind) WHERE tenant_id IS NOT NULL;
CREATE UNIQUE INDEX holds_organization_id_kind ON holds (organization_id, kind) WHERE organization_id IS NOT NULL;
CREATE INDEX holds_until ON holds (until) WHERE until IS NOT NULL;

CREATE TABLE aliases (
    alias varchar(255) COLLATE "C" PRIMARY KEY,
    tenant_id varchar(64) COLLATE "C" NOT NULL REFERENCES tenants,
    created_at timestamptz NOT NULL
);
CREATE INDEX aliases_tenant_id ON aliases (tenant_id);

CREATE TABLE tenant_webhooks (
    webhook_id varchar(64) COLLATE "C" PRIMARY KEY,
    tenant_id varchar(64) COLLATE "C" NOT NULL REFERENCES tenants,
    name varchar(64) COLLATE "C" NOT NULL,
    url text NOT NULL,
    events jsonb NOT NULL,
    secret text,
    retry_policy jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX tenant_webhooks_tenant_id_name ON tenant_webhooks (tenant_id, name);

CREATE TABLE tenant_jobs (
    job_id varchar(64) COLLATE "C" PRIMARY KEY,
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    action varchar(64) COLLATE "C" NOT NULL,
    state varchar(32) COLLATE "C" NOT NULL,
    progress double precision NOT NULL,
    logs text NOT NULL,
    steps text NOT NULL,
    waiting_for text,
    due_at timestamptz NOT NULL,
    attempt integer NOT NULL,
    lease_holder varchar(64) COLLATE "C",
    lease_epoch bigint NOT NULL,
    error_code varchar(64) COLLATE "C",
    error text,
    correlation_id varchar(64) COLLATE "C" NOT NULL,
    requested_by varchar(64) COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
);
CREATE INDEX tenant_jobs_tenant_id_state ON tenant_jobs (tenant_id, state);
-- One lifecycle job per tenant at a time.
CREATE UNIQUE INDEX tenant_jobs_open ON tenant_jobs (tenant_id) WHERE state IN ('queued', 'running');
-- Not by state: then this index would also serve for the open job of one tenant, and be read whole for it.
CREATE INDEX tenant_jobs_due ON tenant_jobs (due_at) WHERE finished_at IS NULL;

-- Partitioned by audit_id, which sorts by time. The partitions are made by log_add_partition.
CREATE TABLE tenant_audit (
    audit_id varchar(64) COLLATE "C" NOT NULL,
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    event_type varchar(64) COLLATE "C" NOT NULL,
    event_version integer NOT NULL,
    actor varchar(64) COLLATE "C" NOT NULL,
    on_behalf_of varchar(64) COLLATE "C",
    payload jsonb NOT NULL,
    correlation_id varchar(64) COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (audit_id),
    FOREIGN KEY (tenant_id) REFERENCES tenants
) PARTITION BY RANGE (audit_id);
CREATE INDEX tenant_audit_event_type ON tenant_audit (event_type);
CREATE INDEX tenant_audit_occurred_at ON tenant_audit (occurred_at);
CREATE INDEX tenant_audit_tenant_id_position ON tenant_audit (tenant_id, position);
CREATE INDEX tenant_audit_position ON tenant_audit (position);

CREATE TABLE platform_audit (
    audit_id varchar(64) COLLATE "C" PRIMARY KEY,
    event_type varchar(64) COLLATE "C" NOT NULL,
    event_version integer NOT NULL,
    actor varchar(64) COLLATE "C" NOT NULL,
    on_behalf_of varchar(64) COLLATE "C",
    payload jsonb NOT NULL,
    correlation_id varchar(64) COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    position bigint NOT NULL
);
CREATE INDEX platform_audit_position ON platform_audit (position);

-- What may be personal stands beside the log, where a purge empties it. What is no tenant's has the empty text for one.
CREATE TABLE audit_private (
    tenant_id varchar(64) COLLATE "C" NOT NULL,
    audit_id varchar(64) COLLATE "C" NOT NULL,
    salt varchar(64) COLLATE "C" NOT NULL,
    content text NOT NULL,
    PRIMARY KEY (tenant_id, audit_id)
);

-- The one order of the log: a row that is locked and never updated, and a list of what was committed.
CREATE TABLE log_head (only_row boolean PRIMARY KEY CHECK (only_row));
INSERT INTO log_head VALUES (true);
CREATE TABLE log_batches (
    last_position bigint PRIMARY KEY,
    first_position bigint NOT NULL,
    committed_at timestamptz NOT NULL
);
INSERT INTO log_batches VALUES (0, 0, '2000-01-01T00:00:00Z');

CREATE TABLE idempotency_records (
    digest varchar(64) COLLATE "C" PRIMARY KEY,
    request_digest varchar(64) COLLATE "C" NOT NULL,
    status integer NOT NULL,
    headers text NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX idempotency_records_expires_at ON idempotency_records (expires_at);

CREATE TABLE api_keys (
    key_id varchar(64) COLLATE "C" PRIMARY KEY,
    name varchar(64) COLLATE "C" NOT NULL,
    role varchar(32) COLLATE "C" NOT NULL,
    token_digest varchar(64) COLLATE "C" NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX api_keys_token_digest ON api_keys (token_digest);
CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked_at IS NULL;

-- Marks on the database as a whole, each made once: "served" once it was used in production.
CREATE TABLE marks (
    name varchar(64) COLLATE "C" PRIMARY KEY,
    value text NOT NULL,
    created_at timestamptz NOT NULL
);

-- The log is append-only. With roles apart, the serving role has no right to change it; these triggers guard against
-- mistakes where one role does all. They never fire on the write path, which only inserts.
CREATE FUNCTION log_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER tenant_audit_append_only BEFORE UPDATE OR DELETE ON tenant_audit
    FOR EACH ROW EXECUTE FUNCTION log_refuse_change();
CREATE TRIGGER tenant_audit_no_truncate BEFORE TRUNCATE ON tenant_audit
    FOR EACH STATEMENT EXECUTE FUNCTION log_refuse_change();
CREATE TRIGGER platform_audit_append_only BEFORE UPDATE OR DELETE ON platform_audit
    FOR EACH ROW EXECUTE FUNCTION log_refuse_change();
CREATE TRIGGER platform_audit_no_truncate BEFORE TRUNCATE ON platform_audit
    FOR EACH STATEMENT EXECUTE FUNCTION log_refuse_change();

-- Events of tenants whose ids are below this one have expired. It only moves up; the operation that moves it leaves a record.
CREATE TABLE log_floor (
    only_row boolean PRIMARY KEY CHECK (only_row),
    audit_id varchar(64) COLLATE "C" NOT NULL
);
INSERT INTO log_floor VALUES (true, '');
CREATE FUNCTION log_floor_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the floor of the audit log only moves up' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER log_floor_rises BEFORE UPDATE ON log_floor FOR EACH ROW
    WHEN (new.audit_id < old.audit_id) EXECUTE FUNCTION log_floor_refuse();
CREATE TRIGGER log_floor_stays BEFORE DELETE OR TRUNCATE ON log_floor
    FOR EACH STATEMENT EXECUTE FUNCTION log_floor_refuse();

-- The name of a month's partition says which ids it is for: those from the least of its first moment on. Of other centuries
-- there are no events: only a mistake, or somebody who wants to fill the catalog, would make partitions for them.
CREATE FUNCTION log_partition_month(partition_name text) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF partition_name !~ '^tenant_audit_20[0-9]{2}_(0[1-9]|1[0-2])$' THEN
        RAISE EXCEPTION 'not a partition of the log: %', partition_name;
    END IF;
    RETURN make_timestamptz(substring(partition_name FROM 14 FOR 4)::integer,
        substring(partition_name FROM 19 FOR 2)::integer, 1, 0, 0, 0, 'UTC');
END $$;
CREATE FUNCTION log_least_id(moment timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT 'aud_' || lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20) $$;

-- Makes one month's partition of the log and attaches it; nothing if it is attached.
-- LIKE and ATTACH: CREATE TABLE … PARTITION OF would lock the whole log against readers.
CREATE FUNCTION log_add_partition(partition_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '1s' SET timezone = 'UTC' AS $$
DECLARE
    month timestamptz := log_partition_month(partition_name);
    attached boolean;
    grantee text;
BEGIN
    -- Both in one look: between two another process could attach it. Only where the log is: a session has tables of its own.
    SELECT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = c.oid AND inhparent = l.oid AND NOT inhdetachpending)
        INTO attached FROM pg_class l JOIN pg_class c USING (relnamespace)
        WHERE l.oid = 'tenant_audit'::regclass AND c.relname = partition_name;
    IF attached THEN
        RETURN false;
    ELSIF FOUND THEN
        RAISE EXCEPTION '% is there, but is not attached to tenant_audit: attach it, or give it another name',
            partition_name;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE tenant_audit INCLUDING ALL)', partition_name);
    -- Who is given new tables by default is not given this one: it is reached by tenant_audit.
    FOR grantee IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = partition_name::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM %s CASCADE', partition_name, grantee);
    END LOOP;
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION log_refuse_change()', partition_name);
    EXECUTE format('ALTER TABLE tenant_audit ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition_name, log_least_id(month), log_least_id(month + interval '1 month'));
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION log_add_partition FROM PUBLIC;

-- Drops one month's partition of the log, if all of it lies below the floor; nothing if it is not there.
CREATE FUNCTION log_drop_partition(partition_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '1s' SET timezone = 'UTC' AS $$
DECLARE
    past text := log_least_id(log_partition_month(partition_name) + interval '1 month');
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass
        AND inhrelid = to_regclass(partition_name)) THEN
        RETURN false;
    END IF;
    IF past > (SELECT audit_id FROM log_floor) COLLATE "C" THEN
        RAISE EXCEPTION 'partition % holds events that have not expired', partition_name;
    END IF;
    EXECUTE format('ALTER TABLE tenant_audit DETACH PARTITION %I', partition_name);
    EXECUTE format('DROP TABLE %I', partition_name);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION log_drop_partition FROM PUBLIC;

-- What runs as the owner looks for tables where the log is, and last among those that a session can make for itself: left
-- unsaid, those come first.
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION log_add_partition SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION log_drop_partition SET search_path = %I, pg_temp', current_schema());
END $$;
