//! Logins: what they may do, and how they end.

use crate::world::{
    World, at, count, for_each_kind, given, must_be_refused, open, open_database, run, superuser, superuser_in, traces,
};
use tenancy_core::Timestamp;
use tenancy_core::placement::Access;
use tenancy_placement::{Fault, PostgresLogin};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

for_each_kind!(
    a_full_login_must_write_and_what_it_makes_must_belong_to_the_environment,
    a_read_only_login_must_read_everything_and_change_nothing,
    rights_that_programs_gave_to_everybody_must_not_let_a_read_only_login_write,
    a_place_that_is_read_only_must_give_out_no_login_that_writes,
    expired_logins_must_end_and_others_must_stay,
    what_a_login_owns_must_not_prevent_its_end,
    a_login_that_a_crash_left_shut_must_be_found,
    a_login_must_not_outlive_a_closing_at_the_same_time,
    sessions_that_are_being_opened_must_end_with_a_closing,
    sessions_that_are_being_opened_must_end_when_their_login_expires,
    a_session_that_opens_slowly_must_not_outlive_a_closing,
    a_session_that_opens_slowly_must_not_outlive_its_login,
    a_login_that_owns_something_must_be_shut_by_a_closing_and_dropped_later,
);

/// A time that has passed, and one that has not.
fn times() -> (Timestamp, Timestamp, Timestamp) {
    let at = |seconds| Timestamp::from_second(seconds).expect("a time");
    (at(4_000_000_000), at(4_000_000_001), at(4_000_000_002))
}

async fn a_full_login_must_write_and_what_it_makes_must_belong_to_the_environment(world: World) {
    let (env, recorded) = world.environment().await;
    let first = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    run(&first, "CREATE TABLE notes (id serial, text text); INSERT INTO notes (text) VALUES ('one')").await;
    let owner: String =
        first.query_one("SELECT tableowner FROM pg_tables WHERE tablename = 'notes'", &[]).await.expect("one").get(0);
    assert_eq!(owner, format!("tenancy_owner_{}", env.env_id));
    // Another login changes it.
    let second = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    run(&second, "ALTER TABLE notes ADD COLUMN more text; INSERT INTO notes (text) VALUES ('two')").await;
    assert_eq!(count(&first, "notes").await, 2);
    for forbidden in [
        "CREATE ROLE another",
        "CREATE DATABASE another",
        "UPDATE pg_authid SET rolvaliduntil = NULL",
        "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
        "SET ROLE placement_admin",
        "SELECT pg_read_file('/etc/passwd')",
    ] {
        must_be_refused(&first, forbidden).await;
    }
}

async fn a_read_only_login_must_read_everything_and_change_nothing(world: World) {
    let (env, recorded) = world.environment().await;
    let writer = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    run(&writer, "CREATE TABLE notes (id serial, text text); INSERT INTO notes (text) VALUES ('one')").await;
    let reader = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
    // What is made later can be read, too, and what the owner had closed is open again for the next login.
    run(&writer, "CREATE TABLE later (text text); CREATE VIEW seen AS SELECT * FROM notes").await;
    run(&writer, "CREATE FUNCTION sneak() RETURNS void SECURITY DEFINER LANGUAGE sql AS 'DELETE FROM notes'").await;
    assert_eq!((count(&reader, "notes").await, count(&reader, "later").await, count(&reader, "seen").await), (1, 0, 1));
    run(&reader, "SELECT last_value FROM notes_id_seq").await;
    run(&writer, "REVOKE SELECT ON notes FROM PUBLIC, CURRENT_USER").await;
    // The session changes every setting that it can.
    run(&reader, "SET default_transaction_read_only = off; SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        .await;
    let owner = format!("SET ROLE \"tenancy_owner_{}\"", env.env_id);
    for forbidden in [
        "INSERT INTO notes (text) VALUES ('two')",
        "UPDATE notes SET text = 'two'",
        "DELETE FROM notes",
        "TRUNCATE notes",
        "DROP TABLE notes",
        "CREATE TABLE mine (text text)",
        "CREATE TEMPORARY TABLE mine (text text)",
        "CREATE SCHEMA mine",
        "SELECT nextval('notes_id_seq')",
        "SELECT sneak()",
        "DO 'BEGIN LOCK TABLE notes IN EXCLUSIVE MODE; END'",
        &owner,
    ] {
        must_be_refused(&reader, forbidden).await;
    }
}

async fn rights_that_programs_gave_to_everybody_must_not_let_a_read_only_login_write(world: World) {
    let (_, recorded) = world.environment().await;
    let writer = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    for statement in [
        "CREATE TABLE notes (id serial, text text); CREATE TABLE columns (a text, b text)",
        "CREATE TABLE \"Odd \"\"one\" (text text)",
        "CREATE FUNCTION sneak(text) RETURNS void SECURITY DEFINER LANGUAGE sql AS 'DELETE FROM notes'",
        "GRANT ALL ON notes, \"Odd \"\"one\" TO PUBLIC",
        "GRANT ALL ON notes_id_seq TO PUBLIC; GRANT UPDATE (a) ON columns TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION sneak TO PUBLIC",
    ] {
        run(&writer, statement).await;
    }
    let place = recorded.place.location.clone();
    let (database, schema) = place.split_once('.').unwrap_or((&place, "public"));
    // A table that the administrator may not grant is no reason to refuse.
    run(&superuser_in(database).await, &format!("CREATE TABLE \"{schema}\".foreign_one (text text)")).await;
    let reader = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
    run(&reader, "SET default_transaction_read_only = off").await;
    run(&reader, "SELECT * FROM notes, columns, \"Odd \"\"one\"").await;
    for forbidden in [
        "INSERT INTO notes (text) VALUES ('two')",
        "UPDATE columns SET a = 'two'",
        "DELETE FROM \"Odd \"\"one\"",
        "SELECT nextval('notes_id_seq')",
        "SELECT sneak('')",
        "SELECT * FROM foreign_one",
    ] {
        must_be_refused(&reader, forbidden).await;
    }
    run(&writer, "INSERT INTO notes (text) VALUES ('one'); SELECT sneak('')").await;
}

async fn a_place_that_is_read_only_must_give_out_no_login_that_writes(world: World) {
    let (_, recorded) = world.environment().await;
    let before = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    run(&before, "CREATE TABLE notes (text text)").await;
    world.places.set_access(&recorded, Access::ReadOnly, at(2, 1)).await.expect("set");
    assert!(before.batch_execute("INSERT INTO notes VALUES ('late')").await.is_err());
    let refused = world.places.connect(&recorded, Access::Full, Timestamp::MAX).await;
    assert!(matches!(&refused, Err(Fault::Refused(why)) if why.contains("read only")), "{refused:?}");
    let reader = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
    assert_eq!(count(&reader, "notes").await, 0);
}

async fn expired_logins_must_end_and_others_must_stay(world: World) {
    let (env, recorded) = world.environment().await;
    let (early, now, late) = times();
    let expired = [
        world.login_until(&recorded, Access::Full, early).await,
        world.login_until(&recorded, Access::ReadOnly, now).await,
    ];
    let kept = world.login_until(&recorded, Access::Full, late).await;
    let mut sessions = Vec::new();
    for login in expired.iter().chain([&kept]) {
        sessions.push(open(login).await.expect("open"));
    }
    run(&sessions[0], "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('kept')").await;
    assert_eq!(world.places.expire(now).await, Ok(2));
    for (login, session) in expired.iter().zip(&sessions) {
        assert!(session.batch_execute("SELECT 1").await.is_err());
        assert!(open(login).await.is_err());
        assert!(traces(&env).await.iter().all(|name| *name != login.user));
    }
    assert_eq!(count(&sessions[2], "notes").await, 1);
    assert_eq!(world.places.expire(now).await, Ok(0));
}

async fn what_a_login_owns_must_not_prevent_its_end(world: World) {
    let (_, recorded) = world.environment().await;
    let (early, now, _) = times();
    let full = world.login_until(&recorded, Access::Full, early).await;
    let reading = world.login_until(&recorded, Access::ReadOnly, early).await;
    let writer = open(&full).await.expect("open");
    // Not as the owner, but as itself.
    run(&writer, "SET ROLE NONE; CREATE TABLE mine (text text); INSERT INTO mine VALUES ('kept')").await;
    run(&writer, "CREATE TEMPORARY TABLE IF NOT EXISTS other (text text)").await;
    run(&writer, "SELECT lo_create(0)").await;
    for login in [&full, &reading] {
        // A database that lets everybody connect.
        let elsewhere = open_database(login, "postgres").await.expect("everybody may connect");
        run(&elsewhere, "CREATE TEMPORARY TABLE mine (text text); SELECT lo_create(0)").await;
    }
    assert_eq!(world.places.expire(now).await, Ok(2));
    let reader = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
    assert_eq!(count(&reader, "mine").await, 1, "the data belongs to the environment");
}

async fn a_login_that_a_crash_left_shut_must_be_found(world: World) {
    let (env, recorded) = world.environment().await;
    let (early, _, late) = times();
    let login = world.login_until(&recorded, Access::Full, late).await;
    superuser().execute(&format!("ALTER ROLE \"{}\" NOLOGIN", login.user));
    assert_eq!(world.places.expire(early).await, Ok(1));
    assert!(traces(&env).await.iter().all(|name| *name != login.user));
}

async fn a_login_must_not_outlive_a_closing_at_the_same_time(world: World) {
    let (_, recorded) = world.environment().await;
    let connects = (0..6).map(|_| async {
        match world.places.connect(&recorded, Access::Full, Timestamp::MAX).await {
            Err(Fault::Refused(_)) => None,
            connection => {
                let login = given(connection);
                Some((open(&login).await, login))
            }
        }
    });
    let closes = world.places.set_access(&recorded, Access::Blocked, at(2, 1));
    let (connected, closed) = tokio::join!(futures_util::future::join_all(connects), closes);
    assert_eq!(closed, Ok(()));
    for (session, login) in connected.into_iter().flatten() {
        if let Ok(session) = session {
            assert!(session.batch_execute("SELECT 1").await.is_err());
        }
        assert!(open(&login).await.is_err());
    }
}

/// Opens sessions one after another until it is refused, and returns all of them.
async fn open_until_refused(login: PostgresLogin) -> Vec<Client> {
    let mut opened = Vec::new();
    loop {
        match open(&login).await {
            // The limit of the login would refuse more.
            Ok(session) if opened.len() < 2 => opened.push(session),
            Ok(_) => {}
            Err(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => {}
            Err(_) => return opened,
        }
    }
}

/// Opens sessions with several logins until `end` has ended them, and checks that none is left.
async fn open_during(logins: Vec<PostgresLogin>, end: impl Future<Output = ()>) {
    let users: Vec<String> = logins.iter().map(|login| login.user.clone()).collect();
    let opening = logins.into_iter().map(|login| tokio::spawn(open_until_refused(login)));
    let (opened, ()) = tokio::join!(futures_util::future::join_all(opening), end);
    for session in opened.into_iter().flat_map(|one| one.expect("no panic")) {
        assert!(session.batch_execute("SELECT 1").await.is_err());
    }
    let text = "SELECT count(*) FROM pg_stat_activity WHERE usename = ANY ($1)";
    let left = superuser().connect().await.query_one(text, &[&users]).await.expect("counted");
    assert_eq!(left.get::<_, i64>(0), 0);
}

async fn sessions_that_are_being_opened_must_end_with_a_closing(world: World) {
    let (_, recorded) = world.environment().await;
    for round in 0..2 {
        let mut logins = Vec::new();
        for access in [Access::Full, Access::ReadOnly, Access::Full, Access::ReadOnly] {
            logins.push(world.login(&recorded, access).await);
        }
        let closes = async {
            let closed = world.places.set_access(&recorded, Access::Blocked, at(2 + round, 1)).await;
            assert_eq!(closed, Ok(()));
        };
        open_during(logins, closes).await;
        world.places.set_access(&recorded, Access::Full, at(2 + round, 2)).await.expect("opened");
    }
}

async fn sessions_that_are_being_opened_must_end_when_their_login_expires(world: World) {
    let (_, recorded) = world.environment().await;
    let (early, now, _) = times();
    for _ in 0..2 {
        let mut logins = Vec::new();
        for access in [Access::Full, Access::ReadOnly, Access::Full, Access::ReadOnly] {
            logins.push(world.login_until(&recorded, access, early).await);
        }
        let expires = async { assert_eq!(world.places.expire(now).await, Ok(4)) };
        open_during(logins, expires).await;
    }
}

/// Begins to open a session that has passed all checks, and is not listed as a session for a long time.
async fn open_slowly(login: &PostgresLogin) -> JoinHandle<Option<Client>> {
    let mut config = tokio_postgres::Config::new();
    config.host(&login.host).port(login.port).user(&login.user).password(login.password.expose());
    config.dbname(&login.database).options("-c post_auth_delay=1000");
    let opening = tokio::spawn(async move {
        let (client, connection) = config.connect(NoTls).await.ok()?;
        tokio::spawn(async { drop(connection.await) });
        Some(client)
    });
    let observer = superuser().connect().await;
    let text = "SELECT count(*) FROM pg_locks l WHERE l.classid = 'pg_database'::regclass AND l.pid NOT IN \
        (SELECT pid FROM pg_stat_activity WHERE datid IS NOT NULL)";
    while count_of(&observer, text).await == 0 {
        tokio::task::yield_now().await;
    }
    opening
}

/// The server may say that the session is ready before it ends it.
async fn is_of_no_use(opening: JoinHandle<Option<Client>>) -> bool {
    match opening.await.expect("no panic") {
        Some(session) => session.batch_execute("SELECT 1").await.is_err(),
        None => true,
    }
}

async fn count_of(client: &Client, text: &str) -> i64 {
    client.query_one(text, &[]).await.expect("counted").get(0)
}

async fn a_session_that_opens_slowly_must_not_outlive_a_closing(world: World) {
    let (_, recorded) = world.environment().await;
    for (counter, access) in [(2, Access::Full), (4, Access::ReadOnly)] {
        let opening = open_slowly(&world.login(&recorded, access).await).await;
        assert_eq!(world.places.set_access(&recorded, Access::Blocked, at(counter, 1)).await, Ok(()));
        assert!(is_of_no_use(opening).await);
        assert_eq!(world.places.set_access(&recorded, Access::Full, at(counter + 1, 1)).await, Ok(()));
    }
}

async fn a_session_that_opens_slowly_must_not_outlive_its_login(world: World) {
    let (_, recorded) = world.environment().await;
    let (early, now, late) = times();
    let kept = open(&world.login_until(&recorded, Access::Full, late).await).await.expect("open");
    let opening = open_slowly(&world.login_until(&recorded, Access::Full, early).await).await;
    assert_eq!(world.places.expire(now).await, Ok(1));
    assert!(is_of_no_use(opening).await);
    run(&kept, "SELECT 1").await;
}

async fn a_login_that_owns_something_must_be_shut_by_a_closing_and_dropped_later(world: World) {
    let (env, recorded) = world.environment().await;
    let login = world.login(&recorded, Access::Full).await;
    run(&open(&login).await.expect("open"), "SET ROLE NONE; SELECT lo_create(4711)").await;
    world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await.expect("closed");
    assert!(open_database(&login, "postgres").await.is_err(), "it cannot log in");
    // A database that refuses connections keeps it.
    world.places.expire(Timestamp::MAX).await.expect("ended");
    world.places.set_access(&recorded, Access::Full, at(3, 1)).await.expect("opened");
    world.places.expire(Timestamp::MAX).await.expect("ended");
    assert!(traces(&env).await.iter().all(|name| *name != login.user));
    let session = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    run(&session, "SELECT lo_unlink(4711)").await;
}
