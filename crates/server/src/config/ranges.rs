//! The range of every number in the configuration.

use super::{Config, MOST, MOST_HEADERS, MOST_SECONDS};
use std::ops::RangeInclusive;

/// A number of the configuration: the path of its key, its value, and the values that it can have.
type Number = (&'static str, u64, RangeInclusive<u64>);

impl Config {
    /// Returns every number with its range.
    fn numbers(&self) -> Vec<Number> {
        let (limits, jobs) = (&self.limits, &self.jobs);
        let size = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let numbers = [
            ("limits.max_body_bytes", size(limits.max_body_bytes), 1..=MOST),
            ("limits.max_apply_bytes", size(limits.max_apply_bytes), 1..=MOST),
            ("limits.max_header_bytes", size(limits.max_header_bytes), 1..=MOST),
            ("limits.max_headers", size(limits.max_headers), 1..=MOST_HEADERS),
            ("limits.max_connections", size(limits.max_connections), 1..=MOST),
            ("limits.max_response_cache_bytes", limits.max_response_cache_bytes, 0..=u64::MAX >> 1),
            ("limits.header_read_timeout_seconds", limits.header_read_timeout_seconds, 0..=MOST_SECONDS),
            ("limits.body_read_timeout_seconds", limits.body_read_timeout_seconds, 0..=MOST_SECONDS),
            ("limits.drain_timeout_seconds", limits.drain_timeout_seconds, 0..=MOST_SECONDS),
            ("keys.program_timeout_seconds", self.keys.program_timeout_seconds, 1..=MOST_SECONDS),
            ("keys.max_cached_keys", size(self.keys.max_cached_keys), 1..=MOST),
            ("jobs.max_running", size(jobs.max_running), 1..=MOST),
            ("jobs.lease_seconds", jobs.lease_seconds, 1..=MOST_SECONDS),
            ("jobs.heartbeat_seconds", jobs.heartbeat_seconds, 1..=MOST_SECONDS),
            ("jobs.poll_milliseconds", jobs.poll_milliseconds, 1..=1000 * MOST_SECONDS),
            ("jobs.give_up_hours", u64::from(jobs.give_up_hours), 0..=u64::from(u32::MAX)),
            ("jobs.expiry_seconds", jobs.expiry_seconds, 1..=MOST_SECONDS),
        ];
        let numbers = numbers.into_iter().chain(limits.connections.numbers()).chain(self.key_limits.numbers());
        numbers.chain(self.webhooks.numbers()).chain(self.events.numbers()).collect()
    }

    /// Returns a sentence for each number that is not in its range.
    pub(super) fn out_of_range(&self) -> Vec<String> {
        let beyond = self.numbers().into_iter().filter(|(_, number, range)| !range.contains(number));
        let sentence = |(name, number, range): Number| {
            format!("{name} must be from {} to {}, not {number}", range.start(), range.end())
        };
        beyond.map(sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, DEFAULT_TOML};

    /// The numbers of a table with their paths.
    fn numbers(path: &str, table: &toml::Table, found: &mut Vec<String>) {
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) => numbers(&format!("{path}{key}."), inner, found),
                toml::Value::Integer(_) => found.push(format!("{path}{key}")),
                _ => {}
            }
        }
    }

    #[test]
    fn must_have_a_range_for_every_number_and_say_it_in_the_manual() {
        let config = Config::default();
        let mut found = Vec::new();
        numbers("", &toml::Table::try_from(&config).expect("a table"), &mut found);
        let mut known: Vec<_> = config.numbers().into_iter().map(|(name, ..)| name.to_owned()).collect();
        found.sort();
        known.sort();
        assert_eq!(found, known);
        for (name, _, range) in config.numbers() {
            let key = name.rsplit('.').next().expect("a key");
            let said = format!("# {} to {}", range.start(), range.end());
            let is_said = |line: &str| line.starts_with(&format!("{key} = ")) && line.ends_with(&said);
            assert!(DEFAULT_TOML.lines().any(is_said), "{name}: {said}");
        }
    }
}
