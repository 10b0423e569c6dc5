//! Environments in PostgreSQL: databases and schemas that jobs make, open, close and destroy, and the logins that are given out.

use crate::house::{House, On, on_both};
use crate::placements::manifest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tenancy_core::ids::PlacementName;
use tenancy_core::placement::PlacementKind;
use tenancy_placement::OnDemand;
use tenancy_placement::postgres::{OwnDatabases, OwnSchemas, Server};
use tenancy_placement::sqlite::SqliteFiles;
use tenancy_server::logins;
use tenancy_server::provisioner::{Places, Placing};
use tenancy_store::database::postgres_server;

on_both!(
    an_environment_must_have_a_database_or_a_schema_that_its_jobs_open_close_and_destroy,
    a_login_must_end_at_its_time_and_with_a_suspension,
    a_password_must_be_answered_once_and_kept_nowhere,
    a_job_must_wait_for_a_server_that_is_away,
    a_login_must_name_the_address_that_its_placement_declares,
);

/// A house with a placement for databases and one for schemas, on a server of their own.
struct Servers {
    house: House,
    server: tenancy_testkit::Postgres,
    _folder: TempDir,
}

impl Servers {
    async fn new(on: On) -> Self {
        let server = tenancy_testkit::Postgres::start();
        let url = server.url("postgres");
        let reached = move || {
            let (config, tls) = postgres_server(&url).expect("a URL");
            Server::with(config, tls)
        };
        let (databases, schemas) = (reached.clone(), reached);
        let folder = tempfile::tempdir().expect("a folder");
        let places = Places::own(SqliteFiles::open(folder.path()).expect("opens"))
            .with(
                PlacementName::known("pg-databases"),
                PlacementKind::PostgresDatabase,
                OnDemand::new(move || OwnDatabases::open(databases())),
            )
            .with(
                PlacementName::known("pg-schemas"),
                PlacementKind::PostgresSchema,
                OnDemand::new(move || OwnSchemas::open(schemas(), "environments")),
            );
        let house = House::with(on, Arc::new(Placing::on_placements(places))).await;
        for (name, kind, level) in
            [("pg-databases", "postgres_database", "strict"), ("pg-schemas", "postgres_schema", "shared")]
        {
            let placement = json!({
                "name": name, "place_kind": kind, "region": "eu-west-1", "isolation_levels": [level], "max_environments": 9,
            });
            house.post("/v1/placements", placement).await.ok(201);
        }
        house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
        Self { house, server, _folder: folder }
    }

    async fn registered(on: On) -> Self {
        let servers = Self::new(on).await;
        servers.house.post("/v1/tenants", manifest()).await.ok(201);
        servers.house.work().await;
        servers
    }

    async fn login(&self, environment: &str, said: Value) -> Value {
        let path = format!("/v1/tenants/acme-eu/environments/{environment}/connection");
        self.house.post(&path, said).await.ok(200).body
    }

    /// Runs statements as this login. Returns what the last one has found, or why it was refused.
    async fn run(&self, login: &Value, text: &str) -> Result<Option<String>, String> {
        let client = connected(login).await?;
        let rows = client.simple_query(text).await.map_err(|error| described(&error))?;
        Ok(rows.iter().rev().find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// What the server has of environments: roles, databases and schemas.
    async fn left(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (database, text) in [
            ("postgres", "SELECT rolname::text FROM pg_roles WHERE rolname LIKE '%env\\_%'"),
            ("postgres", "SELECT datname::text FROM pg_database WHERE datname LIKE '%env\\_%'"),
            ("environments", "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE '%env\\_%'"),
        ] {
            let url = self.server.url(database);
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
            tokio::spawn(connection);
            let rows = client.query(text, &[]).await.expect("answers");
            found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        found
    }
}

async fn connected(login: &Value) -> Result<tokio_postgres::Client, String> {
    let text = |name: &str| login[name].as_str().unwrap_or_default();
    let mut config = tokio_postgres::Config::new();
    config.host(text("host")).port(u16::try_from(login["port"].as_i64().expect("a port")).expect("a port"));
    config.dbname(text("database")).user(text("user")).password(text("password"));
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(|error| described(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

fn described(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

async fn an_environment_must_have_a_database_or_a_schema_that_its_jobs_open_close_and_destroy(on: On) {
    let servers = Servers::registered(on).await;
    let house = &servers.house;
    for (environment, kind) in [("dev", "postgres_schema"), ("prod", "postgres_database")] {
        let place = &house.get(&format!("/v1/tenants/acme-eu/environments/{environment}")).await.ok(200).body["place"];
        assert_eq!(place["kind"], kind, "{environment}");
        let full = servers.login(environment, json!({"reason": "a test", "access": "full"})).await;
        let made = "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('kept')";
        servers.run(&full, made).await.expect("written");
        let reader = servers.login(environment, json!({"reason": "a test"})).await;
        assert_eq!(servers.run(&reader, "SELECT text FROM notes").await, Ok(Some("kept".to_owned())), "{environment}");
        let refused = servers.run(&reader, "SET default_transaction_read_only = off; DELETE FROM notes").await;
        assert!(refused.is_err(), "{environment}: {refused:?}");
    }
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    let ask = json!({"reason": "a test"});
    house.post("/v1/tenants/acme-eu/environments/prod/connection", ask).await.refused(409, "not_in_this_state");
    house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    for environment in ["dev", "prod"] {
        let again = servers.login(environment, json!({"reason": "a test"})).await;
        assert_eq!(servers.run(&again, "SELECT text FROM notes").await, Ok(Some("kept".to_owned())), "{environment}");
    }
    assert_ne!(servers.left().await, [""; 0]);
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "operator"})).await.ok(202);
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    house.work().await;
    assert_eq!(servers.left().await, [""; 0], "nothing is left after a purge");
}

async fn a_login_must_end_at_its_time_and_with_a_suspension(on: On) {
    let servers = Servers::registered(on).await;
    let house = &servers.house;
    for environment in ["dev", "prod"] {
        let login = servers.login(environment, json!({"reason": "a test", "expires_in_seconds": 60})).await;
        let events = house.events("event_type=ENVIRONMENT_CONNECTED").await;
        assert_eq!(events.last().expect("an event")["payload"]["expires_at"], login["expires_at"]);
        let open = connected(&login).await.expect("opens");
        open.simple_query("SELECT 1").await.expect("answers");
        assert_eq!(logins::expire(&house.server.tenancy).await, Ok(0), "not before its time");
        house.server.tenancy.store.shift_clock(Duration::from_secs(61));
        assert_eq!(logins::expire(&house.server.tenancy).await, Ok(1));
        assert!(open.simple_query("SELECT 1").await.is_err(), "{environment}: its session ends");
        assert!(connected(&login).await.is_err(), "{environment}");
    }
    let mut open = Vec::new();
    for environment in ["dev", "prod"] {
        let login = servers.login(environment, json!({"reason": "a test"})).await;
        open.push((connected(&login).await.expect("opens"), login));
    }
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "security"})).await.ok(202);
    house.work().await;
    for (session, login) in open {
        assert!(session.simple_query("SELECT 1").await.is_err(), "a suspension ends sessions");
        assert!(connected(&login).await.is_err(), "and logins");
    }
}

async fn a_password_must_be_answered_once_and_kept_nowhere(on: On) {
    let servers = Servers::registered(on).await;
    let house = &servers.house;
    let path = "/v1/tenants/acme-eu/environments/prod/connection";
    let ask = || json!({"reason": "a test"});
    let keyed = [("idempotency-key", "once")];
    let first = house.send("POST", path, &keyed, ask()).await.ok(200);
    assert_eq!(first.header("cache-control"), "no-store");
    assert!(first.body["password"].as_str().is_some_and(|password| password.len() == 64));
    let again = house.send("POST", path, &keyed, ask()).await.ok(200).body;
    assert_eq!((&again["user"], &again["password"]), (&first.body["user"], &Value::Null));
    let event = house.events("event_type=ENVIRONMENT_CONNECTED").await[0].to_string();
    assert!(!event.contains(first.body["password"].as_str().expect("a text")), "{event}");
    house.post(path, json!({"reason": "a test", "expires_in_seconds": 59})).await.refused(422, "invalid");
}

async fn a_job_must_wait_for_a_server_that_is_away(on: On) {
    let mut servers = Servers::new(on).await;
    servers.server.stop();
    let house = &servers.house;
    house.post("/v1/tenants", manifest()).await.ok(201);
    house.work().await;
    let job = house.get("/v1/tenants/acme-eu/jobs?limit=1").await.ok(200).body["items"][0].clone();
    assert_eq!(job["state"], "queued");
    let what = job["waiting_for"].as_str().expect("it waits");
    assert!(what.contains("pg-schemas: the server of the placement"), "{what}");
    servers.server.restart();
    house.server.tenancy.store.shift_clock(Duration::from_secs(60));
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.ok(200).body["state"], "Active");
}

async fn a_login_must_name_the_address_that_its_placement_declares(on: On) {
    let servers = Servers::registered(on).await;
    let address = json!({"address": {"host": "pooler.example", "port": 6432}});
    servers.house.send("PATCH", "/v1/placements/pg-databases", &[("if-match", "*")], address).await.ok(200);
    let login = servers.login("prod", json!({"reason": "a test"})).await;
    assert_eq!((&login["host"], &login["port"]), (&json!("pooler.example"), &json!(6432)));
    let login = servers.login("dev", json!({"reason": "a test"})).await;
    assert_eq!(login["host"], "127.0.0.1");
}
