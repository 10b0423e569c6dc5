-- Database servers and disks on which places are made. How the server reaches them is in its configuration.
CREATE TABLE placements (
    name text PRIMARY KEY CHECK (length(name) <= 64),
    place_kind text NOT NULL CHECK (length(place_kind) <= 32),
    region text NOT NULL CHECK (length(region) <= 64),
    address text NOT NULL CHECK (json_valid(address)),
    profiles text NOT NULL CHECK (json_valid(profiles)),
    isolation_levels text NOT NULL CHECK (json_valid(isolation_levels)),
    max_environments integer,
    cordoned integer NOT NULL,
    version integer NOT NULL,
    created_at integer NOT NULL,
    updated_at integer NOT NULL
) STRICT;

-- Where the data of each environment lives. The row is written before the place is made. It outlives the row of its
-- environment, because the data of a removed environment stays until the tenant is purged: there is no foreign key to it.
CREATE TABLE environment_placements (
    env_id text PRIMARY KEY CHECK (length(env_id) <= 64),
    tenant_id text NOT NULL REFERENCES tenants CHECK (length(tenant_id) <= 64),
    name text NOT NULL CHECK (length(name) <= 32),
    placement text REFERENCES placements CHECK (length(placement) <= 64),
    slot text CHECK (length(slot) <= 80),
    kind text NOT NULL CHECK (length(kind) <= 32),
    location text NOT NULL CHECK (length(location) <= 200),
    fingerprint text NOT NULL CHECK (length(fingerprint) <= 64),
    settings text CHECK (length(settings) <= 64),
    created_at integer NOT NULL,
    made_at integer,
    removed_at integer,
    closed_at integer,
    destroying_at integer
) STRICT;
CREATE INDEX environment_placements_tenant_id ON environment_placements (tenant_id);
CREATE UNIQUE INDEX environment_placements_kind_location ON environment_placements (kind, location);
CREATE INDEX environment_placements_placement ON environment_placements (placement);
CREATE UNIQUE INDEX environment_placements_slot ON environment_placements (slot);
