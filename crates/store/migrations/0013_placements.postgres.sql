-- Database servers and disks on which places are made. How the server reaches them is in its configuration.
CREATE TABLE placements (
    name varchar(64) COLLATE "C" PRIMARY KEY,
    place_kind varchar(32) COLLATE "C" NOT NULL,
    region varchar(64) COLLATE "C" NOT NULL,
    address jsonb NOT NULL,
    profiles jsonb NOT NULL,
    isolation_levels jsonb NOT NULL,
    max_environments bigint,
    cordoned boolean NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Where the data of each environment lives. The row is written before the place is made. It outlives the row of its
-- environment, because the data of a removed environment stays until the tenant is purged: there is no foreign key to it.
CREATE TABLE environment_placements (
    env_id varchar(64) COLLATE "C" PRIMARY KEY,
    tenant_id varchar(64) COLLATE "C" NOT NULL REFERENCES tenants,
    name varchar(32) COLLATE "C" NOT NULL,
    placement varchar(64) COLLATE "C" REFERENCES placements,
    slot varchar(80) COLLATE "C",
    kind varchar(32) COLLATE "C" NOT NULL,
    location varchar(200) COLLATE "C" NOT NULL,
    fingerprint varchar(64) COLLATE "C" NOT NULL,
    settings varchar(64) COLLATE "C",
    created_at timestamptz NOT NULL,
    made_at timestamptz,
    removed_at timestamptz,
    closed_at timestamptz,
    destroying_at timestamptz
);
CREATE INDEX environment_placements_tenant_id ON environment_placements (tenant_id);
CREATE UNIQUE INDEX environment_placements_kind_location ON environment_placements (kind, location);
CREATE INDEX environment_placements_placement ON environment_placements (placement);
CREATE UNIQUE INDEX environment_placements_slot ON environment_placements (slot);
