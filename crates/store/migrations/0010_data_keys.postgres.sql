-- The data key of each tenant, wrapped by a key that is not in this database; the row with an empty tenant_id is the
-- platform's. A purge empties `wrapped`; the row stays until the wrapping key of the tenant is destroyed.
CREATE TABLE data_keys (
    tenant_id varchar(64) COLLATE "C" PRIMARY KEY,
    wrapping_key varchar(200) COLLATE "C" NOT NULL,
    wrapped text NOT NULL,
    former_key varchar(200) COLLATE "C",
    created_at timestamptz NOT NULL,
    due_at timestamptz
);
CREATE INDEX data_keys_due ON data_keys (due_at) WHERE due_at IS NOT NULL;
-- Rows from before, which are not sealed yet. Sealed JSON is a string.
CREATE INDEX audit_private_plain ON audit_private (tenant_id, audit_id) WHERE substr(content, 1, 1) <> '"';
CREATE INDEX tenant_versions_plain ON tenant_versions (tenant_id, version)
    WHERE substr(manifest, 1, 1) <> '"' AND manifest <> '{}';
CREATE INDEX environment_versions_plain ON environment_versions (tenant_id, env_id, version)
    WHERE substr(manifest, 1, 1) <> '"' AND manifest <> '{}';
