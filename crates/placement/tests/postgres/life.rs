//! Places are made, opened, closed, told and destroyed.

use crate::world::{World, at, count, for_each_kind, made, open, run, traces, wanted};
use tenancy_core::Timestamp;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::{Access, Fence};
use tenancy_placement::{Fault, Recorded, Wanted};

for_each_kind!(
    a_place_must_be_made_once_opened_closed_and_destroyed,
    closing_must_end_sessions_and_logins_and_keep_the_data,
    a_late_worker_must_change_nothing,
    destruction_must_leave_no_role_and_no_database,
    a_place_that_was_never_made_must_be_blocked_and_destroyed,
    a_closed_place_must_be_told_its_settings_when_it_is_opened,
    ids_of_every_length_must_have_places_of_their_own,
    calls_at_once_must_leave_one_place_and_the_highest_fence,
    a_place_that_is_gone_must_be_refused_with_what_to_do,
    environments_must_not_disturb_each_other,
);

async fn a_place_must_be_made_once_opened_closed_and_destroyed(world: World) {
    let (places, env) = (&world.places, wanted());
    assert_eq!(places.look(&env.env_id).await, Ok(None));
    let place = places.choose(&env).await.expect("chosen");
    for epoch in [1, 2] {
        assert_eq!(places.make(&env, &place, Access::Blocked, at(1, epoch)).await, Ok(()));
    }
    let recorded = made(&env, &place);
    assert_eq!(places.verify(&recorded).await.expect("there").access, Access::Blocked);
    let refused = places.connect(&recorded, Access::ReadOnly, Timestamp::MAX).await;
    assert!(matches!(&refused, Err(Fault::Refused(why)) if why.contains("is blocked")), "{refused:?}");
    for epoch in [1, 2] {
        assert_eq!(places.set_access(&recorded, Access::Full, at(2, epoch)).await, Ok(()));
    }
    let found = places.verify(&recorded).await.expect("there");
    assert!(found.place == place && found.access == Access::Full && found.bytes > 0, "{found:?}");
    assert_eq!(places.look(&env.env_id).await, Ok(Some(found)));
    for epoch in [1, 2] {
        assert_eq!(places.remove(&recorded, at(3, epoch)).await, Ok(()));
    }
    assert_eq!(places.look(&env.env_id).await, Ok(None));
    assert!(matches!(places.make(&env, &place, Access::Full, at(4, 1)).await, Err(Fault::Refused(_))));
    assert!(matches!(places.connect(&recorded, Access::Full, Timestamp::MAX).await, Err(Fault::Refused(_))));
}

async fn closing_must_end_sessions_and_logins_and_keep_the_data(world: World) {
    let (_, recorded) = world.environment().await;
    let (full, reading) = (world.login(&recorded, Access::Full).await, world.login(&recorded, Access::ReadOnly).await);
    let (writer, reader) = (open(&full).await.expect("open"), open(&reading).await.expect("open"));
    run(&writer, "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('kept')").await;
    // A session that is in a transaction, and one that waits for it.
    run(&writer, "BEGIN; LOCK TABLE notes").await;
    let waits = async { drop(reader.batch_execute("SELECT * FROM notes").await) };
    let closes = world.places.set_access(&recorded, Access::Blocked, at(2, 1));
    let (closed, ()) = tokio::join!(closes, waits);
    assert_eq!(closed, Ok(()));
    for session in [&writer, &reader] {
        assert!(session.batch_execute("SELECT 1").await.is_err());
    }
    for login in [&full, &reading] {
        assert!(open(login).await.is_err());
    }
    for epoch in [1, 2] {
        assert_eq!(world.places.set_access(&recorded, Access::Full, at(3, epoch)).await, Ok(()));
    }
    for login in [&full, &reading] {
        assert!(open(login).await.is_err(), "what was given out before the closing has ended");
    }
    let again = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
    assert_eq!(count(&again, "notes").await, 1);
}

async fn a_late_worker_must_change_nothing(world: World) {
    let (places, env) = (&world.places, wanted());
    let place = places.choose(&env).await.expect("chosen");
    places.make(&env, &place, Access::Full, at(1, 2)).await.expect("made");
    let recorded = made(&env, &place);
    places.set_access(&recorded, Access::Blocked, at(2, 1)).await.expect("closed");
    for late in [at(1, 9), at(2, 0)] {
        assert_eq!(places.make(&env, &place, Access::Full, late).await, Err(Fault::Late));
        assert_eq!(places.set_access(&recorded, Access::Full, late).await, Err(Fault::Late));
        assert_eq!(places.update(&env, late).await, Err(Fault::Late));
        assert_eq!(places.remove(&recorded, late).await, Err(Fault::Late));
    }
    assert_eq!(places.verify(&recorded).await.map(|found| found.access), Ok(Access::Blocked));
    // After a restore, the counters of the record are lower than those that the place has seen.
    let restored = Fence { log_epoch: 2, counter: 1, lease_epoch: 1 };
    assert_eq!(places.set_access(&recorded, Access::Full, restored).await, Ok(()));
    // Giving out a login does not raise the fence.
    world.login(&recorded, Access::Full).await;
    assert_eq!(places.update(&env, restored).await, Ok(()));
}

async fn destruction_must_leave_no_role_and_no_database(world: World) {
    for closed_before in [false, true] {
        let (env, recorded) = world.environment().await;
        let writer = open(&world.login(&recorded, Access::Full).await).await.expect("open");
        run(&writer, "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('doomed'); SELECT lo_create(0)").await;
        run(&writer, "SET ROLE NONE; SELECT lo_create(0)").await;
        let reader = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
        run(&reader, "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; SELECT lo_create(0)").await;
        assert!(traces(&env).await.len() >= 4, "{:?}", traces(&env).await);
        if closed_before {
            world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await.expect("closed");
        }
        for epoch in [1, 2] {
            assert_eq!(world.places.remove(&recorded, at(3, epoch)).await, Ok(()));
        }
        assert_eq!(traces(&env).await, Vec::<String>::new());
        assert!(writer.batch_execute("SELECT 1").await.is_err());
    }
}

async fn a_place_that_was_never_made_must_be_blocked_and_destroyed(world: World) {
    let (places, env) = (&world.places, wanted());
    let place = places.choose(&env).await.expect("chosen");
    let chosen = Recorded { is_made: false, ..made(&env, &place) };
    assert!(matches!(places.set_access(&chosen, Access::Full, at(1, 1)).await, Err(Fault::Refused(_))));
    assert_eq!(places.set_access(&chosen, Access::Blocked, at(2, 1)).await, Ok(()));
    assert_eq!(places.make(&env, &place, Access::Full, at(1, 9)).await, Err(Fault::Late));
    assert_eq!(places.remove(&chosen, at(3, 1)).await, Ok(()));
    assert_eq!(traces(&env).await, Vec::<String>::new());
    // One that was made, but not on this server.
    let elsewhere = wanted();
    let recorded = made(&elsewhere, &places.choose(&elsewhere).await.expect("chosen"));
    for refused in [
        places.set_access(&recorded, Access::Blocked, at(1, 1)).await,
        places.remove(&recorded, at(1, 1)).await,
        places.connect(&recorded, Access::Full, Timestamp::MAX).await.map(drop),
    ] {
        assert!(matches!(&refused, Err(Fault::Unavailable(why)) if why.contains("check the URL")), "{refused:?}");
    }
}

async fn a_closed_place_must_be_told_its_settings_when_it_is_opened(world: World) {
    let (mut env, recorded) = world.environment().await;
    env.retention_days = Some(7);
    assert_eq!(world.places.update(&env, at(1, 2)).await, Ok(()));
    let schema = if recorded.place.location.contains('.') { "" } else { "tenancy." };
    let text = format!("SELECT (settings ->> 'retention_days')::int FROM {schema}tenancy_environment");
    let told = async |access| {
        let session = open(&world.login(&recorded, access).await).await.expect("open");
        session.query_one(&text, &[]).await.expect("told").get::<_, i32>(0)
    };
    assert_eq!((told(Access::Full).await, told(Access::ReadOnly).await), (7, 7));
    world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await.expect("closed");
    env.retention_days = Some(8);
    assert_eq!(world.places.update(&env, at(3, 1)).await, Ok(()));
    world.places.set_access(&recorded, Access::Full, at(4, 1)).await.expect("opened");
    assert_eq!(told(Access::ReadOnly).await, 8);
}

async fn ids_of_every_length_must_have_places_of_their_own(world: World) {
    let long = |last: &str| Wanted {
        env_id: EnvironmentId::known(format!("env_{}{}{last}", std::process::id(), "e".repeat(80))),
        ..wanted()
    };
    let mut open_at_once = Vec::new();
    for env in [long("a"), long("b")] {
        let place = world.places.choose(&env).await.expect("chosen");
        world.places.make(&env, &place, Access::Full, at(1, 1)).await.expect("made");
        let recorded = made(&env, &place);
        let session = open(&world.login(&recorded, Access::Full).await).await.expect("open");
        run(&session, "CREATE TABLE notes (text text)").await;
        open_at_once.push((recorded, session));
    }
    for (recorded, _) in &open_at_once {
        assert_eq!(world.places.remove(recorded, at(2, 1)).await, Ok(()));
    }
}

async fn calls_at_once_must_leave_one_place_and_the_highest_fence(world: World) {
    let env = wanted();
    let place = world.places.choose(&env).await.expect("chosen");
    let calls = (1..=6).map(|epoch| world.places.make(&env, &place, Access::Full, at(1, epoch)));
    let ended = futures_util::future::join_all(calls).await;
    assert!(ended.iter().all(|one| matches!(one, Ok(()) | Err(Fault::Late))), "{ended:?}");
    assert!(ended.contains(&Ok(())));
    world.places.verify(&made(&env, &place)).await.expect("one place");
    assert_eq!(world.places.make(&env, &place, Access::Full, at(1, 5)).await, Err(Fault::Late));
}

async fn a_place_that_is_gone_must_be_refused_with_what_to_do(world: World) {
    let (env, recorded) = world.environment().await;
    let location = recorded.place.location.clone();
    match location.split_once('.') {
        Some((database, schema)) => {
            let client = crate::world::superuser_in(database).await;
            run(&client, &format!("DROP SCHEMA \"{schema}\" CASCADE")).await;
        }
        None => crate::world::superuser().execute(&format!("DROP DATABASE \"{location}\" WITH (FORCE)")),
    }
    let place = &recorded.place;
    for refused in [
        world.places.verify(&recorded).await.map(drop),
        world.places.make(&env, place, Access::Full, at(1, 2)).await,
        world.places.update(&env, at(1, 3)).await,
        world.places.set_access(&recorded, Access::Full, at(1, 4)).await,
        world.places.connect(&recorded, Access::Full, Timestamp::MAX).await.map(drop),
    ] {
        assert!(matches!(&refused, Err(Fault::Refused(why)) if why.contains("restore it")), "{refused:?}");
    }
    assert_eq!(world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await, Ok(()));
    assert_eq!(world.places.remove(&recorded, at(3, 1)).await, Ok(()));
    assert_eq!(traces(&env).await, Vec::<String>::new());
}

async fn environments_must_not_disturb_each_other(world: World) {
    let lives = (0..8).map(|_| async {
        let (env, recorded) = world.environment().await;
        let session = open(&world.login(&recorded, Access::ReadOnly).await).await.expect("open");
        run(&session, "SELECT 1").await;
        assert_eq!(world.places.set_access(&recorded, Access::Blocked, at(2, 1)).await, Ok(()));
        assert_eq!(world.places.set_access(&recorded, Access::Full, at(3, 1)).await, Ok(()));
        assert_eq!(world.places.remove(&recorded, at(4, 1)).await, Ok(()));
        env
    });
    for env in futures_util::future::join_all(lives).await {
        assert_eq!(traces(&env).await, Vec::<String>::new());
    }
}
