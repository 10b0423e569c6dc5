//! What the reader of an environment may do: read what exists, and nothing else.
//!
//! Default rights let it read what programs make. Programs can take that away, or give more to everybody, so the rights are set
//! right for each login that is given out. What belongs to a role of which the administrator is no member stays as it is.

use super::names::reader;
use super::server::{fault, run};
use crate::Fault;
use tenancy_core::ids::EnvironmentId;
use tokio_postgres::Client;

/// Statements that are wanted for tables, sequences and what is like them. The reader is `$1`, and the schema `$2`.
const RELATIONS: &str = "
    SELECT CASE WHEN can_read THEN '' ELSE format('GRANT SELECT ON %s TO %I; ', name, $1::text) END
        || CASE WHEN can_write THEN format('REVOKE ALL ON %1$s FROM PUBLIC, %2$I; GRANT SELECT ON %1$s TO %2$I; ', name, $1::text)
           ELSE '' END
    FROM (
        SELECT format('%s %I.%I', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname) AS name,
            has_table_privilege($1::text, c.oid, 'SELECT') AS can_read,
            CASE relkind WHEN 'S' THEN has_sequence_privilege($1::text, c.oid, 'USAGE, UPDATE')
            ELSE has_table_privilege($1::text, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                OR has_any_column_privilege($1::text, c.oid, 'INSERT, UPDATE, REFERENCES') END AS can_write
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE nspname = $2::text AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND has_table_privilege(c.oid, 'SELECT WITH GRANT OPTION')
    ) AS relations
    WHERE can_write OR NOT can_read";

/// Statements that are wanted for functions which run with the rights of their owner.
const ROUTINES: &str = "
    SELECT format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I; ', p.oid::regprocedure, $1::text)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE nspname = $2::text AND prosecdef AND has_function_privilege($1::text, p.oid, 'EXECUTE')
        AND has_function_privilege(p.oid, 'EXECUTE WITH GRANT OPTION')";

/// Statements that are wanted for the schema itself.
const SCHEMAS: &str = "
    SELECT format('GRANT USAGE ON SCHEMA %1$I TO %2$I; REVOKE CREATE ON SCHEMA %1$I FROM PUBLIC, %2$I; ', nspname, $1::text)
    FROM pg_namespace
    WHERE nspname = $2::text AND has_schema_privilege(oid, 'USAGE WITH GRANT OPTION')
        AND (NOT has_schema_privilege($1::text, oid, 'USAGE') OR has_schema_privilege($1::text, oid, 'CREATE'))";

/// Lets the reader read everything that is in a schema, and do nothing else there.
pub async fn grant(inside: &Client, env_id: &EnvironmentId, schema: &str) -> Result<(), Fault> {
    let reader = reader(env_id);
    let mut wanted = String::new();
    for text in [SCHEMAS, RELATIONS, ROUTINES] {
        let rows = inside.query(text, &[&reader, &schema]).await.map_err(|error| fault(&error))?;
        wanted.extend(rows.iter().map(|row| row.get::<_, &str>(0)));
    }
    match wanted.is_empty() {
        true => Ok(()),
        false => run(inside, &wanted).await,
    }
}
