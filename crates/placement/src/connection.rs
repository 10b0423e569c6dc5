//! How programs reach a place.

/// Connection data of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// A SQLite file on this machine.
    Sqlite {
        /// Its absolute path.
        file: String,
    },
    /// A login role of a PostgreSQL server.
    Postgres(PostgresLogin),
}

/// A login role that reaches the place of one environment, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresLogin {
    /// Host of the server: a name, an address, or the folder of a Unix socket.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Name of the role.
    pub user: String,
    /// Password of the role.
    pub password: Password,
}

/// A password. It is never shown by `Debug`, so that no log contains it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Keeps a password.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the password, for those who are given it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_not_show_the_password_when_it_is_debugged() {
        let login = PostgresLogin {
            host: "localhost".to_owned(),
            port: 5432,
            database: "data".to_owned(),
            user: "somebody".to_owned(),
            password: Password::new("secret".to_owned()),
        };
        let shown = format!("{:?}", Connection::Postgres(login.clone()));
        assert!(!shown.contains("secret") && shown.contains("somebody"), "{shown}");
        assert_eq!(login.password.expose(), "secret");
    }
}
