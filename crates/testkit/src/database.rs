//! One database of a cluster, and the way to it.

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A database of a [`Postgres`](crate::Postgres). It stays until its cluster goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    name: String,
    port: u16,
}

impl Database {
    pub(crate) fn new(name: String, port: u16) -> Self {
        Self { name, port }
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The way to it as superuser: `postgres://postgres@127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// The same as another role; no role needs a password.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        url(role, self.port, &self.name)
    }

    /// A connection of the test's own. The task that drives it ends with the client.
    pub async fn connect(&self) -> Client {
        connect(&self.url()).await
    }

    /// Runs statements, separated by `;`, and blocks the thread until they are done.
    pub fn execute(&self, sql: &str) {
        let _ = self.rows(sql);
    }

    /// The rows of a query as text, `None` for null. Blocks the thread.
    #[must_use = "use `execute` for what answers nothing"]
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

    /// The one value that a query answers, as text. Blocks the thread.
    #[must_use = "use `execute` for what answers nothing"]
    pub fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_else(|| panic!("{sql}: null")),
            _ => panic!("{sql}: one value expected, got {rows:?}"),
        }
    }
}

pub(crate) fn url(role: &str, port: u16, name: &str) -> String {
    format!("postgres://{role}@127.0.0.1:{port}/{name}")
}

pub(crate) async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.unwrap_or_else(|error| panic!("connect to {url}: {error:?}"));
    // Its end is seen by the client's next call.
    tokio::spawn(async { drop(connection.await) });
    client
}

/// Runs a future to its end on a thread of its own, so that it does not matter whether the caller is
/// inside a runtime.
pub(crate) fn blocking<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("make a runtime").block_on(future)
        });
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
