//! Jobs: the engine that claims them, the leases that fence them, and the code that runs the steps of a lifecycle job.
//!
//! A lease holds for some seconds and is extended by heartbeats on a separate database connection. Everything that a
//! job writes is fenced by its lease: a process that lost its lease cannot write anything of the job. External effects
//! of a step are not fenced, so a process that cannot extend a lease aborts the step before the lease ends.

mod engine;
mod leases;
mod lifecycle;
mod under_way;

pub use engine::Runner;
