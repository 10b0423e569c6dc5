//! Transactions that programs have prepared for a commit in two phases.

use crate::world::{ADMIN, at, count, on_a_server, open, run};
use tenancy_core::Timestamp;
use tenancy_core::placement::Access;
use tenancy_testkit::{Postgres, Settings};

const PREPARE: &str = "BEGIN; INSERT INTO notes VALUES ('prepared'); PREPARE TRANSACTION";

#[tokio::test]
async fn a_prepared_transaction_must_outlive_a_closing_and_not_prevent_the_destruction() {
    let server = Postgres::start_with(Settings::default().parameter("max_prepared_transactions", "10"));
    let left = server.database("superuser");
    left.execute(&format!("CREATE ROLE {ADMIN} LOGIN CREATEDB CREATEROLE"));
    for world in on_a_server(&server, ADMIN).await {
        let (_, recorded) = world.environment().await;
        let until = Timestamp::from_second(4_000_000_000).expect("a time");
        let program = open(&world.login_until(&recorded, Access::Full, until).await).await.expect("open");
        run(&program, "CREATE TABLE notes (text text)").await;
        run(&program, &format!("{PREPARE} 'of the owner'")).await;
        run(&program, "SET ROLE NONE; CREATE TABLE own (text text)").await;
        run(&program, "BEGIN; INSERT INTO own VALUES ('prepared'); PREPARE TRANSACTION 'of the login'").await;
        // What the login itself has prepared ends with it, and what the environment has prepared stays.
        assert_eq!(world.places.expire(until).await, Ok(1));
        assert_eq!(left.value("SELECT gid FROM pg_prepared_xacts"), "of the owner");
        assert_eq!(world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await, Ok(()));
        assert_eq!(world.places.set_access(&recorded, Access::Full, at(3, 1)).await, Ok(()));
        let program = open(&world.login(&recorded, Access::Full).await).await.expect("open");
        run(&program, "COMMIT PREPARED 'of the owner'").await;
        assert_eq!(count(&program, "notes").await, 1);
        for role in ["", "SET ROLE NONE; "] {
            run(&program, &format!("{role}BEGIN; CREATE TABLE more{} (text text)", role.len())).await;
            run(&program, &format!("PREPARE TRANSACTION 'doomed {}'", role.len())).await;
        }
        assert_eq!(world.places.remove(&recorded, at(4, 1)).await, Ok(()));
        assert_eq!(left.value("SELECT count(*) FROM pg_prepared_xacts"), "0");
        let roles = format!("SELECT count(*) FROM pg_roles WHERE strpos(rolname, '{}_') > 0", recorded.env_id);
        assert_eq!(left.value(&roles), "0");
    }
}
