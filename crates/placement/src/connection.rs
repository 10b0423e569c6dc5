//! How programs reach a place.

/// Connection data of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// A SQLite file on this machine.
    Sqlite {
        /// Its absolute path.
        file: String,
    },
}
