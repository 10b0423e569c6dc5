//! Protections of data that only some actors may remove: holds that keep data, deletion protection, grace periods.

use crate::authority::Authority;
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::error::Error;
use crate::hold::Hold;
use crate::json::Pointer;
use crate::manifest::Manifest;
use crate::permission::Operation;
use crate::quotas::purge_after_days;
use crate::violation::Violation;
use jiff::Timestamp;

/// Checks that the actor may do `operation`. `concerns` names what it would be done to.
///
/// # Errors
/// [`Error::Forbidden`].
pub(super) fn require(operation: Operation, concerns: &str, context: &DecisionContext) -> Result<(), Error> {
    match context.authority.may(operation) {
        true => Ok(()),
        false => Err(Error::Forbidden(format!("{concerns}: {}", context.authority.refusal(operation)))),
    }
}

/// Checks that the actor may release a hold.
///
/// # Errors
/// [`Error::Forbidden`].
pub(super) fn release(declared: &Declared, hold: &Hold, context: &DecisionContext) -> Result<(), Error> {
    if declared.keeps_data(&hold.kind) {
        require(Operation::ReleaseKeptData, &format!("hold {} keeps data", hold.described()), context)?;
    }
    let placed_it = hold.placed_by == context.actor.to_string();
    // A part of the product releases a hold whose end has come, whoever placed it.
    if placed_it && context.authority != Authority::Everything && declared.released_by_another(&hold.kind) {
        let message = format!("hold {} was placed with this key: release it with another key", hold.described());
        return Err(Error::Forbidden(message));
    }
    Ok(())
}

/// Checks that the actor may set the end of a hold to `until`. To end it sooner is to release it.
///
/// # Errors
/// [`Error::Forbidden`].
pub(super) fn end_at(
    declared: &Declared,
    hold: &Hold,
    until: Option<Timestamp>,
    context: &DecisionContext,
) -> Result<(), Error> {
    let is_sooner = until.is_some_and(|until| hold.until.is_none_or(|before| until < before));
    if is_sooner { release(declared, hold, context) } else { Ok(()) }
}

/// Returns who counts as the actor that placed a hold after `actor` changed it. If another actor must release it, a
/// change of its reason does not free the first one.
pub(super) fn placed_by(declared: &Declared, hold: &Hold, actor: String) -> String {
    if declared.released_by_another(&hold.kind) { hold.placed_by.clone() } else { actor }
}

/// Returns a warning for each protection that a change removes and that a plan by this actor could not remove.
///
/// # Errors
/// [`Error::FieldsForbidden`] with the fields, if the actor may change tenants but not remove these protections.
pub(super) fn fields(before: &Manifest, after: &Manifest, context: &DecisionContext) -> Result<Vec<Violation>, Error> {
    let root = Pointer::root();
    let mut removed = Vec::new();
    if before.deletion_protection && !after.deletion_protection {
        removed.push((Operation::Unprotect, root.key("deletion_protection")));
    }
    if purge_after_days(&after.policies) < purge_after_days(&before.policies) {
        removed.push((Operation::ShortenGrace, root.key("policies").key("purgeAfterDays")));
    }
    let authority = &context.authority;
    let refused = removed.into_iter().filter(|(operation, _)| !authority.may(*operation));
    let refused: Vec<_> =
        refused.map(|(operation, at)| Violation::at(&at, "forbidden_field", authority.refusal(operation))).collect();
    // A caller that may change no tenant at all only plans: another caller will carry out the change.
    if refused.is_empty() || !authority.may(Operation::WriteTenants) {
        return Ok(refused);
    }
    Err(Error::FieldsForbidden(refused))
}
