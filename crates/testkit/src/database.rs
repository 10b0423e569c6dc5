//! One database of a cluster, and its URL.

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Database of a [`Postgres`](crate::Postgres). It exists as long as its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    name: String,
    port: u16,
}

impl Database {
    pub(crate) fn new(name: String, port: u16) -> Self {
        Self { name, port }
    }

    /// Returns its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL as superuser: `postgres://postgres@127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// Returns the URL as another role; no role needs a password.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        url(role, self.port, &self.name)
    }

    /// Opens a new connection. The task that drives it ends with the client.
    pub async fn connect(&self) -> Client {
        connect(&self.url()).await
    }

    /// Runs statements separated by `;`. Blocks the thread until they have finished.
    pub fn execute(&self, sql: &str) {
        let _ = self.rows(sql);
    }

    /// Returns the rows of a query as text, `None` for NULL. Blocks the thread.
    #[must_use = "use `execute` for statements without a result"]
    pub fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        blocking(async {
            let client = self.connect().await;
            let answer = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            let rows = answer.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            rows.map(|row| (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()).collect()
        })
    }

    /// Returns the single value of a query as text. Blocks the thread.
    #[must_use = "use `execute` for statements without a result"]
    pub fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_else(|| panic!("{sql}: null")),
            _ => panic!("{sql}: expected one value, got {rows:?}"),
        }
    }
}

pub(crate) fn url(role: &str, port: u16, name: &str) -> String {
    format!("postgres://{role}@127.0.0.1:{port}/{name}")
}

pub(crate) async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.unwrap_or_else(|error| panic!("connect to {url}: {error:?}"));
    // The client's next call reports the end of the connection.
    tokio::spawn(async { drop(connection.await) });
    client
}

/// Runs a future to its end on a separate thread, so that the caller may be inside or outside of a runtime.
pub(crate) fn blocking<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("make a runtime").block_on(future)
        });
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
