//! What the tests share: a server, places on it, and what its superuser sees.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenancy_core::Timestamp;
use tenancy_core::environment::IsolationLevel;
use tenancy_core::ids::{EnvironmentId, TenantId};
use tenancy_core::json::Object;
use tenancy_core::placement::{Access, Fence, Place};
use tenancy_core::tenant::Profile;
use tenancy_placement::postgres::{OwnDatabases, OwnSchemas, Server};
use tenancy_placement::{Connection, Fault, PostgresLogin, Provisioner, Recorded, Wanted};
use tenancy_testkit::{Database, Postgres};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// The administrator of the placement.
pub const ADMIN: &str = "placement_admin";

/// The database in which environments have schemas.
pub const SHARED: &str = "tenancy_shared";

/// Defines tests that hold for each kind of place.
macro_rules! for_each_kind {
    ($($name:ident),+ $(,)?) => {
        mod with_databases {
            $(#[tokio::test] async fn $name() { super::$name(crate::world::World::databases().await).await; })+
        }
        mod with_schemas {
            $(#[tokio::test] async fn $name() { super::$name(crate::world::World::schemas().await).await; })+
        }
    };
}
pub(crate) use for_each_kind;

pub struct World {
    pub places: Box<dyn Provisioner>,
}

/// A server on this machine.
pub fn server_at(url: &str) -> Server {
    Server::with(url.parse().expect("a configuration"), None)
}

/// Makes each kind of place on a server of its own, with an administrator who exists.
pub async fn on_a_server(server: &Postgres, admin: &str) -> [World; 2] {
    let url = format!("postgres://{admin}@127.0.0.1:{}/postgres", server.port());
    let server = server_at(&url);
    let databases = OwnDatabases::open(server.clone()).await.expect("opens");
    let schemas = OwnSchemas::open(server, SHARED).await.expect("opens");
    [World { places: Box::new(databases) }, World { places: Box::new(schemas) }]
}

/// A database of the superuser.
pub fn superuser() -> Database {
    static SUPERUSER: OnceLock<Database> = OnceLock::new();
    let server = Postgres::shared();
    let made = SUPERUSER.get_or_init(|| {
        let database = server.database("superuser");
        database.execute(&format!("CREATE ROLE {ADMIN} LOGIN CREATEDB CREATEROLE"));
        database
    });
    made.clone()
}

pub fn admin_server() -> Server {
    superuser();
    let url = format!("postgres://{ADMIN}@127.0.0.1:{}/postgres", Postgres::shared().port());
    server_at(&url)
}

impl World {
    pub async fn databases() -> Self {
        Self { places: Box::new(OwnDatabases::open(admin_server()).await.expect("opens")) }
    }

    pub async fn schemas() -> Self {
        Self { places: Box::new(OwnSchemas::open(admin_server(), SHARED).await.expect("opens")) }
    }

    /// Makes an environment that is in service.
    pub async fn environment(&self) -> (Wanted, Recorded) {
        let env = wanted();
        let place = self.places.choose(&env).await.expect("chosen");
        self.places.make(&env, &place, Access::Full, at(1, 1)).await.expect("made");
        let recorded = made(&env, &place);
        (env, recorded)
    }

    /// Gives out a login for a long time.
    pub async fn login(&self, recorded: &Recorded, access: Access) -> PostgresLogin {
        self.login_until(recorded, access, Timestamp::MAX).await
    }

    pub async fn login_until(&self, recorded: &Recorded, access: Access, until: Timestamp) -> PostgresLogin {
        given(self.places.connect(recorded, access, until).await)
    }
}

pub fn given(connection: Result<Connection, Fault>) -> PostgresLogin {
    match connection {
        Ok(Connection::Postgres(login)) => login,
        other => panic!("no login: {other:?}"),
    }
}

pub fn wanted() -> Wanted {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    Wanted {
        tenant_id: TenantId::parse("acme-eu").expect("an id"),
        profile: Profile::Dedicated,
        env_id: EnvironmentId::known(format!("env_{}_{number}", std::process::id())),
        name: "dev".to_owned(),
        region: "eu-west-1".to_owned(),
        isolation_level: IsolationLevel::Strict,
        quotas: Object::new(),
        retention_days: Some(30),
        policies: Object::new(),
    }
}

pub fn at(counter: i64, lease_epoch: i64) -> Fence {
    Fence { log_epoch: 1, counter, lease_epoch }
}

pub fn made(env: &Wanted, place: &Place) -> Recorded {
    Recorded { env_id: env.env_id.clone(), place: place.clone(), is_made: true }
}

/// Opens a session of a login.
pub async fn open(login: &PostgresLogin) -> Result<Client, tokio_postgres::Error> {
    open_database(login, &login.database).await
}

/// Opens a session of a login in another database.
pub async fn open_database(login: &PostgresLogin, database: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(&login.host).port(login.port).user(&login.user).password(login.password.expose()).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}

/// Runs statements that must succeed.
pub async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Runs a statement that must be refused for want of rights.
pub async fn must_be_refused(client: &Client, sql: &str) {
    let refused = client.batch_execute(sql).await.expect_err(sql);
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {refused:?}");
}

pub async fn count(client: &Client, table: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.expect(table).get(0)
}

/// Opens a session of the superuser in a database.
pub async fn superuser_in(database: &str) -> Client {
    let opened = tokio_postgres::connect(&Postgres::shared().url(database), NoTls).await;
    let (client, connection) = opened.expect("a database");
    tokio::spawn(async { drop(connection.await) });
    client
}

/// Everything on the server that has the environment's id in its name.
pub async fn traces(env: &Wanted) -> Vec<String> {
    let is_shared = format!("SELECT count(*) FROM pg_database WHERE datname = '{SHARED}'");
    let database = if superuser().value(&is_shared) == "1" { SHARED } else { "postgres" };
    let text = "SELECT rolname::text FROM pg_roles WHERE strpos(rolname || '_', $1) > 0 \
        UNION ALL SELECT datname FROM pg_database WHERE strpos(datname || '_', $1) > 0 \
        UNION ALL SELECT nspname FROM pg_namespace WHERE strpos(nspname || '_', $1) > 0 ORDER BY 1";
    let rows = superuser_in(database).await.query(text, &[&format!("{}_", env.env_id)]).await.expect("traces");
    rows.iter().map(|row| row.get(0)).collect()
}
