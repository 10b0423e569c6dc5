//! Proves at the start of a process that it sees the same keys as all other processes on the database.

use crate::Store;
use crate::rows::{Field as _, Type, Value};
use crate::sql::Sql;
use tenancy_core::Error;
use tenancy_vault::KeyError;

/// Mark of the database that names its keys.
pub const MARK: &str = "keys";

impl Store {
    /// Compares the keys of this process with the mark in the database. The first process sets the mark.
    ///
    /// # Errors
    /// [`Error::NotNow`] if the database was used with other keys, or if the keys cannot be used.
    pub(crate) async fn prove_keys(&self) -> Result<(), Error> {
        let identity = self.vault.service().identity().await.map_err(|error| cannot_use(&error))?;
        // Most starts only read: the mark is there.
        let known = match self.keys_mark().await? {
            Some(known) => known,
            None => {
                let mut sql = Sql::new(self.dialect(), "");
                let [name, value] =
                    [MARK, identity.as_str()].map(|text| sql.bind(Type::Text, Value::Text(text.to_owned())));
                let now = sql.bind(Type::Time, Value::Time(self.now()));
                sql.text = format!(
                    "INSERT INTO marks (name, value, created_at) VALUES ({name}, {value}, {now}) \
                     ON CONFLICT (name) DO NOTHING RETURNING name"
                );
                self.write(sql, vec![Type::Text]).await?;
                self.keys_mark().await?.unwrap_or_default()
            }
        };
        if known == identity {
            return Ok(());
        }
        Err(Error::NotNow(format!(
            "this database was used with the keys {known}, and this process has the keys {identity}: set [keys] to the \
             keys that the other processes use; if their directory is lost, restore it from its backup, because private \
             data in the database cannot be read without it"
        )))
    }

    async fn keys_mark(&self) -> Result<Option<String>, Error> {
        let mut sql = Sql::new(self.dialect(), "SELECT value FROM marks");
        sql.and("name = {}", Some(MARK.to_owned()));
        let found = self.rows(sql, vec![Type::Text]).await?.into_iter().flatten().next();
        found.map(String::take).transpose().map_err(crate::list::corrupt)
    }
}

fn cannot_use(error: &KeyError) -> Error {
    Error::NotNow(format!("the keys that encrypt private data cannot be used: {error}"))
}
