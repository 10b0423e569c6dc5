//! Exit codes, and the only mapping of problems to exit codes.

/// The exit codes. Scripts depend on them, so a number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded.
    Done = 0,
    /// A rule, the state or a gated change refused the request.
    Refused = 1,
    /// The command line is invalid.
    Usage = 2,
    /// The named resource does not exist.
    NotFound = 3,
    /// Another request changed the resource first, or the name is in use.
    Conflict = 4,
    /// The key lacks the permission, or no key was sent.
    NotAllowed = 5,
    /// The change was accepted, and its job failed.
    JobFailed = 6,
    /// The client stopped waiting; the job continues.
    TimedOut = 7,
    /// No server answered, or it was not available.
    NoServer = 8,
    /// `plan --exit-code`: applying would change something.
    Changes = 10,
}

impl Exit {
    /// Maps a problem of the server to an exit code. The problem code decides. The status decides only if the code is
    /// unknown, such as one of a newer server.
    pub fn of_problem(status: u16, code: &str) -> Self {
        match code {
            "not_found" => Self::NotFound,
            "stale_version"
            | "version_required"
            | "organization_exists"
            | "tenant_exists"
            | "alias_taken"
            | "key_exists"
            | "key_moved"
            | "webhook_exists"
            | "webhook_moved"
            | "lease_lost"
            | "idempotency_key_used"
            | "idempotency_key_reused" => Self::Conflict,
            "unauthenticated" | "forbidden" => Self::NotAllowed,
            "busy" | "locked" | "unavailable" | "database_gone" | "outcome_unknown" | "rate_limited"
            | "too_many_at_once" => Self::NoServer,
            // A 409 that is not a race: refused by the state, a gated change, a cap or a closed organization.
            "not_in_this_state" | "not_allowed_by_name" | "organization_cap_exceeded" | "organization_closed" => {
                Self::Refused
            }
            _ => match status {
                401 | 403 => Self::NotAllowed,
                404 => Self::NotFound,
                409 | 412 | 428 => Self::Conflict,
                502..=504 => Self::NoServer,
                _ => Self::Refused,
            },
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn must_map_each_problem_to_its_class() {
        for (status, code, exit) in [
            (404, "not_found", 3),
            (412, "stale_version", 4),
            (428, "version_required", 4),
            (409, "tenant_exists", 4),
            (409, "alias_taken", 4),
            (422, "idempotency_key_reused", 4),
            (409, "not_in_this_state", 1),
            (409, "not_allowed_by_name", 1),
            (409, "organization_cap_exceeded", 1),
            (422, "invalid", 1),
            (422, "organization_missing", 1),
            (400, "malformed", 1),
            (413, "too_large", 1),
            (401, "unauthenticated", 5),
            (403, "forbidden", 5),
            (503, "busy", 8),
            (429, "rate_limited", 8),
            (503, "locked", 8),
            (503, "unavailable", 8),
            (503, "outcome_unknown", 8),
            (503, "database_gone", 8),
            (410, "answer_erased", 1),
            (500, "internal", 1),
            (409, "of_a_newer_server", 4),
            (404, "", 3),
            (502, "", 8),
        ] {
            assert_eq!(Exit::of_problem(status, code) as u8, exit, "{status} {code}");
        }
    }
}
