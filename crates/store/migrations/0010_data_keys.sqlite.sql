-- The data key of each tenant, wrapped by a key that is not in this database; the row with an empty tenant_id is the
-- platform's. A purge empties `wrapped`; the row stays until the wrapping key of the tenant is destroyed.
CREATE TABLE data_keys (
    tenant_id text PRIMARY KEY CHECK (length(tenant_id) <= 64),
    wrapping_key text NOT NULL CHECK (length(wrapping_key) <= 200),
    wrapped text NOT NULL,
    former_key text CHECK (length(former_key) <= 200),
    created_at integer NOT NULL,
    due_at integer
) STRICT;
CREATE INDEX data_keys_due ON data_keys (due_at) WHERE due_at IS NOT NULL;
-- Rows from before, which are not sealed yet. Sealed JSON is a string.
CREATE INDEX audit_private_plain ON audit_private (tenant_id, audit_id) WHERE substr(content, 1, 1) <> '"';
CREATE INDEX tenant_versions_plain ON tenant_versions (tenant_id, version)
    WHERE substr(manifest, 1, 1) <> '"' AND manifest <> '{}';
CREATE INDEX environment_versions_plain ON environment_versions (tenant_id, env_id, version)
    WHERE substr(manifest, 1, 1) <> '"' AND manifest <> '{}';
