-- Scope, rotation with an overlap, creator and last use of API keys.
ALTER TABLE api_keys ADD COLUMN scope TEXT NOT NULL DEFAULT 'all' CHECK (length(scope) <= 128);
ALTER TABLE api_keys ADD COLUMN previous_digest TEXT CHECK (length(previous_digest) <= 64);
ALTER TABLE api_keys ADD COLUMN previous_expires_at INTEGER;
ALTER TABLE api_keys ADD COLUMN created_by TEXT CHECK (length(created_by) <= 64);
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;
CREATE UNIQUE INDEX api_keys_previous_digest ON api_keys (previous_digest) WHERE previous_digest IS NOT NULL;
CREATE INDEX api_keys_created_by ON api_keys (created_by) WHERE created_by IS NOT NULL;
CREATE INDEX api_keys_scope ON api_keys (scope, key_id);
