//! What carries one message to a receiver: the sender over HTTP, or a receiver of a simulation.

use super::sending::{Attempt, Message, Sender, Target};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tenancy_core::Timestamp;

/// Carries messages.
pub trait Transport: Send + Sync + 'static {
    /// Sends a message once.
    fn send<'a>(&'a self, target: Target<'a>, message: &'a Message, now: Timestamp) -> BoxFuture<'a, Attempt>;
}

impl Transport for Sender {
    fn send<'a>(&'a self, target: Target<'a>, message: &'a Message, now: Timestamp) -> BoxFuture<'a, Attempt> {
        async move { Sender::send(self, &target, message, now).await }.boxed()
    }
}
