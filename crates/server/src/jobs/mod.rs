//! Jobs: their queue, which the engine works on, and the code that runs the steps of a lifecycle job.

mod engine;
mod lifecycle;
mod under_way;

pub use engine::Runner;
