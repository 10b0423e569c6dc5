//! The context of a decision: time, actor, request and randomness. A rule has no other input from outside.

use crate::actor::{Actor, ActorKind};
use crate::authority::Authority;
use crate::ids::{AuditId, CorrelationId, EnvironmentId, HoldId, JobId, KeyId, TenantId, WebhookId};
use jiff::Timestamp;

/// Context of a decision: the only source of time, randomness, actor and request.
#[derive(Debug, Clone)]
pub struct DecisionContext {
    /// Time of the database, cut to microseconds.
    pub now: Timestamp,
    /// Actor of the decision.
    pub actor: Actor,
    /// Correlation id of the request.
    pub correlation_id: CorrelationId,
    /// What the actor may do. A part of the product may do everything.
    pub authority: Authority,
    random: [u8; 32],
    made: u16,
}

impl DecisionContext {
    /// Creates a context. `random` must be fresh: ids use its first eight bytes, salts use the others, so that no id
    /// discloses a salt.
    pub fn new(now: Timestamp, random: [u8; 32], actor: Actor, correlation_id: CorrelationId) -> Self {
        let authority = match actor.kind {
            ActorKind::User => Authority::Nothing,
            ActorKind::System | ActorKind::Controller => Authority::Everything,
        };
        Self { now: cut(now), actor, correlation_id, authority, random, made: 0 }
    }

    /// Sets what the actor may do.
    #[must_use]
    pub fn with_authority(self, authority: Authority) -> Self {
        Self { authority, ..self }
    }

    /// Returns a new UUIDv7 in 32 hexadecimal digits: the time in microseconds (RFC 9562, 6.2 method 3), then a
    /// sequence number, so that ids of one context sort in the order of their creation, then random bits.
    fn uuid(&mut self) -> String {
        let micros = self.now.as_microsecond().max(0).unsigned_abs();
        let (millis, fraction) = (micros / 1000, (micros % 1000) * 4096 / 1000);
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&u16::try_from(fraction).unwrap_or(0).to_be_bytes());
        // The two highest bits belong to the variant. The sequence number of twelve bits follows, then random bits.
        bytes[2..4].copy_from_slice(&((self.made & 0xfff) << 2).to_be_bytes());
        bytes[4..].copy_from_slice(&self.random[..6]);
        // Twelve bits: 4,096 ids per context. The limits of a manifest permit some hundreds.
        self.made = self.made.wrapping_add(1);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().simple().to_string()
    }

    /// Returns a new tenant id, for a request without one.
    pub fn tenant_id(&mut self) -> TenantId {
        TenantId::known(format!("t-{}", self.uuid()))
    }

    /// Returns a new id.
    pub fn environment_id(&mut self) -> EnvironmentId {
        EnvironmentId::known(format!("env_{}", self.uuid()))
    }

    /// Returns a new id whose time is [`DecisionContext::now`].
    pub fn audit_id(&mut self) -> AuditId {
        AuditId::known(format!("{AUDIT_PREFIX}{}", self.uuid()))
    }

    /// Returns a new id.
    pub fn job_id(&mut self) -> JobId {
        JobId::known(format!("job_{}", self.uuid()))
    }

    /// Returns a new id.
    pub fn webhook_id(&mut self) -> WebhookId {
        WebhookId::known(format!("whk_{}", self.uuid()))
    }

    /// Returns a new id.
    pub fn key_id(&mut self) -> KeyId {
        KeyId::known(format!("key_{}", self.uuid()))
    }

    /// Returns a new id.
    pub fn hold_id(&mut self) -> HoldId {
        HoldId::known(format!("hld_{}", self.uuid()))
    }

    /// Returns a salt for a digest, different for each call.
    pub fn salt(&mut self) -> String {
        crate::json::sha256_hex(&[self.uuid().as_bytes(), &self.random[8..]])[..32].to_owned()
    }
}

/// Prefix of the UUID in an [`AuditId`].
pub const AUDIT_PREFIX: &str = "aud_";

/// Returns the lowest audit id that an event at `time` or later can have: the bound of a query by time, or of a
/// partition.
pub fn least_audit_id(time: Timestamp) -> AuditId {
    let millis = time.as_millisecond().max(0);
    AuditId::known(format!("{AUDIT_PREFIX}{millis:012x}{}", "0".repeat(20)))
}

/// Cuts a time to whole microseconds, the resolution of both databases.
pub fn cut(time: Timestamp) -> Timestamp {
    from_microseconds(time.as_microsecond()).unwrap_or(time)
}

/// Returns the time of this number of microseconds since 1970. Unlike the function of the library, it accepts the last
/// second of the range in full.
pub fn from_microseconds(number: i64) -> Option<Timestamp> {
    let nanoseconds = i32::try_from(number.rem_euclid(1_000_000) * 1000).ok()?;
    Timestamp::new(number.div_euclid(1_000_000), nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(micros: i64, random: u8) -> DecisionContext {
        let now = Timestamp::from_microsecond(micros).expect("in range");
        DecisionContext::new(now, [random; 32], Actor::system("test"), CorrelationId::known("c"))
    }

    #[test]
    fn must_make_ids_that_sort_by_time_and_then_by_making() {
        let mut early = context(1_700_000_000_000_001, u8::MAX);
        let mut late = context(1_700_000_000_000_002, 0);
        let ids = [early.audit_id(), early.audit_id(), early.audit_id(), late.audit_id(), late.audit_id()];
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(least_audit_id(early.now) <= ids[0]);
        assert!(ids.iter().all(|id| id.as_str().len() == 36));
    }

    #[test]
    fn must_make_ids_of_version_seven_with_the_time_in_them() {
        let mut context = context(1_700_000_000_123_456, 42);
        let text = context.audit_id();
        let uuid = uuid::Uuid::parse_str(&text.as_str()[AUDIT_PREFIX.len()..]).expect("a uuid");
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = uuid.get_timestamp().expect("a time").to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_700_000_000, 123));
    }

    #[test]
    fn must_differ_with_the_random_bits() {
        assert_ne!(context(1, 1).job_id(), context(1, 2).job_id());
    }
}
