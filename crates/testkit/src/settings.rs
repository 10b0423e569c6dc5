//! Settings of a temporary cluster.

/// Differences of a cluster from a plain `initdb`. The default is durable, as in production.
#[derive(Clone, Debug)]
pub struct Settings {
    fsync: bool,
    max_connections: u16,
    parameters: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fsync: true, max_connections: 200, parameters: Vec::new() }
    }
}

impl Settings {
    /// Commits do not wait for the disk. The server may still be killed: its commits have then been passed to the
    /// kernel (`synchronous_commit` stays on). Does not cover a crash of the machine.
    #[must_use]
    pub fn fsync_off(mut self) -> Self {
        self.fsync = false;
        self
    }

    /// Sets the maximum number of connections. Defaults to 200.
    #[must_use]
    pub fn max_connections(mut self, connections: u16) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets any other parameter of `postgresql.conf`; the last value for a name applies.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the lines to append to `postgresql.conf`.
    pub(crate) fn to_conf(&self, port: u16, socket_directory: &str) -> String {
        let mut lines = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("unix_socket_directories", socket_directory.to_owned()),
            ("max_connections", self.max_connections.to_string()),
            ("log_line_prefix", "%m [%p] %d ".to_owned()),
        ];
        if !self.fsync {
            for name in ["fsync", "full_page_writes"] {
                lines.push((name, "off".to_owned()));
            }
        }
        lines.extend(self.parameters.iter().map(|(name, value)| (name.as_str(), value.clone())));
        lines.iter().map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_quote_must_stay_one_value() {
        let settings = Settings::default().parameter("cluster_name", "it's");
        let conf = settings.to_conf(1234, "/run/x");
        assert!(conf.contains("port = '1234'\n"), "{conf}");
        assert!(conf.ends_with("cluster_name = 'it''s'\n"), "{conf}");
        assert!(!conf.contains("fsync"), "{conf}");
    }

    #[test]
    fn fsync_off_must_turn_off_what_waits_for_the_disk() {
        let conf = Settings::default().fsync_off().to_conf(1234, "/run/x");
        assert!(conf.contains("fsync = 'off'\n"), "{conf}");
    }
}
