//! Keys behind a program that the operator configures, such as one that calls a key management service.

mod message;
mod process;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use self::message::{Answer, Operation, Request};
use self::process::Process;
use crate::erased::Erased;
use crate::{KeyError, KeyName, KeyService};

/// Most requests that the program has at a time; others wait, within their time limit.
const MAX_IN_FLIGHT: usize = 256;
/// Pause before the second start in a row without an answer between; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A key program: started with the first request, and again after it ended.
pub struct Program {
    command: Vec<String>,
    time_limit: Duration,
    current: Mutex<Current>,
    places: Semaphore,
    /// Why the program is not running.
    trouble: std::sync::Mutex<Option<String>>,
    last_id: AtomicU64,
}

#[derive(Default)]
struct Current {
    process: Option<Arc<Process>>,
    /// Starts in a row without an answer.
    vain_starts: u32,
    started_at: Option<Instant>,
}

/// Text of a request that must be repeated in a new process with the same content.
struct Call<'a> {
    op: Operation,
    name: Option<&'a KeyName>,
    names: &'a [KeyName],
    plain: Option<&'a Erased>,
    wrapped: Option<&'a [u8]>,
    context: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
}

impl Program {
    /// Uses the program `command[0]` with the arguments `command[1..]`. A request that is not answered within `time_limit`
    /// fails.
    ///
    /// # Errors
    /// [`KeyError::Refused`] if the command is empty.
    pub fn new(command: Vec<String>, time_limit: Duration) -> Result<Self, KeyError> {
        if command.first().is_none_or(String::is_empty) {
            return Err(KeyError::Refused("The command of the key program is empty. Name a program.".to_owned()));
        }
        let (current, places) = (Mutex::default(), Semaphore::new(MAX_IN_FLIGHT));
        let trouble = std::sync::Mutex::default();
        Ok(Self { command, time_limit, current, places, trouble, last_id: AtomicU64::new(0) })
    }

    async fn call(&self, call: &Call<'_>) -> Result<Answer, KeyError> {
        let mut seen = None;
        let done = tokio::time::timeout(self.time_limit, self.work(call, &mut seen)).await;
        let answer = match done {
            Ok(answer) => answer?,
            Err(_) => return Err(self.late(seen.as_ref())),
        };
        answer.refusal(call.name).map_or(Ok(answer), Err)
    }

    /// Asks the program, and once more in a new process if it ends meanwhile: every operation can be repeated.
    async fn work(&self, call: &Call<'_>, seen: &mut Option<(Arc<Process>, u64)>) -> Result<Answer, KeyError> {
        let _place = self.places.acquire().await.map_err(|_| self.late(None))?;
        let mut cause = String::new();
        for _ in 0..2 {
            let process = self.process().await?;
            *seen = Some((Arc::clone(&process), process.answers()));
            let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(answer) = process.ask(id, call.line(id)?).await {
                self.trouble().take();
                return Ok(answer);
            }
            // A program that closes its input may not have ended.
            process.stop();
            cause = process.end().await;
        }
        Err(KeyError::Unavailable(format!("The key program `{}` {cause}.", self.command[0])))
    }

    /// Returns the running program. Starts it, after a pause if the last starts were in vain.
    async fn process(&self) -> Result<Arc<Process>, KeyError> {
        let mut current = self.current.lock().await;
        if let Some(process) = current.process.take() {
            let Some(cause) = process.ended() else {
                current.process = Some(Arc::clone(&process));
                return Ok(process);
            };
            current.vain_starts = if process.answers() == 0 { current.vain_starts + 1 } else { 0 };
            tracing::warn!(program = self.command[0], cause, "the key program is started again");
            *self.trouble() = Some(format!("it {cause}"));
        }
        if let (Some(started_at), 1..) = (current.started_at, current.vain_starts) {
            let pause = FIRST_PAUSE.saturating_mul(1 << (current.vain_starts - 1).min(16)).min(MAX_PAUSE);
            tokio::time::sleep_until(started_at + pause).await;
        }
        current.started_at = Some(Instant::now());
        let process = Process::start(&self.command).map(Arc::new).map_err(|error| {
            current.vain_starts += 1;
            *self.trouble() = Some(format!("it cannot be started: {error}"));
            KeyError::Unavailable(format!(
                "Cannot start the key program `{}`: {error}. Check its path and whether it is executable.",
                self.command[0]
            ))
        })?;
        current.process = Some(Arc::clone(&process));
        Ok(process)
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a request that was not answered in time. A program that has answered nothing since is stopped, so that
    /// the next request starts it again; one that is busy with others goes on.
    fn late(&self, seen: Option<&(Arc<Process>, u64)>) -> KeyError {
        let mut trouble = self.trouble().clone();
        if let Some((process, answers)) = seen {
            match process.ended() {
                Some(cause) => trouble = Some(format!("it {cause}")),
                None if process.answers() == *answers => process.stop(),
                None => {}
            }
        }
        let why = trouble.map(|trouble| format!(" The last trouble was that {trouble}.")).unwrap_or_default();
        KeyError::Unavailable(format!(
            "The key program `{}` did not answer within {} ms.{why}",
            self.command[0],
            self.time_limit.as_millis()
        ))
    }
}

impl<'a> Call<'a> {
    fn new(op: Operation) -> Self {
        Self { op, name: None, names: &[], plain: None, wrapped: None, context: None, message: None }
    }

    fn of(op: Operation, name: &'a KeyName) -> Self {
        Self { name: Some(name), ..Self::new(op) }
    }

    fn line(&self, id: u64) -> Result<Erased, KeyError> {
        let encode = |bytes: Option<&[u8]>| bytes.map(|bytes| STANDARD.encode(bytes));
        let (wrapped, context, message) = (encode(self.wrapped), encode(self.context), encode(self.message));
        let plain = self.plain.map(|plain| Erased::from(STANDARD.encode(plain.as_slice()).into_bytes()));
        let names: Vec<_> = self.names.iter().map(KeyName::as_str).collect();
        let request = Request {
            name: self.name.map(KeyName::as_str),
            names: &names,
            plain: plain.as_ref().and_then(|plain| std::str::from_utf8(plain).ok()),
            wrapped: wrapped.as_deref(),
            context: context.as_deref(),
            message: message.as_deref(),
            ..Request::new(id, self.op)
        };
        request.line()
    }
}

impl KeyService for Program {
    fn create(&self, names: Vec<KeyName>) -> BoxFuture<'_, Result<(), KeyError>> {
        let call = async move { self.call(&Call { names: &names, ..Call::new(Operation::Create) }).await.map(drop) };
        call.boxed()
    }

    fn wrap(&self, name: &KeyName, plain: Vec<u8>, context: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let (name, plain) = (name.clone(), Erased::from(plain));
        async move {
            let (plain, context) = (Some(&plain), Some(context.as_slice()));
            let call = Call { plain, context, ..Call::of(Operation::Wrap, &name) };
            self.call(&call).await?.bytes(Operation::Wrap)
        }
        .boxed()
    }

    fn unwrap(&self, name: &KeyName, wrapped: Vec<u8>, context: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let name = name.clone();
        async move {
            let (wrapped, context) = (Some(wrapped.as_slice()), Some(context.as_slice()));
            let call = Call { wrapped, context, ..Call::of(Operation::Unwrap, &name) };
            self.call(&call).await?.bytes(Operation::Unwrap)
        }
        .boxed()
    }

    fn destroy(&self, names: Vec<KeyName>) -> BoxFuture<'_, Result<(), KeyError>> {
        let call = async move { self.call(&Call { names: &names, ..Call::new(Operation::Destroy) }).await.map(drop) };
        call.boxed()
    }

    fn sign(&self, name: &KeyName, message: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let name = name.clone();
        async move {
            let call = Call { message: Some(&message), ..Call::of(Operation::Sign, &name) };
            self.call(&call).await?.bytes(Operation::Sign)
        }
        .boxed()
    }

    fn public_key(&self, name: &KeyName) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let name = name.clone();
        async move { self.call(&Call::of(Operation::PublicKey, &name)).await?.bytes(Operation::PublicKey) }.boxed()
    }

    fn newest_shared(&self) -> BoxFuture<'_, Result<Option<KeyName>, KeyError>> {
        async move { self.call(&Call::new(Operation::NewestShared)).await?.shared() }.boxed()
    }

    fn identity(&self) -> BoxFuture<'_, Result<String, KeyError>> {
        async move { self.call(&Call::new(Operation::Identity)).await?.identity() }.boxed()
    }
}
