-- The tenant that a stored response contains, so that a purge of the tenant can erase the response.
ALTER TABLE idempotency_records ADD COLUMN tenant_id text CHECK (length(tenant_id) <= 64);
CREATE INDEX idempotency_records_tenant_id ON idempotency_records (tenant_id) WHERE tenant_id IS NOT NULL;
