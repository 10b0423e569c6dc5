//! Places on a server, of either kind.

use super::databases::Databases;
use super::ledger::{self, Entry, Held};
use super::refusals::{check_allowed, check_known, destroyed, foreign, gone};
use super::schemas::Schemas;
use super::server::Server;
use super::settings::settings;
use super::site::{Site, Standing};
use super::{logins, roles};
use crate::random::random_hex;
use crate::{Connection, Fault, Found, Provisioner, Recorded, Wanted};
use futures_util::future::BoxFuture;
use tenancy_core::Timestamp;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::{Access, Fence, Place};

/// Makes places on one server.
#[derive(Debug, Clone)]
pub struct Places<S> {
    site: S,
}

impl Places<Databases> {
    /// Uses a server, and creates the ledger on it if it has none.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn open(server: Server) -> Result<Self, Fault> {
        ledger::create(&server).await?;
        Ok(Self { site: Databases { server } })
    }
}

impl Places<Schemas> {
    /// Uses a database of a server, and creates it and the ledger if they do not exist.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn open(server: Server, database: impl Into<String>) -> Result<Self, Fault> {
        ledger::create(&server).await?;
        Ok(Self { site: Schemas::open(server, database.into()).await? })
    }
}

impl<S: Site> Places<S> {
    fn location(&self, env_id: &EnvironmentId) -> String {
        let address = self.site.address(env_id);
        match address.schema {
            Some(schema) => format!("{}.{schema}", address.database),
            None => address.database,
        }
    }

    fn place(&self, env_id: &EnvironmentId, fingerprint: String) -> Place {
        Place { kind: S::KIND, location: self.location(env_id), fingerprint }
    }

    fn foreign(&self, env_id: &EnvironmentId) -> Fault {
        foreign(env_id, &self.location(env_id))
    }

    /// Checks that a place is where this server would have it: otherwise the configuration of its placement was changed, and
    /// what is found here would be taken for all there is.
    fn check_location(&self, recorded: &Recorded) -> Result<(), Fault> {
        let (env_id, here) = (&recorded.env_id, self.location(&recorded.env_id));
        if recorded.place.location == here {
            return Ok(());
        }
        let there = &recorded.place.location;
        Err(Fault::Unavailable(format!(
            "the configuration of the placement to be corrected: environment {env_id} is {there}, not {here}"
        )))
    }

    async fn look(&self, env_id: &EnvironmentId) -> Result<Option<Found>, Fault> {
        let admin = self.site.server().connect_to_ledger().await?;
        let entry = ledger::entry(&admin, env_id).await?.unwrap_or_default();
        if entry.is_removed {
            return Ok(None);
        }
        let standing = self.site.find(&admin, env_id).await?;
        let Some(fingerprint) = entry.fingerprint.or_else(|| standing.as_ref()?.fingerprint.clone()) else {
            return Ok(None);
        };
        let bytes = match &standing {
            Some(_) => self.site.bytes(&admin, env_id).await?,
            None => 0,
        };
        Ok(Some(Found { place: self.place(env_id, fingerprint), access: entry.access, bytes }))
    }

    async fn make(&self, wanted: &Wanted, place: &Place, access: Access, fence: Fence) -> Result<(), Fault> {
        let env_id = &wanted.env_id;
        let mut held = Held::begin(self.site.server(), env_id, fence).await?;
        if held.entry.is_removed {
            return Err(destroyed(env_id));
        }
        if place.location != self.location(env_id) {
            return Err(Fault::Refused(format!(
                "{} is not where this server has environment {env_id}",
                place.location
            )));
        }
        match self.site.find(&held.session, env_id).await? {
            None if held.entry.fingerprint.is_some() => return Err(gone(env_id)),
            // A crash left it before its comment, which tells whose it is.
            None | Some(Standing { fingerprint: None }) => {
                self.site.create(&held.session, env_id, &place.fingerprint).await?;
            }
            Some(Standing { fingerprint: Some(found) }) if found == place.fingerprint => {}
            Some(_) => return Err(self.foreign(env_id)),
        }
        held.entry.fingerprint = Some(place.fingerprint.clone());
        held.entry.settings = Some(settings(wanted));
        self.give_access(&mut held, access).await
    }

    async fn verify(&self, recorded: &Recorded) -> Result<Found, Fault> {
        self.check_location(recorded)?;
        let env_id = &recorded.env_id;
        let admin = self.site.server().connect_to_ledger().await?;
        let entry = ledger::entry(&admin, env_id).await?.unwrap_or_default();
        check_known(recorded, &entry)?;
        let known = entry.fingerprint.filter(|_| !entry.is_removed).ok_or_else(|| gone(env_id))?;
        self.check_standing(&admin, env_id, &known).await?;
        // One that is blocked may refuse the administrator, too.
        if entry.access != Access::Blocked {
            self.site.check(env_id).await?;
        }
        let bytes = self.site.bytes(&admin, env_id).await?;
        let found = Found { place: self.place(env_id, known), access: entry.access, bytes };
        match found.place == recorded.place {
            true => Ok(found),
            false => Err(Fault::Refused(format!("the place of environment {env_id} is not the recorded one"))),
        }
    }

    async fn update(&self, wanted: &Wanted, fence: Fence) -> Result<(), Fault> {
        let env_id = &wanted.env_id;
        let mut held = Held::begin(self.site.server(), env_id, fence).await?;
        self.check_held(&held).await?;
        let told = settings(wanted);
        if held.entry.access != Access::Blocked {
            self.site.set_settings(env_id, &told).await?;
        }
        held.entry.settings = Some(told);
        held.save().await
    }

    async fn set_access(&self, recorded: &Recorded, access: Access, fence: Fence) -> Result<(), Fault> {
        self.check_location(recorded)?;
        let env_id = &recorded.env_id;
        let mut held = Held::begin(self.site.server(), env_id, fence).await?;
        match self.site.find(&held.session, env_id).await? {
            Some(_) => self.give_access(&mut held, access).await,
            None if access != Access::Blocked => Err(gone(env_id)),
            None => {
                check_known(recorded, &held.entry)?;
                held.entry.access = Access::Blocked;
                held.save().await?;
                logins::end_all(self.site.server(), &held.session, env_id).await
            }
        }
    }

    /// Opens or closes what exists. What a crash leaves halfway gives out no logins: a closing is recorded before it begins, and
    /// an opening when it is done.
    async fn give_access(&self, held: &mut Held, access: Access) -> Result<(), Fault> {
        if access == Access::Blocked {
            return self.close(held).await;
        }
        self.check_held(held).await?;
        if access == Access::ReadOnly {
            held.entry.access = access;
            held.save().await?;
            logins::end_all(self.site.server(), &held.session, held.env_id()).await?;
        }
        self.site.open(&held.session, held.env_id()).await?;
        if let Some(told) = &held.entry.settings {
            self.site.set_settings(held.env_id(), told).await?;
        }
        held.entry.access = access;
        held.save().await
    }

    async fn close(&self, held: &mut Held) -> Result<(), Fault> {
        held.entry.access = Access::Blocked;
        held.save().await?;
        self.site.close(&held.session, held.env_id()).await
    }

    async fn connect(&self, recorded: &Recorded, access: Access, until: Timestamp) -> Result<Connection, Fault> {
        self.check_location(recorded)?;
        let env_id = &recorded.env_id;
        let held = Held::current(self.site.server(), env_id).await?;
        check_known(recorded, held.as_ref().map_or(&Entry::default(), |held| &held.entry))?;
        let held = held.ok_or_else(|| gone(env_id))?;
        check_allowed(env_id, &held.entry, access)?;
        self.check_held(&held).await?;
        if held.entry.fingerprint.as_ref() != Some(&recorded.place.fingerprint) {
            return Err(self.foreign(env_id));
        }
        if access == Access::ReadOnly {
            self.site.grant_reading(env_id).await?;
        }
        logins::give(&self.site, &held.session, env_id, access, until).await.map(Connection::Postgres)
    }

    async fn remove(&self, recorded: &Recorded, fence: Fence) -> Result<(), Fault> {
        self.check_location(recorded)?;
        let (env_id, server) = (&recorded.env_id, self.site.server());
        let mut held = Held::begin(server, env_id, fence).await?;
        match self.site.find(&held.session, env_id).await? {
            Some(Standing { fingerprint: Some(found) }) if found != recorded.place.fingerprint => {
                return Err(self.foreign(env_id));
            }
            Some(_) => {
                self.close(&mut held).await?;
                self.site.destroy(&held.session, env_id).await?;
            }
            None => check_known(recorded, &held.entry)?,
        }
        logins::drop_all(server, &held.session, env_id).await?;
        roles::drop_both(server, &held.session, env_id).await?;
        held.entry = Entry { is_removed: true, ..Entry::default() };
        held.save().await
    }

    /// Checks that what the ledger knows exists, and is what it was.
    async fn check_held(&self, held: &Held) -> Result<(), Fault> {
        let known = held.entry.fingerprint.as_ref().ok_or_else(|| gone(held.env_id()))?;
        self.check_standing(&held.session, held.env_id(), known).await
    }

    async fn check_standing(
        &self,
        admin: &tokio_postgres::Client,
        env_id: &EnvironmentId,
        known: &str,
    ) -> Result<(), Fault> {
        let standing = self.site.find(admin, env_id).await?.ok_or_else(|| gone(env_id))?;
        match standing.fingerprint.as_deref() == Some(known) {
            true => Ok(()),
            false => Err(self.foreign(env_id)),
        }
    }
}

impl<S: Site> Provisioner for Places<S> {
    fn look<'a>(&'a self, env_id: &'a EnvironmentId) -> BoxFuture<'a, Result<Option<Found>, Fault>> {
        Box::pin(self.look(env_id))
    }

    fn choose<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Place, Fault>> {
        let chosen = random_hex::<16>().map(|fingerprint| self.place(&wanted.env_id, fingerprint));
        Box::pin(std::future::ready(chosen))
    }

    fn make<'a>(
        &'a self,
        wanted: &'a Wanted,
        place: &'a Place,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.make(wanted, place, access, fence))
    }

    fn verify<'a>(&'a self, recorded: &'a Recorded) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(self.verify(recorded))
    }

    fn update<'a>(&'a self, wanted: &'a Wanted, fence: Fence) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.update(wanted, fence))
    }

    fn set_access<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.set_access(recorded, access, fence))
    }

    fn connect<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Connection, Fault>> {
        Box::pin(self.connect(recorded, access, until))
    }

    fn expire<'a>(&'a self, now: Timestamp) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(logins::expire(&self.site, now))
    }

    fn remove<'a>(&'a self, recorded: &'a Recorded, fence: Fence) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.remove(recorded, fence))
    }
}
