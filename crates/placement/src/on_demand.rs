//! Places on a server that is reached when they are needed first: it can be away when the process starts.

use crate::{Connection, Fault, Found, Provisioner, Recorded, Wanted};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tenancy_core::Timestamp;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::{Access, Fence, Place};
use tokio::sync::OnceCell;

/// Prepares the server, and returns what makes places on it.
type Open = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Provisioner>, Fault>> + Send + Sync>;

/// Opens places when they are needed first, and again until that succeeds.
pub struct OnDemand {
    open: Open,
    opened: OnceCell<Arc<dyn Provisioner>>,
}

impl OnDemand {
    /// Opens places with this function.
    pub fn new<P, F>(open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        P: Provisioner,
        F: Future<Output = Result<P, Fault>> + Send + 'static,
    {
        let open = move || -> BoxFuture<'static, Result<Arc<dyn Provisioner>, Fault>> {
            let opening = open();
            Box::pin(async move { Ok(Arc::new(opening.await?) as _) })
        };
        Self { open: Box::new(open), opened: OnceCell::new() }
    }

    async fn places(&self) -> Result<&Arc<dyn Provisioner>, Fault> {
        self.opened.get_or_try_init(|| (self.open)()).await
    }
}

impl Provisioner for OnDemand {
    fn look<'a>(&'a self, env_id: &'a EnvironmentId) -> BoxFuture<'a, Result<Option<Found>, Fault>> {
        Box::pin(async move { self.places().await?.look(env_id).await })
    }

    fn choose<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Place, Fault>> {
        Box::pin(async move { self.places().await?.choose(wanted).await })
    }

    fn make<'a>(
        &'a self,
        wanted: &'a Wanted,
        place: &'a Place,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { self.places().await?.make(wanted, place, access, fence).await })
    }

    fn verify<'a>(&'a self, recorded: &'a Recorded) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move { self.places().await?.verify(recorded).await })
    }

    fn update<'a>(&'a self, wanted: &'a Wanted, fence: Fence) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { self.places().await?.update(wanted, fence).await })
    }

    fn set_access<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { self.places().await?.set_access(recorded, access, fence).await })
    }

    fn connect<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Connection, Fault>> {
        Box::pin(async move { self.places().await?.connect(recorded, access, until).await })
    }

    fn expire<'a>(&'a self, now: Timestamp) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move { self.places().await?.expire(now).await })
    }

    fn remove<'a>(&'a self, recorded: &'a Recorded, fence: Fence) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { self.places().await?.remove(recorded, fence).await })
    }
}
