//! A running key program: requests go to its standard input, answers come from its standard output.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::message::Answer;
use crate::erased::Erased;

/// A longer answer ends the program.
const MAX_ANSWER_LENGTH_BYTES: usize = 256 << 10;
/// What is read of one line of its standard error. The rest of the line is skipped.
const MAX_COMPLAINT_LENGTH_BYTES: usize = 4 << 10;
/// What is logged of one line of its standard error, in characters.
const MAX_LOGGED_LENGTH: usize = 500;
/// Requests that wait until the program reads them.
const MAX_UNREAD: usize = 64;

/// A program that was started, and may have ended since.
pub(super) struct Process {
    requests: mpsc::Sender<Erased>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Who waits for the answer with which id.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    /// Number of answers so far.
    answers: AtomicU64,
    stop: Notify,
    /// Why the program ended.
    ended: watch::Sender<Option<String>>,
    /// The last line of its standard error.
    complaint: Mutex<Option<String>>,
}

impl Process {
    /// Starts the program.
    pub(super) fn start(command: &[String]) -> std::io::Result<Self> {
        let [program, arguments @ ..] = command else { return Err(std::io::ErrorKind::InvalidInput.into()) };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let state = Arc::new(State::default());
        let (requests, unread) = mpsc::channel(MAX_UNREAD);
        if let Some(stdin) = child.stdin.take() {
            tokio::spawn(write(stdin, unread));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log(stderr, Arc::clone(&state)));
        }
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(read(child, stdout, Arc::clone(&state)));
        }
        Ok(Self { requests, state })
    }

    /// Sends a request and waits for its answer. `None` if the program ends before.
    pub(super) async fn ask(&self, id: u64, line: Erased) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let _waiting = Waiting::new(&self.state, id, answer)?;
        self.requests.send(line).await.ok()?;
        answered.await.ok()
    }

    pub(super) fn answers(&self) -> u64 {
        self.state.answers.load(Ordering::Relaxed)
    }

    /// Returns why the program ended; `None` while it runs.
    pub(super) fn ended(&self) -> Option<String> {
        self.state.ended.borrow().clone()
    }

    /// Waits until the program has ended, and returns why.
    pub(super) async fn end(&self) -> String {
        let mut ended = self.state.ended.subscribe();
        // The sender lives as long as `self`.
        ended.wait_for(Option::is_some).await.ok().and_then(|cause| cause.clone()).unwrap_or_default()
    }

    /// Kills the program.
    pub(super) fn stop(&self) {
        self.state.stop.notify_one();
    }
}

/// The place of one request among those that wait. The request leaves it also if its caller goes away.
struct Waiting<'a> {
    state: &'a State,
    id: u64,
}

impl<'a> Waiting<'a> {
    /// Returns `None` if the program has ended: nobody would answer.
    fn new(state: &'a State, id: u64, answer: oneshot::Sender<Answer>) -> Option<Self> {
        state.waiting().insert(id, answer);
        let waiting = Self { state, id };
        state.ended.borrow().is_none().then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.state.waiting().remove(&self.id);
    }
}

impl State {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complaint(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an answer to who waits for it. Returns what is wrong with the line.
    fn answer(&self, line: &[u8]) -> Result<(), &'static str> {
        // What the line contains is not shown: it may be a key.
        let answer: Answer =
            serde_json::from_slice(line).map_err(|_| "it wrote a line that is no JSON object with an `id`")?;
        self.answers.fetch_add(1, Ordering::Relaxed);
        match self.waiting().remove(&answer.id) {
            // The caller may have stopped waiting at this moment.
            Some(waiting) => drop(waiting.send(answer)),
            None => tracing::debug!(id = answer.id, "the key program answered a request that nobody waits for"),
        }
        Ok(())
    }
}

async fn write(mut stdin: ChildStdin, mut unread: mpsc::Receiver<Erased>) {
    while let Some(line) = unread.recv().await {
        // A program that closes its input ends, or is silent until the time limit.
        if stdin.write_all(&line).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

async fn read(mut child: Child, stdout: ChildStdout, state: Arc<State>) {
    let mut stdout = BufReader::new(stdout);
    let broken = loop {
        let line = tokio::select! {
            line = line(&mut stdout, MAX_ANSWER_LENGTH_BYTES) => line,
            () = state.stop.notified() => break Some("it did not answer"),
        };
        match line {
            Ok(Some(line)) => {
                if let Err(broken) = state.answer(&line) {
                    break Some(broken);
                }
            }
            Ok(None) => break None,
            Err(_) => break Some("it wrote a line that is too long"),
        }
    };
    let cause = match broken {
        Some(broken) => {
            // It may have ended by itself.
            let _ = child.start_kill();
            let _ = child.wait().await;
            format!("was stopped, because {broken}")
        }
        None => match tokio::time::timeout(std::time::Duration::from_secs(1), child.wait()).await {
            Ok(Ok(status)) => format!("ended ({status})"),
            _ => "closed its standard output".to_owned(),
        },
    };
    let complaint = state.complaint().take().map(|line| format!("; its last error output: {line}"));
    // First the cause, then the end of all waiting: who waits reads the cause, and who comes later does not wait.
    state.ended.send_replace(Some(cause + &complaint.unwrap_or_default()));
    state.waiting().clear();
}

/// Logs what the program writes to its standard error, until it closes it. A program whose standard error is not read would
/// stop at some time, or be killed.
async fn log(stderr: ChildStderr, state: Arc<State>) {
    let mut stderr = BufReader::new(stderr);
    while let Ok(Some(line)) = cut_line(&mut stderr, MAX_COMPLAINT_LENGTH_BYTES).await {
        let line: String = String::from_utf8_lossy(&line).chars().take(MAX_LOGGED_LENGTH).collect();
        tracing::warn!(line, "the key program wrote to its standard error");
        *state.complaint() = Some(line);
    }
}

/// Reads one line, and skips what is longer than the limit; `None` at the end.
async fn cut_line(from: &mut (impl AsyncBufRead + Unpin), limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut is_begun = false;
    loop {
        let found = from.fill_buf().await?;
        if found.is_empty() {
            return Ok(is_begun.then_some(line));
        }
        is_begun = true;
        let ends = found.iter().position(|byte| *byte == b'\n');
        let length = ends.unwrap_or(found.len());
        line.extend_from_slice(&found[..length.min(limit - line.len())]);
        from.consume(ends.map_or(length, |at| at + 1));
        if ends.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Reads one line of bounded length; `None` at the end.
async fn line(from: &mut (impl AsyncBufRead + Unpin), limit: usize) -> std::io::Result<Option<Erased>> {
    let mut line = Erased::from(Vec::with_capacity(1024));
    loop {
        let found = from.fill_buf().await?;
        if found.is_empty() {
            return Ok(None);
        }
        let ends = found.iter().position(|byte| *byte == b'\n');
        let length = ends.unwrap_or(found.len());
        if line.len() + length > limit {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        line.extend_from_slice(&found[..length]);
        from.consume(ends.map_or(length, |at| at + 1));
        if ends.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn must_keep_no_more_of_a_line_than_the_limit() {
        let text = [&b"short\n\n"[..], &[b'x'; 1 << 20], b"\n\xff no UTF-8\n", &[b'y'; 1 << 20]].concat();
        let mut from = BufReader::new(text.as_slice());
        let mut lines = Vec::new();
        while let Some(line) = cut_line(&mut from, 10).await.unwrap() {
            assert!(line.capacity() <= 64, "{}", line.capacity());
            lines.push(line);
        }
        assert_eq!(lines, [&b"short"[..], b"", &[b'x'; 10], b"\xff no UTF-8"[..10].into(), &[b'y'; 10]]);
    }
}
