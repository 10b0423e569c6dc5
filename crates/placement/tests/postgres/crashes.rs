//! A process that ends at any point leaves nothing that a later removal does not find.

use crate::world::{World, at, for_each_kind, made, traces, wanted};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use tenancy_core::Timestamp;
use tenancy_core::placement::Access;
use tenancy_placement::{Fault, Recorded, Wanted};

for_each_kind!(a_life_that_is_cut_at_any_point_must_leave_nothing_after_its_removal);

/// Number of points from one cut to the next. All of them take minutes.
fn step() -> usize {
    std::env::var("TENANCY_CUT_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(31)
}

/// Drops the work when it has waited this number of times. Returns whether it was finished before. The statement that is running
/// then goes on, as it does when a process is killed.
async fn is_finished(work: impl Future<Output = ()>, waits: usize) -> bool {
    let (mut work, mut left) = (pin!(work), waits);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending if left == 0 => Poll::Ready(false),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

async fn live(world: &World, env: &Wanted, recorded: &Recorded) {
    let places = &world.places;
    places.make(env, &recorded.place, Access::Full, at(1, 1)).await.expect("made");
    world.login(recorded, Access::Full).await;
    world.login_until(recorded, Access::ReadOnly, Timestamp::UNIX_EPOCH).await;
    places.expire(Timestamp::UNIX_EPOCH).await.expect("expired");
    places.set_access(recorded, Access::Blocked, at(2, 1)).await.expect("closed");
    places.set_access(recorded, Access::Full, at(3, 1)).await.expect("opened");
    world.login(recorded, Access::ReadOnly).await;
    places.remove(recorded, at(4, 1)).await.expect("removed");
}

async fn a_life_that_is_cut_at_any_point_must_leave_nothing_after_its_removal(world: World) {
    for waits in (std::process::id() as usize % step()..).step_by(step()) {
        let env = wanted();
        let place = world.places.choose(&env).await.expect("chosen");
        // A job that was cut does not know whether the place was made.
        let recorded = Recorded { is_made: false, ..made(&env, &place) };
        let is_over = is_finished(live(&world, &env, &recorded), waits).await;
        // The next job goes on where this one was cut, or finds that the place was destroyed.
        let again = world.places.make(&env, &place, Access::Full, at(5, 1)).await;
        match again {
            Ok(()) => drop(world.login(&recorded, Access::Full).await),
            Err(Fault::Refused(_)) => {}
            Err(fault) => panic!("after {waits} waits: {fault}"),
        }
        assert_eq!(world.places.remove(&recorded, at(6, 1)).await, Ok(()), "after {waits} waits");
        assert_eq!(traces(&env).await, Vec::<String>::new(), "after {waits} waits");
        if is_over {
            return;
        }
    }
}
