//! When a delivery that failed is tried again.

use crate::json::Object;
use crate::words::words;
use serde_json::Value;
use std::time::Duration;

words!(
    /// How the pauses between tries grow.
    Backoff {
        /// Each pause is [`FACTOR`] times the pause before, up to `max_seconds`.
        Exponential = "exponential",
        /// All pauses are `base_seconds`.
        Fixed = "fixed",
    }
);

/// Growth of exponential pauses. With the default values, the second try comes after seconds, and ten tries span 75
/// hours. Doubling needs a first pause of minutes for that.
const FACTOR: f64 = 5.0;

/// Default number of further tries after the first.
pub const DEFAULT_MAX_RETRIES: i64 = 9;
/// Maximum number of further tries after the first.
pub const MAX_RETRIES: i64 = 100;
/// Maximum value of `base_seconds`: one day.
pub const MAX_BASE_SECONDS: i64 = 86_400;
/// Maximum value of `max_seconds`: one day.
pub const MAX_PAUSE_SECONDS: i64 = 86_400;
/// Default share of a pause by which it varies at random.
pub const DEFAULT_JITTER: f64 = 0.2;

/// First pause of [`Backoff::Exponential`], in seconds.
const EXPONENTIAL_BASE_SECONDS: i64 = 5;
/// Pause of [`Backoff::Fixed`], in seconds.
const FIXED_BASE_SECONDS: i64 = 300;

/// Retry policy in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How the pauses grow.
    pub backoff: Backoff,
    /// First pause, in seconds.
    pub base_seconds: i64,
    /// Maximum pause before the jitter, in seconds.
    pub max_seconds: i64,
    /// Number of further tries after the first.
    pub max_retries: i64,
    /// Share of a pause by which it varies at random: 0.2 is 20 % less to 20 % more.
    pub jitter: f64,
}

impl RetryPolicy {
    /// Returns the policy of a document, with defaults for what it does not give. A value outside its range, which only
    /// a release with wider ranges can have stored, is moved into the range.
    pub fn of(document: &Object) -> Self {
        let integer = |name: &str, default: i64, least: i64, most: i64| {
            document.get(name).and_then(Value::as_i64).unwrap_or(default).clamp(least, most)
        };
        let backoff = document.get("backoff").and_then(Value::as_str).and_then(Backoff::parse);
        let backoff = backoff.unwrap_or(Backoff::Exponential);
        let base = match backoff {
            Backoff::Exponential => EXPONENTIAL_BASE_SECONDS,
            Backoff::Fixed => FIXED_BASE_SECONDS,
        };
        let jitter = document.get("jitter").and_then(Value::as_f64).unwrap_or(DEFAULT_JITTER);
        Self {
            backoff,
            base_seconds: integer("base_seconds", base, 1, MAX_BASE_SECONDS),
            max_seconds: integer("max_seconds", MAX_PAUSE_SECONDS, 1, MAX_PAUSE_SECONDS),
            max_retries: integer("max_retries", DEFAULT_MAX_RETRIES, 0, MAX_RETRIES),
            jitter: jitter.clamp(0.0, 1.0),
        }
    }

    /// Returns the pause after a failed try, or `None` if there is no further try. `attempt` is the number of tries that
    /// failed, from 1. `random` is a random number from 0 to 1.
    pub fn pause(&self, attempt: u32, random: f64) -> Option<Duration> {
        if i64::from(attempt) > self.max_retries {
            return None;
        }
        let growth = match self.backoff {
            Backoff::Fixed => 1.0,
            // More steps exceed every maximum.
            Backoff::Exponential => FACTOR.powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX).min(32)),
        };
        let seconds = (whole(self.base_seconds) * growth).min(whole(self.max_seconds));
        let varied = seconds * (1.0 + self.jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0));
        Duration::try_from_secs_f64(varied).ok()
    }
}

/// Returns a number of seconds as a double. The ranges are far below what a double represents exactly.
fn whole(seconds: i64) -> f64 {
    i32::try_from(seconds).map_or(f64::from(i32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(document: Value) -> RetryPolicy {
        RetryPolicy::of(document.as_object().expect("an object"))
    }

    fn pauses(policy: &RetryPolicy, random: f64) -> Vec<u64> {
        (1..).map_while(|attempt| policy.pause(attempt, random)).map(|pause| pause.as_secs()).collect()
    }

    #[test]
    fn must_try_ten_times_over_about_75_hours_by_default() {
        let pauses = pauses(&policy(json!({})), 0.5);
        assert_eq!(pauses, [5, 25, 125, 625, 3125, 15_625, 78_125, 86_400, 86_400]);
        let hours = pauses.iter().sum::<u64>() / 3600;
        assert!((74..=76).contains(&hours), "{hours}");
    }

    #[test]
    fn must_vary_each_pause_by_its_jitter_and_no_more() {
        let default = policy(json!({}));
        assert_eq!(default.pause(1, 0.0), Some(Duration::from_secs(4)));
        assert_eq!(default.pause(1, 1.0), Some(Duration::from_secs(6)));
        let none = policy(json!({"jitter": 0}));
        assert_eq!(none.pause(1, 0.0), none.pause(1, 1.0));
        let all = policy(json!({"jitter": 1}));
        assert_eq!((all.pause(1, 0.0), all.pause(1, 1.0)), (Some(Duration::ZERO), Some(Duration::from_secs(10))));
    }

    #[test]
    fn must_follow_the_document() {
        let fixed = policy(json!({"backoff": "fixed", "base_seconds": 7, "max_retries": 3, "jitter": 0}));
        assert_eq!(pauses(&fixed, 0.9), [7, 7, 7]);
        let capped = policy(json!({"base_seconds": 60, "max_seconds": 100, "max_retries": 4, "jitter": 0}));
        assert_eq!(pauses(&capped, 0.1), [60, 100, 100, 100]);
        assert_eq!(policy(json!({"max_retries": 0})).pause(1, 0.5), None);
        assert_eq!(pauses(&policy(json!({"backoff": "fixed"})), 0.5).len(), 9);
    }

    #[test]
    fn must_stay_in_range_for_the_largest_numbers() {
        let most =
            policy(json!({"max_retries": i64::MAX, "base_seconds": i64::MAX, "max_seconds": i64::MAX, "jitter": 9}));
        assert_eq!((most.max_retries, most.base_seconds, most.jitter), (MAX_RETRIES, MAX_BASE_SECONDS, 1.0));
        assert_eq!(most.pause(100, 1.0), Some(Duration::from_secs(2 * 86_400)));
        assert_eq!(most.pause(u32::MAX, 1.0), None);
    }
}
