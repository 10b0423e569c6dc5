-- Scope, rotation with an overlap, creator and last use of API keys.
ALTER TABLE api_keys
    ADD COLUMN scope varchar(128) COLLATE "C" NOT NULL DEFAULT 'all',
    ADD COLUMN previous_digest varchar(64) COLLATE "C",
    ADD COLUMN previous_expires_at timestamptz,
    ADD COLUMN created_by varchar(64) COLLATE "C",
    ADD COLUMN last_used_at timestamptz;
CREATE UNIQUE INDEX api_keys_previous_digest ON api_keys (previous_digest) WHERE previous_digest IS NOT NULL;
CREATE INDEX api_keys_created_by ON api_keys (created_by) WHERE created_by IS NOT NULL;
CREATE INDEX api_keys_scope ON api_keys (scope, key_id);
