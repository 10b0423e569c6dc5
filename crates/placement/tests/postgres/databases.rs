//! What holds for databases only, and for the server.

use crate::world::{
    ADMIN, World, admin_server, at, given, made, must_be_refused, on_a_server, open, run, server_at, superuser,
    superuser_in, wanted,
};
use tenancy_core::Timestamp;
use tenancy_core::placement::Access;
use tenancy_placement::postgres::OwnDatabases;
use tenancy_placement::{Fault, PostgresLogin, Provisioner as _};
use tenancy_testkit::Postgres;
use tokio_postgres::error::SqlState;

#[tokio::test]
async fn what_a_crash_left_must_be_taken_over_and_a_foreign_database_left_alone() {
    let (world, env, other) = (World::databases().await, wanted(), wanted());
    let places = &world.places;
    let place = places.choose(&env).await.expect("chosen");
    // A crash between the creation of the database and its comment.
    superuser().execute(&format!("CREATE DATABASE \"{}\" OWNER {ADMIN}", place.location));
    assert_eq!(places.make(&env, &place, Access::Full, at(1, 1)).await, Ok(()));
    open(&world.login(&made(&env, &place), Access::ReadOnly).await).await.expect("open");
    let foreign = places.choose(&other).await.expect("chosen");
    superuser().execute(&format!("CREATE DATABASE \"{}\"", foreign.location));
    superuser().execute(&format!("COMMENT ON DATABASE \"{}\" IS 'another'", foreign.location));
    for refused in [
        places.make(&other, &foreign, Access::Full, at(1, 1)).await,
        places.remove(&made(&other, &foreign), at(2, 1)).await,
    ] {
        assert!(matches!(&refused, Err(Fault::Refused(why)) if why.contains("was not made for")), "{refused:?}");
    }
    let found = format!("SELECT count(*) FROM pg_database WHERE datname = '{}'", foreign.location);
    assert_eq!(superuser().value(&found), "1");
}

#[tokio::test]
async fn a_half_removed_place_must_be_removed_by_the_next_attempt() {
    let (world, env) = (World::databases().await, wanted());
    let place = world.places.choose(&env).await.expect("chosen");
    world.places.make(&env, &place, Access::Full, at(1, 1)).await.expect("made");
    let recorded = made(&env, &place);
    let session = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    drop(session);
    // A crash after the database was dropped, and before the roles.
    superuser().execute(&format!("DROP DATABASE \"{}\" WITH (FORCE)", place.location));
    assert_eq!(world.places.remove(&recorded, at(2, 1)).await, Ok(()));
    assert_eq!(crate::world::traces(&env).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_password_must_be_needed_and_end_and_must_not_be_in_the_log_of_the_server() {
    let mut server = Postgres::start();
    let superuser = server.database("superuser");
    superuser.execute(&format!("CREATE ROLE {ADMIN} LOGIN CREATEDB CREATEROLE"));
    superuser.execute("ALTER SYSTEM SET log_statement = 'all'");
    let rules = format!("host all postgres,{ADMIN} 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    std::fs::write(server.data_directory().join("pg_hba.conf"), rules).expect("written");
    server.restart();
    let url = format!("postgres://{ADMIN}@127.0.0.1:{}/postgres", server.port());
    let places = OwnDatabases::open(server_at(&url)).await.expect("opens");
    let env = wanted();
    let place = places.choose(&env).await.expect("chosen");
    places.make(&env, &place, Access::Full, at(1, 1)).await.expect("made");
    let recorded = made(&env, &place);
    let login = given(places.connect(&recorded, Access::Full, Timestamp::MAX).await);
    open(&login).await.expect("the password is right");
    let guessed = tenancy_placement::Password::new("guessed".to_owned());
    let refused = open(&PostgresLogin { password: guessed, ..login.clone() }).await.expect_err("wrong");
    assert_eq!(refused.code(), Some(&SqlState::INVALID_PASSWORD));
    let past = Timestamp::from_second(1_000_000_000).expect("a time");
    let expired = given(places.connect(&recorded, Access::Full, past).await);
    let refused = open(&expired).await.expect_err("expired");
    assert_eq!(refused.code(), Some(&SqlState::INVALID_PASSWORD));
    let log = server.log();
    assert!(log.contains("CREATE ROLE") && !log.contains(login.password.expose()));
}

#[tokio::test]
async fn processes_that_start_at_once_must_share_one_ledger() {
    let opened = futures_util::future::join_all((0..8).map(|_| OwnDatabases::open(admin_server()))).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
}

#[tokio::test]
async fn a_session_of_a_superuser_must_not_keep_the_logins_of_a_closed_database() {
    let world = World::databases().await;
    let (_, recorded) = world.environment().await;
    let program = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    let operator = superuser_in(&recorded.place.location).await;
    let waits = world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await;
    assert!(matches!(&waits, Err(Fault::Unavailable(why)) if why.contains("1 sessions to end")), "{waits:?}");
    assert!(program.batch_execute("SELECT 1").await.is_err());
    let refused = world.places.connect(&recorded, Access::Full, Timestamp::MAX).await;
    assert!(matches!(&refused, Err(Fault::Refused(_))), "{refused:?}");
    operator.batch_execute("SELECT 1").await.expect("the operator stays");
}

#[tokio::test]
async fn an_administrator_who_is_a_superuser_must_do_the_same() {
    let server = Postgres::start();
    let left = server.database("left");
    for world in on_a_server(&server, "postgres").await {
        let (env, recorded) = world.environment().await;
        let writer = open(&world.login(&recorded, Access::Full).await).await.expect("open");
        run(&writer, "CREATE TABLE notes (text text)").await;
        let reader = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
        run(&reader, "SELECT * FROM notes; SET default_transaction_read_only = off").await;
        must_be_refused(&reader, "INSERT INTO notes VALUES ('late')").await;
        must_be_refused(&writer, "SELECT * FROM pg_authid").await;
        assert_eq!(world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await, Ok(()));
        assert!(writer.batch_execute("SELECT 1").await.is_err() && reader.batch_execute("SELECT 1").await.is_err());
        assert_eq!(world.places.remove(&recorded, at(3, 1)).await, Ok(()));
        let roles = format!("SELECT count(*) FROM pg_roles WHERE strpos(rolname || '_', '{}_') > 0", env.env_id);
        assert_eq!(left.value(&roles), "0");
    }
}

#[test]
fn a_server_must_tell_its_address_and_never_its_password() {
    let here = server_at("postgres://admin:secret@localhost/postgres");
    assert_eq!(here.address(), ("localhost".to_owned(), 5432));
    assert!(!format!("{here:?}").contains("secret"));
    let socket = server_at("host=/run/postgresql port=6000 user=admin");
    assert_eq!(socket.address(), ("/run/postgresql".to_owned(), 6000));
}
