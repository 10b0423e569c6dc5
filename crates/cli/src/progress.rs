//! Progress of jobs: a bar on a terminal, otherwise one line for each change.

use crate::kinds::percent;
use crate::terminal::remark;
use crate::wire::Job;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tenancy_api::Word;
use tenancy_core::action::Action;
use tenancy_core::job::StepState;

/// Length of the bar for each tenant.
const PARTS: u64 = 1000;
/// Interval of a spinner, which shows work that cannot be counted.
const TICK: Duration = Duration::from_millis(120);

/// Progress display while the client waits for jobs. It uses standard error; standard output has only the result.
pub struct Progress {
    bar: Option<ProgressBar>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

#[derive(Default)]
struct Seen {
    parts: u64,
    line: String,
}

impl Progress {
    /// Creates a display for a number of tenants.
    pub fn of(tenants: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(tenants, ProgressDrawTarget::stderr()));
        Self { bar, seen: Mutex::default() }
    }

    /// Creates a spinner for a request that takes a while. It is shown only on a terminal.
    pub fn sending(what: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(format!("sending {what}"));
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, seen: Mutex::default() }
    }

    /// Prints a line without disturbing the bar.
    pub fn remark(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| remark(line)),
            None => remark(line),
        }
    }

    /// Shows the progress of a job.
    pub fn job(&self, tenant: &str, job: &Job) {
        let waits = job.waiting_for.as_ref().map(|what| format!(", waits for {what}")).unwrap_or_default();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(tenant.to_owned()).or_default();
        let parts = parts(&job.action, job.progress);
        let gained = parts.saturating_sub(seen.parts);
        seen.parts = seen.parts.max(parts);
        match &self.bar {
            Some(bar) => {
                bar.inc(gained);
                let step = step(job).map(|step| format!(", {step}")).unwrap_or_default();
                bar.set_message(format!("{tenant}: {} {}{step}{waits}", job.action, percent(job.progress)));
            }
            None => {
                let line = format!("{tenant}: {} {}{waits}", job.action, job.state);
                if line != seen.line {
                    remark(&line);
                    seen.line = line;
                }
            }
        }
    }

    /// Marks a tenant as settled: no job is open on it.
    pub fn settled(&self, tenant: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(tenant.to_owned()).or_default();
        if let Some(bar) = &self.bar {
            bar.inc(PARTS.saturating_sub(seen.parts));
        }
        seen.parts = PARTS;
    }

    /// Removes the bar before the result is printed.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(tenants: usize, target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(PARTS * tenants.max(1) as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {percent:>3}% {elapsed:>4}  {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Returns the part of the bar for a job. The create job is the first half, so that the bar does not go back when the
/// activate job follows.
fn parts(action: &Word<Action>, progress: f64) -> u64 {
    let progress = progress.clamp(0.0, 1.0);
    let done = if *action == Action::Create { progress / 2.0 } else { 0.5 + progress / 2.0 };
    // The last part is added when no job is open on the tenant.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1, times 1000")]
    let parts = (done * (PARTS - 1) as f64) as u64;
    parts
}

/// Returns the name of the current step.
fn step(job: &Job) -> Option<&str> {
    job.steps.iter().find(|step| step.state == StepState::Pending).map(|step| &*step.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::job;
    use indicatif::TermLike;
    use serde_json::json;
    use std::io;
    use std::sync::Arc;

    /// A terminal of 80 columns that keeps what is written to it.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<String>>);

    impl TermLike for Kept {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("not poisoned").push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn must_show_a_bar_with_the_tenant_and_the_progress_of_its_job() {
        let kept = Kept::default();
        let bar = bar(2, ProgressDrawTarget::term_like(Box::new(kept.clone())));
        let progress = Progress { bar: Some(bar), seen: Mutex::default() };
        let steps = json!([{"name": "provision dev", "state": "done"}, {"name": "record", "state": "pending"}]);
        progress.settled("acme-us");
        progress.job("acme-eu", &job(json!({"action": "activate", "progress": 0.5, "steps": steps})).value);
        let shown = kept.0.lock().expect("not poisoned").clone();
        for part in ["=====>", " 87%", "acme-eu: activate 50%, record"] {
            assert!(shown.contains(part), "{part} in {shown:?}");
        }
    }

    #[test]
    fn must_only_go_forward_over_a_chain_of_jobs() {
        let (create, activate) = (Action::Create.into(), Action::Activate.into());
        let way = [parts(&create, 0.0), parts(&create, 1.0), parts(&activate, 0.2), parts(&activate, 1.0)];
        assert!(way.is_sorted() && way[3] < PARTS, "{way:?}");
        assert_eq!(parts(&Action::Suspend.into(), f64::NAN.max(7.0)), PARTS - 1);
    }

    #[test]
    fn must_name_the_current_step() {
        let steps = json!([{"name": "provision dev", "state": "done"}, {"name": "record", "state": "pending"}]);
        assert_eq!(step(&job(json!({"steps": steps})).value), Some("record"));
        assert_eq!(step(&job(json!({})).value), None);
    }
}
