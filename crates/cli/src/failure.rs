//! The error of a command: a message, its details, and the next step.

use crate::exit::Exit;
use crate::program;
use crate::terminal::{Colour, plain};
use std::fmt::Write as _;
use tenancy_api::{Problem, ProblemError};

/// Maximum number of printed details. Of the rest, only the number is printed.
const MAX_DETAILS: usize = 20;

/// The error type of all commands.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// Message that says what is wrong.
    pub message: String,
    /// One line for each violation.
    pub details: Vec<String>,
    /// Next step for the user.
    pub next: Option<String>,
    /// Problem code of the server, so that a command can handle it.
    pub code: Option<String>,
    /// Problem of the server.
    pub problem: Option<Box<Problem>>,
}

impl Failure {
    /// Creates a failure with an exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), details: Vec::new(), next: None, code: None, problem: None }
    }

    /// Creates a failure with [`Exit::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// Creates a failure with [`Exit::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Whether the server could not read the row, because something else has changed the database.
    pub fn is_unreadable(&self) -> bool {
        self.code.as_deref() == Some("unreadable")
    }

    /// Adds the next step in words.
    #[must_use]
    pub fn and(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Adds a command of this program as the next step.
    #[must_use]
    pub fn and_type(self, arguments: &str) -> Self {
        self.and(program::command(arguments))
    }

    /// Replaces JSON pointers in the details with the options that the values came from.
    #[must_use]
    pub fn of_flags(mut self, flags: &[(&str, &str)]) -> Self {
        let mut count = 0;
        for detail in &mut self.details {
            if let Some(said) = flags.iter().find_map(|(pointer, flag)| of_flag(detail, pointer, flag)) {
                *detail = said;
                count += 1;
            }
        }
        // The command line was wrong, as for values that the client checks itself.
        if self.code.as_deref() == Some("invalid") && count == self.details.len() {
            self.exit = Exit::Usage;
        }
        if self.code.as_deref() == Some("invalid")
            && let [detail] = self.details.as_slice()
        {
            self.message.clone_from(detail);
            self.details.clear();
        }
        self
    }

    /// Converts a problem of the server.
    pub fn of_problem(problem: &Problem) -> Self {
        let Problem { status, code, detail, errors, correlation_id, .. } = problem;
        // The server's sentence repeats the list in `errors`. Here each entry gets its own line instead.
        let message = match detail.split_once(": ") {
            Some((sentence, _)) if !errors.is_empty() => sentence,
            _ => detail,
        };
        let mut failure = Self::new(Exit::of_problem(*status, code), message);
        failure.details = errors.iter().map(detail_line).collect();
        failure.code = Some(code.to_string());
        failure.problem = Some(Box::new(problem.clone()));
        if *status >= 500 {
            failure.details.push(format!("correlation id {correlation_id}"));
        }
        failure.next = next_of(code, errors);
        failure
    }

    /// Converts an error response without a problem document.
    pub fn of_status(status: u16) -> Self {
        Self::new(Exit::of_problem(status, ""), format!("the server answered with status {status}"))
    }

    /// Renders the failure for standard error.
    pub fn render(&self, colours: bool) -> String {
        let mut text = format!("{} {}\n", Colour::Red.paint("error:", colours), plain(&self.message));
        for detail in self.details.iter().take(MAX_DETAILS) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {}", plain(detail));
        }
        if let Some(more @ 1..) = self.details.len().checked_sub(MAX_DETAILS) {
            let _ = writeln!(text, "  and {more} more");
        }
        if let Some(next) = &self.next {
            let _ = writeln!(text, "{} {}", Colour::Cyan.paint("next:", colours), plain(next));
        }
        text
    }
}

/// Returns the detail in the words of the flag if it is about the field at the pointer or below it. The server's sentence
/// can begin with the name of the field, which the flag replaces.
fn of_flag(detail: &str, pointer: &str, flag: &str) -> Option<String> {
    let (below, said) = detail.strip_prefix(pointer)?.split_once(": ")?;
    if !below.is_empty() && !below.starts_with('/') {
        return None;
    }
    let field = pointer.rsplit('/').next().unwrap_or_default();
    match said.strip_prefix(field).and_then(|rest| rest.strip_prefix(' ')) {
        Some(rest) => Some(format!("{flag} {rest}")),
        None => Some(format!("{flag}: {said}")),
    }
}

/// Renders one violation or gated change with its document and pointer.
fn detail_line(error: &ProblemError) -> String {
    let mut pointer = error.pointer.as_str();
    let mut of = String::new();
    if let Some(document) = &error.document {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        of = format!("{} {}", part(&document.kind), part(&document.name)).trim().to_owned();
        // A document is shown by kind and name, or by its number, counted from 1.
        if of.is_empty() {
            of = format!("document {}", document.index + 1);
        }
        pointer = pointer.strip_prefix(&format!("/{}", document.index)).unwrap_or(pointer);
    }
    let place = format!("{of} {pointer}").trim().to_owned();
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    match &error.allow {
        None => format!("{place}{}", error.message),
        Some(allow) => format!("{place}{} (--allow {allow})", error.message),
    }
}

/// Returns the next step that confirms all gated changes in the errors, if there are any.
pub fn confirmed_by(errors: &[ProblemError]) -> Option<String> {
    let mut kinds: Vec<_> = errors.iter().filter_map(|error| error.allow.as_deref()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let flags: Vec<_> = kinds.iter().map(|kind| format!("--allow {kind}")).collect();
    (!flags.is_empty()).then(|| format!("to confirm, run the command again with {}", flags.join(" ")))
}

fn next_of(code: &str, errors: &[ProblemError]) -> Option<String> {
    match code {
        "stale_version" | "key_moved" | "webhook_moved" => {
            Some("another request changed it in the meantime: run the same command again".to_owned())
        }
        "not_allowed_by_name" => confirmed_by(errors),
        "unauthenticated" => Some(program::command("context list")),
        "forbidden" => Some(program::command("status")),
        "organization_missing" => Some("create the organization first, or declare it in the same file".to_owned()),
        "too_large" => {
            Some(format!("split the input: {} writes one organization", program::command("export --organization NAME")))
        }
        "apply_in_progress" | "busy" | "locked" | "unavailable" | "outcome_unknown" | "rate_limited"
        | "too_many_at_once" => Some("run the same command again in a moment".to_owned()),
        _ => None,
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // `tenancy get tenants | head` is not an error.
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            _ => Self::refused(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::problem;
    use serde_json::{Value, json};

    #[test]
    fn must_give_each_violation_its_own_line_with_its_document_and_pointer() {
        let failure = Failure::of_problem(&problem(
            422,
            json!({
                "code": "invalid",
                "detail": "the document has 2 errors: /0/region: must be declared; /1/x: there is no field \"x\"",
                "errors": [
                    {"code": "undeclared_region", "pointer": "/0/region", "message": "must be declared",
                     "document": {"index": 0, "kind": "Tenant", "name": "acme-eu"}},
                    {"code": "unknown_field", "pointer": "/1/x", "message": "there is no field \"x\"",
                     "document": {"index": 1, "kind": null, "name": null}},
                ],
            }),
        ));
        assert_eq!(
            failure.render(false),
            "error: the document has 2 errors\n  Tenant acme-eu /region: must be declared\n  \
             document 2 /x: there is no field \"x\"\n"
        );
        assert_eq!(failure.exit, Exit::Refused);
    }

    #[test]
    fn must_say_how_to_confirm_a_gated_change() {
        let failure = Failure::of_problem(&problem(
            409,
            json!({
                "code": "not_allowed_by_name",
                "detail": "this change must be confirmed: send allow=remove-environment (removes environment dev)",
                "errors": [{"allow": "remove-environment", "pointer": "/environments/dev", "message": "removes environment dev"}],
            }),
        ));
        assert_eq!(
            failure.render(false),
            "error: this change must be confirmed\n  /environments/dev: removes environment dev (--allow remove-environment)\n\
             next: to confirm, run the command again with --allow remove-environment\n"
        );
    }

    #[test]
    fn must_keep_the_sentence_of_a_problem_without_a_list() {
        let failure = Failure::of_problem(&problem(
            404,
            json!({"code": "not_found", "detail": "there is no tenant \"acme-ue\"; did you mean \"acme-eu\"?"}),
        ));
        assert_eq!(failure.render(false), "error: there is no tenant \"acme-ue\"; did you mean \"acme-eu\"?\n");
        assert_eq!(failure.exit, Exit::NotFound);
        let bare = Failure::of_status(502);
        assert_eq!((bare.exit, bare.message.as_str()), (Exit::NoServer, "the server answered with status 502"));
    }

    #[test]
    fn must_limit_the_number_of_printed_details() {
        let mut failure = Failure::refused("many errors");
        failure.details = (0..MAX_DETAILS).map(|index| format!("line {index}")).collect();
        assert!(failure.render(false).ends_with("  line 19\n"));
        failure.details.extend(["one".to_owned(), "two".to_owned()]);
        assert!(failure.render(false).ends_with("  line 19\n  and 2 more\n"));
    }

    #[test]
    fn must_name_the_flag_that_was_typed() {
        let body =
            |errors: Value| json!({"code": "invalid", "detail": "the document has 2 errors: x", "errors": errors});
        let hold = json!({"code": "unknown_word", "pointer": "/hold", "message": "no such hold"});
        let until = json!({"code": "past", "pointer": "/until", "message": "is over"});
        let flags = [("/hold", "--hold"), ("/until", "--until")];
        let one = Failure::of_problem(&problem(422, body(json!([hold])))).of_flags(&flags);
        assert_eq!((one.render(false).as_str(), one.exit), ("error: --hold: no such hold\n", Exit::Usage));
        let overlap =
            json!([{"code": "range", "pointer": "/overlap_seconds", "message": "overlap_seconds must be less"}]);
        let overlap = Failure::of_problem(&problem(422, body(overlap))).of_flags(&[("/overlap_seconds", "--overlap")]);
        assert_eq!(overlap.render(false), "error: --overlap must be less\n");
        let two = Failure::of_problem(&problem(422, body(json!([hold, until])))).of_flags(&flags);
        assert_eq!(two.details, ["--hold: no such hold", "--until: is over"]);
    }
}
