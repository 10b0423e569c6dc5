-- Seals of the log: one row for each range of positions, with the digests of its events, chained by digest.
CREATE TABLE log_seals (
    first_position bigint PRIMARY KEY,
    last_position bigint NOT NULL,
    previous_digest varchar(64) COLLATE "C" NOT NULL,
    last_audit_id varchar(64) COLLATE "C" NOT NULL,
    entries text NOT NULL,
    digest varchar(64) COLLATE "C" NOT NULL,
    sealed_at timestamptz NOT NULL
);
CREATE TRIGGER log_seals_append_only BEFORE UPDATE OR DELETE ON log_seals
    FOR EACH ROW EXECUTE FUNCTION log_refuse_change();
CREATE TRIGGER log_seals_no_truncate BEFORE TRUNCATE ON log_seals
    FOR EACH STATEMENT EXECUTE FUNCTION log_refuse_change();

-- A role that already appends to the log also appends seals, and reads the floor to verify them. `tenancy db migrate --serve-role` grants the same.
DO $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN SELECT DISTINCT a.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'log_batches'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> 0 AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT ON log_seals TO %s', grantee);
        EXECUTE format('GRANT SELECT ON log_floor TO %s', grantee);
    END LOOP;
END $$;
