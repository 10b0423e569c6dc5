//! Environments as SQLite files: one folder for each environment, with its file and what SQLite keeps beside it.
//!
//! ```text
//! <folder>/ledger.sqlite                        who has which folder, with the fence of the last change
//! <folder>/<env_id>/data.sqlite                 an environment in service
//! <folder>/closed/<env_id>/data.sqlite          a blocked one: its path does not exist for programs that open it
//! <folder>/removed/<env_id>/                    one that is being destroyed
//! ```
//!
//! A change is one transaction of the ledger, which takes the ledger's lock first: two workers never work on the same
//! environment, and a late one is refused. Moving a folder takes the file and its write-ahead log along in one step. A program
//! that has the file open keeps it open: only the operating system could end that.

mod environment_file;
mod ledger;

use crate::random::random_hex;
use crate::{Connection, Fault, Found, Provisioner, Recorded, Wanted};
use environment_file::EnvironmentFile;
use futures_util::future::BoxFuture;
use ledger::{Entry, Ledger};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenancy_core::Timestamp;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::{Access, Fence, Place, PlacementKind};

/// Folder of blocked environments.
const CLOSED: &str = "closed";
/// Folder of environments that are being destroyed.
const REMOVED: &str = "removed";

/// The SQLite files of environments in one folder.
#[derive(Debug, Clone)]
pub struct SqliteFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    ledger: Ledger,
}

impl SqliteFiles {
    /// Opens a folder, and creates it with access for its owner only if it does not exist.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub fn open(folder: &Path) -> Result<Self, Fault> {
        for one in [folder.to_owned(), folder.join(CLOSED), folder.join(REMOVED)] {
            environment_file::create_folder(&one)?;
        }
        // Programs get paths in it, and do not run in the directory of this process.
        let folder = folder
            .canonicalize()
            .map_err(|error| Fault::Unavailable(format!("{} cannot be used: {error}", folder.display())))?;
        environment_file::keep_private(&folder)?;
        let ledger = Ledger::open(&folder.join("ledger.sqlite"))?;
        // The names of the folders are durable before anything is in them.
        [Some(folder.as_path()), folder.parent()].into_iter().flatten().try_for_each(environment_file::sync_folder)?;
        Ok(Self { shared: Arc::new(Shared { folder, ledger }) })
    }

    /// Returns the path of an environment's file while it is in service.
    pub fn path(&self, env_id: &EnvironmentId) -> PathBuf {
        EnvironmentFile::in_folder(&self.shared.open_folder(env_id)).path
    }

    /// Does work that blocks on a thread of its own.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Fault>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&shared)).await;
            done.unwrap_or_else(|error| Err(Fault::Unavailable(format!("the work on a SQLite file ended: {error}"))))
        })
    }
}

impl Provisioner for SqliteFiles {
    fn look<'a>(&'a self, env_id: &'a EnvironmentId) -> BoxFuture<'a, Result<Option<Found>, Fault>> {
        let env_id = env_id.clone();
        self.run(move |shared| shared.look(&env_id))
    }

    fn choose<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Place, Fault>> {
        let chosen = random_hex::<16>().map(|fingerprint| place(&wanted.env_id, fingerprint));
        Box::pin(std::future::ready(chosen))
    }

    fn make<'a>(
        &'a self,
        wanted: &'a Wanted,
        place: &'a Place,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        let (wanted, place) = (wanted.clone(), place.clone());
        self.run(move |shared| shared.make(&wanted, &place, access, fence))
    }

    fn verify<'a>(&'a self, recorded: &'a Recorded) -> BoxFuture<'a, Result<Found, Fault>> {
        let recorded = recorded.clone();
        self.run(move |shared| shared.verify(&recorded))
    }

    fn update<'a>(&'a self, wanted: &'a Wanted, fence: Fence) -> BoxFuture<'a, Result<(), Fault>> {
        let wanted = wanted.clone();
        self.run(move |shared| {
            shared.change(&wanted.env_id, fence, |shared, entry| {
                shared.file_of(&wanted.env_id, entry)?.set_settings(&wanted)
            })
        })
    }

    fn set_access<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        let recorded = recorded.clone();
        self.run(move |shared| {
            shared.change(&recorded.env_id, fence, |shared, entry| {
                shared.knows(&recorded, entry)?;
                shared.set_access(&recorded.env_id, entry, access)
            })
        })
    }

    /// Programs of this machine open the file itself, so the access and the end are theirs to keep.
    fn connect<'a>(
        &'a self,
        recorded: &'a Recorded,
        _access: Access,
        _until: Timestamp,
    ) -> BoxFuture<'a, Result<Connection, Fault>> {
        let file = EnvironmentFile::in_folder(&self.shared.folder.join(&recorded.place.location));
        let connection = Connection::Sqlite { file: file.path.to_string_lossy().into_owned() };
        Box::pin(std::future::ready(Ok(connection)))
    }

    fn expire<'a>(&'a self, _now: Timestamp) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn remove<'a>(&'a self, recorded: &'a Recorded, fence: Fence) -> BoxFuture<'a, Result<(), Fault>> {
        let recorded = recorded.clone();
        self.run(move |shared| {
            shared.change(&recorded.env_id, fence, |shared, entry| {
                shared.knows(&recorded, entry)?;
                shared.destroy(&recorded)?;
                *entry = Entry { is_removed: true, ..Entry::default() };
                Ok(())
            })
        })
    }
}

impl Shared {
    fn open_folder(&self, env_id: &EnvironmentId) -> PathBuf {
        self.folder.join(env_id.as_str())
    }

    fn closed_folder(&self, env_id: &EnvironmentId) -> PathBuf {
        self.folder.join(CLOSED).join(env_id.as_str())
    }

    /// Changes an environment and its entry under the ledger's lock.
    fn change<T>(
        &self,
        env_id: &EnvironmentId,
        fence: Fence,
        work: impl FnOnce(&Self, &mut Entry) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.ledger.change(env_id, fence, |entry| work(self, entry))
    }

    /// Returns where the environment's file is, wherever a crash has left it.
    fn folder_of(&self, env_id: &EnvironmentId) -> Result<Option<PathBuf>, Fault> {
        for folder in [self.open_folder(env_id), self.closed_folder(env_id)] {
            if environment_file::exists(&folder)? {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }

    fn file_of(&self, env_id: &EnvironmentId, entry: &Entry) -> Result<EnvironmentFile, Fault> {
        let gone = || Fault::Refused(format!("the file of environment {env_id} is gone: restore it from a backup"));
        let file = EnvironmentFile::in_folder(&self.folder_of(env_id)?.ok_or_else(gone)?);
        let fingerprint = file.fingerprint(env_id)?;
        match entry.fingerprint.as_ref().is_none_or(|known| *known == fingerprint) {
            true => Ok(file),
            false => Err(Fault::Refused(format!(
                "{} is not the file that was made for environment {env_id}: put that file back",
                environment_file::shown(&file.path)
            ))),
        }
    }

    /// Fails if a place was made, and not in this folder. Without this, a folder that is not mounted would close and destroy
    /// everything at once.
    fn knows(&self, recorded: &Recorded, entry: &Entry) -> Result<(), Fault> {
        let env_id = &recorded.env_id;
        let is_known = entry.fingerprint.is_some() || entry.is_removed || self.folder_of(env_id)?.is_some();
        if is_known || !recorded.is_made {
            return Ok(());
        }
        tracing::warn!(folder = %self.folder.display(), %env_id, "a place was made that is not in this folder");
        Err(Fault::Unavailable(format!(
            "the folder of environment {env_id}: the data directory of this server does not have it, check data_dir and \
             its mounts"
        )))
    }

    fn look(&self, env_id: &EnvironmentId) -> Result<Option<Found>, Fault> {
        let entry = self.ledger.entry(env_id)?.unwrap_or_default();
        if entry.is_removed {
            return Ok(None);
        }
        let file = self.folder_of(env_id)?.map(|folder| EnvironmentFile::in_folder(&folder));
        let fingerprint = match (&entry.fingerprint, &file) {
            (Some(fingerprint), _) => fingerprint.clone(),
            // A crash left it before the ledger knew it.
            (None, Some(file)) => file.fingerprint(env_id)?,
            (None, None) => return Ok(None),
        };
        let bytes = file.map_or(0, |file| file.bytes());
        Ok(Some(Found { place: place(env_id, fingerprint), access: entry.access, bytes }))
    }

    fn make(&self, wanted: &Wanted, place: &Place, access: Access, fence: Fence) -> Result<(), Fault> {
        let env_id = &wanted.env_id;
        self.change(env_id, fence, |shared, entry| {
            if entry.is_removed {
                return Err(Fault::Refused(format!("the place of environment {env_id} was destroyed")));
            }
            if shared.folder_of(env_id)?.is_none() && entry.fingerprint.is_none() {
                EnvironmentFile::create(&shared.open_folder(env_id), wanted, &place.fingerprint)?;
            }
            entry.fingerprint = Some(place.fingerprint.clone());
            shared.file_of(env_id, entry)?.set_settings(wanted)?;
            shared.set_access(env_id, entry, access)
        })
    }

    fn verify(&self, recorded: &Recorded) -> Result<Found, Fault> {
        let env_id = &recorded.env_id;
        let entry = self.ledger.entry(env_id)?.unwrap_or_default();
        self.knows(recorded, &entry)?;
        self.file_of(env_id, &entry)?.check()?;
        match self.look(env_id)? {
            Some(found) if found.place == recorded.place => Ok(found),
            _ => Err(Fault::Refused(format!("the place of environment {env_id} is not the recorded one"))),
        }
    }

    /// Closing only moves the folder: whatever a program has done to the file, it is closed.
    fn set_access(&self, env_id: &EnvironmentId, entry: &mut Entry, access: Access) -> Result<(), Fault> {
        let (open, closed) = (self.open_folder(env_id), self.closed_folder(env_id));
        if access == Access::Blocked {
            if environment_file::exists(&open)? {
                environment_file::move_folder(&open, &closed)?;
            }
        } else {
            self.file_of(env_id, entry)?;
            if environment_file::exists(&closed)? {
                environment_file::move_folder(&closed, &open)?;
            }
            EnvironmentFile::in_folder(&open).set_writable(access == Access::Full)?;
        }
        entry.access = access;
        Ok(())
    }

    fn destroy(&self, recorded: &Recorded) -> Result<(), Fault> {
        let env_id = &recorded.env_id;
        let doomed = self.folder.join(REMOVED).join(env_id.as_str());
        while let Some(folder) = self.folder_of(env_id)? {
            // What cannot be read is destroyed, too.
            let found = EnvironmentFile::in_folder(&folder).fingerprint(env_id);
            if found.is_ok_and(|found| found != recorded.place.fingerprint) {
                return Err(Fault::Refused(format!(
                    "{} is not the file that was made for environment {env_id}: move it away, then try again",
                    environment_file::shown(&folder)
                )));
            }
            environment_file::remove_folder(&doomed)?;
            environment_file::move_folder(&folder, &doomed)?;
        }
        environment_file::remove_folder(&environment_file::unfinished(&self.open_folder(env_id)))?;
        environment_file::remove_folder(&doomed)?;
        environment_file::sync_folder(&self.folder)?;
        environment_file::sync_folder(&self.folder.join(REMOVED))
    }
}

fn place(env_id: &EnvironmentId, fingerprint: String) -> Place {
    Place { kind: PlacementKind::Sqlite, location: env_id.as_str().to_owned(), fingerprint }
}
