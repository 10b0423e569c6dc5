//! A schema of its own for each environment, in a database that they share.
//!
//! The schema belongs to the administrator, so that no program can change its comment or grant its use. Programs see the names of
//! each other's tables, as everybody in a database does, and the text of functions and views, but none of the rows.

use super::ledger::create_database;
use super::names::{literal, owner, place, quoted, reader, temporary, visitor};
use super::server::{LEDGER, Server, fault, run};
use super::site::{Address, Site, Standing};
use super::{logins, prepared, reading, roles, settings};
use crate::Fault;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::PlacementKind;
use tokio_postgres::Client;

/// Maximum length of a database's name, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// A database in which each environment gets a schema.
#[derive(Debug, Clone)]
pub struct Schemas {
    server: Server,
    database: String,
}

impl Schemas {
    /// Prepares a database, which is created if it does not exist.
    pub async fn open(server: Server, database: String) -> Result<Self, Fault> {
        if database.is_empty() || database.len() > MAX_NAME_BYTES || database == LEDGER {
            return Err(Fault::Refused(format!("environments cannot share a database with the name {database:?}")));
        }
        let (visitor, temporary) = (visitor(&database), temporary(&database));
        let admin = server.connect_to_ledger().await?;
        // Processes that start at the same time would disturb each other.
        run(&admin, "SELECT pg_advisory_lock(0)").await?;
        let quoted_database = quoted(&database);
        create_database(&admin, &quoted_database).await?;
        for role in [&visitor, &temporary] {
            roles::create_role(&admin, role).await?;
        }
        // Environments get these rights as members. Rights of each one on the database would all be in one row of the catalog.
        let rights = format!(
            "REVOKE ALL ON DATABASE {quoted_database} FROM PUBLIC; \
             GRANT CONNECT ON DATABASE {quoted_database} TO {}; GRANT TEMPORARY ON DATABASE {quoted_database} TO {}",
            quoted(&visitor),
            quoted(&temporary)
        );
        run(&admin, &rights).await?;
        let inside = server.connect(Some(&database)).await?;
        run(&inside, "REVOKE ALL ON SCHEMA public FROM PUBLIC").await?;
        // Who is not the owner gets a warning, and revokes nothing.
        let text = "SELECT has_database_privilege('public', current_database(), 'CONNECT, TEMPORARY, CREATE') \
            OR has_schema_privilege('public', 'public', 'USAGE, CREATE')";
        if inside.query_one(text, &[]).await.map_err(|error| fault(&error))?.get(0) {
            return Err(Fault::Refused(format!(
                "everybody on the server may use database {database}: make the administrator of the placement its owner"
            )));
        }
        Ok(Self { server, database })
    }

    async fn connect(&self) -> Result<Client, Fault> {
        self.server.connect(Some(&self.database)).await
    }
}

impl Site for Schemas {
    const KIND: PlacementKind = PlacementKind::PostgresSchema;

    fn server(&self) -> &Server {
        &self.server
    }

    fn shared_database(&self) -> Option<&str> {
        Some(&self.database)
    }

    fn address(&self, env_id: &EnvironmentId) -> Address {
        Address { database: self.database.clone(), schema: Some(place(env_id)) }
    }

    async fn find(&self, _admin: &Client, env_id: &EnvironmentId) -> Result<Option<Standing>, Fault> {
        let text = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1";
        let row = self.connect().await?.query_opt(text, &[&place(env_id)]).await.map_err(|error| fault(&error))?;
        Ok(row.map(|row| Standing { fingerprint: row.get(0) }))
    }

    async fn create(&self, admin: &Client, env_id: &EnvironmentId, fingerprint: &str) -> Result<(), Fault> {
        roles::create(admin, env_id).await?;
        let (plain, inside) = (place(env_id), self.connect().await?);
        let schema = quoted(&plain);
        run(&inside, "BEGIN").await?;
        run(&inside, &format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
        settings::create(&inside, env_id, &plain).await?;
        roles::set_default_rights(&inside, env_id).await?;
        run(&inside, &format!("COMMENT ON SCHEMA {schema} IS {}", literal(fingerprint))).await?;
        run(&inside, "COMMIT").await
    }

    async fn open(&self, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
        let (owner, reader, schema) = (quoted(&owner(env_id)), quoted(&reader(env_id)), quoted(&place(env_id)));
        let rights =
            format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}; GRANT USAGE ON SCHEMA {schema} TO {reader}");
        run(&self.connect().await?, &rights).await?;
        let rights = format!(
            "GRANT {} TO {owner}, {reader}; GRANT {} TO {owner}",
            quoted(&visitor(&self.database)),
            quoted(&temporary(&self.database))
        );
        run(admin, &rights).await
    }

    /// The logins end first: this needs no session in the database, which could be full. A session that is not ended cannot name
    /// anything in the schema afterwards.
    async fn close(&self, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
        let (visitor, temporary) = (quoted(&visitor(&self.database)), quoted(&temporary(&self.database)));
        for role in roles::existing(admin, env_id).await? {
            run(admin, &format!("REVOKE {visitor}, {temporary} FROM {}", quoted(&role))).await?;
        }
        logins::end_all(&self.server, admin, env_id).await?;
        let inside = self.connect().await?;
        for role in roles::existing(admin, env_id).await? {
            let schema = quoted(&place(env_id));
            run(&inside, &format!("REVOKE ALL ON SCHEMA {schema} FROM {}", quoted(&role))).await?;
        }
        Ok(())
    }

    async fn set_settings(&self, env_id: &EnvironmentId, text: &str) -> Result<(), Fault> {
        settings::write(&self.connect().await?, env_id, &place(env_id), text).await
    }

    async fn check(&self, env_id: &EnvironmentId) -> Result<(), Fault> {
        settings::check(&self.connect().await?, env_id, &place(env_id)).await
    }

    async fn grant_reading(&self, env_id: &EnvironmentId) -> Result<(), Fault> {
        reading::grant(&self.connect().await?, env_id, &place(env_id)).await
    }

    async fn bytes(&self, _admin: &Client, env_id: &EnvironmentId) -> Result<u64, Fault> {
        let text = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c \
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'm', 'S')";
        let row = self.connect().await?.query_one(text, &[&place(env_id)]).await.map_err(|error| fault(&error))?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    async fn destroy(&self, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
        let roles = logins::all_roles(admin, env_id).await?;
        prepared::roll_back(&self.server, admin, &self.database, &roles).await?;
        run(&self.connect().await?, &format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(&place(env_id)))).await
    }
}
