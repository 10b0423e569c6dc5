//! How a caller's document is combined with the current state.

pub mod desired;
pub mod facts;
pub mod pointers;

#[cfg(test)]
mod read_back;
