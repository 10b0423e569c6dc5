//! A login reaches its own environment, and nothing of another.

use crate::world::{World, for_each_kind, must_be_refused, open, open_database, run, superuser};
use tenancy_core::placement::Access;
use tokio_postgres::error::SqlState;

for_each_kind!(
    a_login_must_not_reach_another_environment_or_the_ledger,
    nothing_that_everybody_can_read_must_name_a_tenant,
    a_login_must_not_be_able_to_change_what_keeps_its_place_closed,
);

async fn a_login_must_not_reach_another_environment_or_the_ledger(world: World) {
    let (_, mine) = world.environment().await;
    let (_, theirs) = world.environment().await;
    let other = world.login(&theirs, Access::Full).await;
    run(&open(&other).await.expect("open"), "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('x')").await;
    // The other environment even grants it.
    run(&open(&other).await.expect("open"), "GRANT SELECT ON notes TO PUBLIC").await;
    for access in [Access::Full, Access::ReadOnly] {
        let login = world.login(&mine, access).await;
        let mut databases = vec!["tenancy_places".to_owned()];
        if other.database != login.database {
            databases.push(other.database.clone());
        }
        for database in databases {
            let refused = open_database(&login, &database).await.expect_err("refused");
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{database}: {refused:?}");
        }
        let session = open(&login).await.expect("open");
        run(&session, "SET default_transaction_read_only = off").await;
        must_be_refused(&session, &format!("SET ROLE \"tenancy_owner_{}\"", theirs.env_id)).await;
        must_be_refused(&session, &format!("SET ROLE \"tenancy_reader_{}\"", theirs.env_id)).await;
        if let Some((_, schema)) = theirs.place.location.split_once('.') {
            must_be_refused(&session, &format!("SELECT * FROM \"{schema}\".notes")).await;
            must_be_refused(&session, &format!("SELECT * FROM \"{schema}\".tenancy_environment")).await;
            must_be_refused(&session, &format!("CREATE TABLE \"{schema}\".mine (text text)")).await;
            must_be_refused(&session, "CREATE TABLE public.mine (text text)").await;
            must_be_refused(&session, "CREATE SCHEMA mine").await;
        }
    }
}

async fn nothing_that_everybody_can_read_must_name_a_tenant(world: World) {
    let (_, recorded) = world.environment().await;
    let session = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
    let text = "SELECT coalesce(string_agg(t, ' '), '') FROM (SELECT description FROM pg_shdescription UNION ALL \
        SELECT description FROM pg_description UNION ALL SELECT array_to_string(setconfig, ' ') \
        FROM pg_db_role_setting) AS r (t)";
    let shown: String = session.query_one(text, &[]).await.expect("shown").get(0);
    assert!(!shown.contains("acme-eu"), "{shown}");
}

async fn a_login_must_not_be_able_to_change_what_keeps_its_place_closed(world: World) {
    let (env, recorded) = world.environment().await;
    let session = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    let (database, _) = recorded.place.location.split_once('.').unwrap_or((&recorded.place.location, ""));
    let owner = format!("tenancy_owner_{}", env.env_id);
    for forbidden in [
        format!("COMMENT ON DATABASE \"{database}\" IS 'mine'"),
        format!("ALTER DATABASE \"{database}\" OWNER TO \"{owner}\""),
        format!("ALTER DATABASE \"{database}\" SET default_transaction_read_only = on"),
        format!("ALTER ROLE \"{owner}\" LOGIN"),
        format!("GRANT \"{owner}\" TO postgres"),
    ] {
        must_be_refused(&session, &forbidden).await;
    }
    // PostgreSQL answers with a warning, and grants nothing.
    run(&session, &format!("GRANT CONNECT ON DATABASE \"{database}\" TO PUBLIC")).await;
    let everybody = format!("SELECT has_database_privilege('public', '{database}', 'CONNECT')");
    assert_eq!(superuser().value(&everybody), "f");
    if let Some((_, schema)) = recorded.place.location.split_once('.') {
        must_be_refused(&session, &format!("COMMENT ON SCHEMA \"{schema}\" IS 'mine'")).await;
        must_be_refused(&session, &format!("ALTER SCHEMA \"{schema}\" RENAME TO mine")).await;
        must_be_refused(&session, &format!("DROP TABLE \"{schema}\".tenancy_environment")).await;
    }
}
