//! Checks that the triggers that keep the log append-only are there and enabled. A superuser or the owner can drop or
//! disable them.

use crate::rows::{Dialect, Type};
use crate::sql::Sql;

/// The triggers of the log. Each partition has a copy of the trigger against changes, and its own against TRUNCATE.
const MISSING: &str = "WITH expected (tab, name) AS (VALUES \
    ('tenant_audit', 'tenant_audit_append_only'), ('tenant_audit', 'tenant_audit_no_truncate'), \
    ('platform_audit', 'platform_audit_append_only'), ('platform_audit', 'platform_audit_no_truncate'), \
    ('log_seals', 'log_seals_append_only'), ('log_seals', 'log_seals_no_truncate'), \
    ('log_floor', 'log_floor_rises'), ('log_floor', 'log_floor_stays')), \
    wanted AS (SELECT to_regclass(tab) AS tab, name FROM expected \
        UNION ALL SELECT inhrelid::regclass, trigger FROM pg_inherits \
            CROSS JOIN (VALUES ('tenant_audit_append_only'), ('no_truncate')) AS t (trigger) \
            WHERE inhparent = 'tenant_audit'::regclass AND NOT inhdetachpending) \
    SELECT w.name::text, w.tab::text FROM wanted w \
    LEFT JOIN pg_trigger t ON t.tgrelid = w.tab AND t.tgname = w.name AND t.tgenabled IN ('O', 'A') \
    LEFT JOIN pg_proc p ON p.oid = t.tgfoid AND p.proname IN ('log_refuse_change', 'log_floor_refuse') \
        AND p.prosrc LIKE '%RAISE EXCEPTION%' \
    WHERE p.oid IS NULL ORDER BY 2, 1";

/// Returns the statement that finds name and table of each trigger that is missing, disabled or without effect.
pub fn missing() -> (Sql, [Type; 2]) {
    (Sql::new(Dialect::Postgres, MISSING), [Type::Text, Type::Text])
}
