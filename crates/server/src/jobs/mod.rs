//! Jobs: the engine that claims them, the leases that fence them, and the work on the steps of a lifecycle job.
//!
//! A lease holds for some seconds and is prolonged by heartbeats on a way of their own. All that a job writes is fenced
//! by its lease: a process that was thought dead and comes back can write nothing of a job that another has taken over.
//! What a step does outside is not fenced: so a process that cannot prolong a lease stops the step before the lease is over.

mod engine;
mod leases;
mod lifecycle;
mod under_way;

pub use engine::Runner;
