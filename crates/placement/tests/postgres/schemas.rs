//! What holds for schemas only.

use crate::world::{
    SHARED, World, admin_server, at, made, must_be_refused, open, run, superuser, superuser_in, wanted,
};
use tenancy_core::Timestamp;
use tenancy_core::placement::Access;
use tenancy_placement::postgres::OwnSchemas;
use tenancy_placement::{Fault, Provisioner as _};

#[tokio::test]
async fn processes_that_start_at_once_must_share_one_database() {
    let opened = futures_util::future::join_all((0..8).map(|_| OwnSchemas::open(admin_server(), SHARED))).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
}

#[tokio::test]
async fn a_database_that_everybody_may_use_must_be_refused() {
    let foreign = superuser().name().to_owned();
    for (database, why) in [(foreign.as_str(), "everybody"), ("tenancy_places", "cannot share"), ("", "cannot share")] {
        let refused = OwnSchemas::open(admin_server(), database).await;
        assert!(matches!(&refused, Err(Fault::Refused(said)) if said.contains(why)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_foreign_schema_must_be_left_alone() {
    let (world, env) = (World::schemas().await, wanted());
    let place = world.places.choose(&env).await.expect("chosen");
    let schema = place.location.split_once('.').expect("a schema").1.to_owned();
    let inside = superuser_in(SHARED).await;
    run(&inside, &format!("CREATE SCHEMA \"{schema}\"; COMMENT ON SCHEMA \"{schema}\" IS 'another'")).await;
    for refused in [
        world.places.make(&env, &place, Access::Full, at(1, 1)).await,
        world.places.remove(&made(&env, &place), at(2, 1)).await,
    ] {
        assert!(matches!(&refused, Err(Fault::Refused(why)) if why.contains("was not made for")), "{refused:?}");
    }
    run(&inside, &format!("CREATE TABLE \"{schema}\".kept (text text)")).await;
}

#[tokio::test]
async fn a_session_that_was_not_ended_must_not_reach_a_closed_schema() {
    let world = World::schemas().await;
    let (env, recorded) = world.environment().await;
    let program = open(&world.login(&recorded, Access::Full).await).await.expect("open");
    run(&program, "CREATE TABLE notes (text text)").await;
    world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await.expect("closed");
    // The superuser can act as the owner, as such a session does.
    let session = superuser_in(SHARED).await;
    let schema = recorded.place.location.split_once('.').expect("a schema").1;
    for role in ["owner", "reader"] {
        run(&session, &format!("SET SESSION AUTHORIZATION \"tenancy_{role}_{}\"", env.env_id)).await;
        must_be_refused(&session, &format!("SELECT * FROM \"{schema}\".notes")).await;
        must_be_refused(&session, &format!("CREATE TABLE \"{schema}\".more (text text)")).await;
        run(&session, "RESET SESSION AUTHORIZATION").await;
    }
}

#[tokio::test]
async fn a_placement_whose_database_was_changed_must_not_take_a_place_for_closed_or_destroyed() {
    let world = World::schemas().await;
    let (_, recorded) = world.environment().await;
    let elsewhere = OwnSchemas::open(admin_server(), "tenancy_elsewhere").await.expect("opens");
    for refused in [
        elsewhere.set_access(&recorded, Access::Blocked, at(2, 1)).await,
        elsewhere.remove(&recorded, at(2, 1)).await,
        elsewhere.verify(&recorded).await.map(drop),
        elsewhere.connect(&recorded, Access::Full, Timestamp::MAX).await.map(drop),
    ] {
        assert!(matches!(&refused, Err(Fault::Unavailable(why)) if why.contains("to be corrected")), "{refused:?}");
    }
    assert_eq!(world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await, Ok(()));
}
