//! Looks up the addresses of host names.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Maximum number of lookups at the same time. Each occupies a thread, also after the attempt that wanted it has ended.
const MAX_LOOKUPS: usize = 64;
/// Maximum time that a lookup waits for a thread.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Addresses of a host name, or why there are none.
pub type Addresses = Result<Vec<IpAddr>, String>;

/// Looks up the addresses of a host name. The sender checks every address that it returns.
pub trait Lookup: Send + Sync + 'static {
    /// Returns all addresses of a name.
    fn lookup(&self, name: &str) -> BoxFuture<'_, Addresses>;
}

/// The resolver of the operating system, with its hosts file and search domains. A name is looked up once at a time, so
/// a name whose servers hang occupies one thread, however many attempts wait for it.
#[derive(Debug)]
pub struct System {
    running: Arc<Mutex<HashMap<String, Running>>>,
    slots: Arc<Semaphore>,
}

type Running = Shared<BoxFuture<'static, Addresses>>;

impl Default for System {
    fn default() -> Self {
        Self { running: Arc::default(), slots: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

impl Lookup for System {
    fn lookup(&self, name: &str) -> BoxFuture<'_, Addresses> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let found = running.entry(name.to_owned()).or_insert_with(|| self.start(name.to_owned()));
        found.clone().boxed()
    }
}

impl System {
    /// Starts a lookup that removes itself from the running ones when it has ended.
    fn start(&self, name: String) -> Running {
        let (running, slots) = (Arc::clone(&self.running), Arc::clone(&self.slots));
        let task = tokio::spawn(async move {
            let slot = tokio::time::timeout(MAX_WAIT, slots.acquire_owned()).await;
            let addresses = match slot {
                Ok(Ok(slot)) => {
                    let wanted = name.clone();
                    let looked_up = tokio::task::spawn_blocking(move || {
                        let _slot = slot;
                        by_system(&wanted)
                    });
                    looked_up.await.unwrap_or_else(|_| Err("the lookup was interrupted".to_owned()))
                }
                _ => Err("too many lookups of other names are not answered".to_owned()),
            };
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            addresses
        });
        async move { task.await.unwrap_or_else(|_| Err("the lookup was interrupted".to_owned())) }.boxed().shared()
    }
}

fn by_system(name: &str) -> Addresses {
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
        Err(error) => Err(error.to_string()),
    }
}
