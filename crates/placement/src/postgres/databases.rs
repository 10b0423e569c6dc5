//! A database of its own for each environment.
//!
//! It belongs to the administrator, so that no program can change its comment, its rights or whether it accepts connections. The
//! fingerprint is in the comment, which can be read although the database refuses connections.

use super::names::{literal, owner, place, quoted, reader};
use super::server::{Server, fault, run};
use super::sessions::{self, Of};
use super::site::{Address, Site, Standing};
use super::{logins, prepared, reading, roles, settings};
use crate::Fault;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::PlacementKind;
use tokio_postgres::Client;

/// Schema of the control plane in each database.
const SCHEMA: &str = "tenancy";

/// A server on which each environment gets a database.
#[derive(Debug, Clone)]
pub struct Databases {
    /// The server.
    pub server: Server,
}

impl Databases {
    async fn connect(&self, env_id: &EnvironmentId) -> Result<Client, Fault> {
        self.server.connect(Some(&place(env_id))).await
    }

    /// Gives the environment's roles what they may do inside the database.
    async fn fill(&self, env_id: &EnvironmentId) -> Result<(), Fault> {
        let (owner, reader) = (quoted(&owner(env_id)), quoted(&reader(env_id)));
        let inside = self.connect(env_id).await?;
        let rights = format!(
            "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO {owner}; \
             CREATE SCHEMA IF NOT EXISTS {SCHEMA}; GRANT USAGE ON SCHEMA {SCHEMA} TO {owner}, {reader}"
        );
        run(&inside, &rights).await?;
        roles::set_default_rights(&inside, env_id).await?;
        settings::create(&inside, env_id, SCHEMA).await
    }
}

impl Site for Databases {
    const KIND: PlacementKind = PlacementKind::PostgresDatabase;

    fn server(&self) -> &Server {
        &self.server
    }

    fn shared_database(&self) -> Option<&str> {
        None
    }

    fn address(&self, env_id: &EnvironmentId) -> Address {
        Address { database: place(env_id), schema: None }
    }

    async fn find(&self, admin: &Client, env_id: &EnvironmentId) -> Result<Option<Standing>, Fault> {
        let text = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1";
        let row = admin.query_opt(text, &[&place(env_id)]).await.map_err(|error| fault(&error))?;
        Ok(row.map(|row| Standing { fingerprint: row.get(0) }))
    }

    /// The database accepts connections meanwhile, but programs have no logins. The comment comes last, and says that it is
    /// complete.
    async fn create(&self, admin: &Client, env_id: &EnvironmentId, fingerprint: &str) -> Result<(), Fault> {
        roles::create(admin, env_id).await?;
        let database = quoted(&place(env_id));
        if self.find(admin, env_id).await?.is_none() {
            run(admin, &format!("CREATE DATABASE {database} TEMPLATE template0 ALLOW_CONNECTIONS false")).await?;
        }
        let (owner, reader) = (quoted(&owner(env_id)), quoted(&reader(env_id)));
        let rights = format!(
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC; \
             GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {owner}; \
             GRANT CONNECT ON DATABASE {database} TO {reader}"
        );
        run(admin, &rights).await?;
        self.open(admin, env_id).await?;
        self.fill(env_id).await?;
        run(admin, &format!("COMMENT ON DATABASE {database} IS {}", literal(fingerprint))).await
    }

    async fn open(&self, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
        run(admin, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", quoted(&place(env_id)))).await
    }

    /// The logins end first: a session of a superuser, which the administrator may not end, does not keep them.
    async fn close(&self, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
        let database = place(env_id);
        run(admin, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", quoted(&database))).await?;
        logins::end_all(&self.server, admin, env_id).await?;
        sessions::settle(admin, &database).await?;
        sessions::end(admin, Of::Database(&database)).await
    }

    async fn set_settings(&self, env_id: &EnvironmentId, text: &str) -> Result<(), Fault> {
        settings::write(&self.connect(env_id).await?, env_id, SCHEMA, text).await
    }

    async fn check(&self, env_id: &EnvironmentId) -> Result<(), Fault> {
        settings::check(&self.connect(env_id).await?, env_id, SCHEMA).await
    }

    async fn grant_reading(&self, env_id: &EnvironmentId) -> Result<(), Fault> {
        let inside = self.connect(env_id).await?;
        let text = "SELECT nspname FROM pg_namespace WHERE NOT starts_with(nspname, 'pg_') \
            AND nspname <> 'information_schema'";
        for row in inside.query(text, &[]).await.map_err(|error| fault(&error))? {
            reading::grant(&inside, env_id, row.get(0)).await?;
        }
        Ok(())
    }

    async fn bytes(&self, admin: &Client, env_id: &EnvironmentId) -> Result<u64, Fault> {
        let text = "SELECT pg_database_size(oid) FROM pg_database WHERE datname = $1";
        let row = admin.query_opt(text, &[&place(env_id)]).await.map_err(|error| fault(&error))?;
        Ok(row.map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
    }

    async fn destroy(&self, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
        let database = place(env_id);
        let roles = logins::all_roles(admin, env_id).await?;
        if prepared::exist(admin, &database, &roles).await? {
            // The logins are shut, so no program gets in.
            self.open(admin, env_id).await?;
            prepared::roll_back(&self.server, admin, &database, &roles).await?;
            self.close(admin, env_id).await?;
        }
        run(admin, &format!("DROP DATABASE IF EXISTS {}", quoted(&database))).await
    }
}
