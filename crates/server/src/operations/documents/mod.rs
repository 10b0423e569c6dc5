//! How a document that a caller sends meets what is there.

pub mod desired;
pub mod facts;
pub mod pointers;

#[cfg(test)]
mod read_back;
