//! Where the places of this process are.

use super::PlacementSettings;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tenancy_core::Error;
use tenancy_core::ids::PlacementName;
use tenancy_core::placement::{EnvironmentPlacement, PlacementKind};
use tenancy_placement::postgres::{OwnDatabases, OwnSchemas, Server};
use tenancy_placement::sqlite::SqliteFiles;
use tenancy_placement::{Fault, OnDemand, Provisioner};
use tenancy_store::database::postgres_server;

/// Folder of the data directory with the SQLite files of environments that are on no placement.
const ENVIRONMENTS: &str = "environments";

/// A placement that the configuration of this process describes.
#[derive(Clone)]
pub struct Configured {
    /// Kind of its places.
    pub kind: PlacementKind,
    /// Makes them.
    pub provisioner: Arc<dyn Provisioner>,
}

/// Makes the places of each placement that this process can reach, and those that are on no placement.
#[derive(Clone)]
pub struct Places {
    own: Arc<dyn Provisioner>,
    placements: BTreeMap<PlacementName, Configured>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("placements", &self.placements.keys()).finish_non_exhaustive()
    }
}

/// Reads the file with the URL of a server.
fn server(settings: &PlacementSettings) -> Result<Server, Error> {
    let file = settings.url_file.display();
    let unread = |error: std::io::Error| Error::Internal(format!("the url_file {file} cannot be read: {error}"));
    let url = std::fs::read_to_string(&settings.url_file).map_err(unread)?;
    let wrong = |error: Error| Error::Internal(format!("the url_file {file}: {error}"));
    let (config, tls) = postgres_server(url.trim()).map_err(wrong)?;
    Ok(Server::with(config, tls))
}

impl Places {
    /// Places that are on no placement.
    pub fn own(provisioner: impl Provisioner) -> Self {
        Self { own: Arc::new(provisioner), placements: BTreeMap::new() }
    }

    /// Opens the folder of the data directory, and the placements of the configuration.
    ///
    /// # Errors
    /// [`Error::Internal`] if a folder cannot be used.
    pub fn open(data_dir: &Path, placements: &BTreeMap<String, PlacementSettings>) -> Result<Self, Error> {
        let broken = |fault: Fault| Error::Internal(fault.to_string());
        let mut all = Self::own(SqliteFiles::open(&data_dir.join(ENVIRONMENTS)).map_err(broken)?);
        for (name, settings) in placements {
            let name = PlacementName::parse(name).map_err(|bad| Error::Internal(bad.to_string()))?;
            let kind = settings.kind();
            let provisioner: Arc<dyn Provisioner> = match kind {
                PlacementKind::Sqlite => Arc::new(SqliteFiles::open(&settings.folder).map_err(broken)?),
                PlacementKind::PostgresDatabase => {
                    let server = server(settings)?;
                    Arc::new(OnDemand::new(move || OwnDatabases::open(server.clone())))
                }
                PlacementKind::PostgresSchema => {
                    let (server, database) = (server(settings)?, settings.database.clone());
                    Arc::new(OnDemand::new(move || OwnSchemas::open(server.clone(), database.clone())))
                }
            };
            all.placements.insert(name, Configured { kind, provisioner });
        }
        Ok(all)
    }

    /// Adds a placement.
    #[must_use]
    pub fn with(mut self, name: PlacementName, kind: PlacementKind, provisioner: impl Provisioner) -> Self {
        self.placements.insert(name, Configured { kind, provisioner: Arc::new(provisioner) });
        self
    }

    /// Returns what has made a place.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] if the configuration of this process does not describe its placement with this kind.
    pub fn of(&self, place: &EnvironmentPlacement) -> Result<&Arc<dyn Provisioner>, Fault> {
        let Some(name) = &place.placement else { return Ok(&self.own) };
        let kind = place.kind;
        let missing = || {
            let what = format!("a process with placement {name} in its configuration, with places of kind {kind}");
            Fault::Unavailable(what)
        };
        self.configured(name, kind).ok_or_else(missing)
    }

    /// Returns what makes places that are on no placement.
    pub fn on_none(&self) -> &Arc<dyn Provisioner> {
        &self.own
    }

    /// Returns what makes the places of a placement, if the configuration of this process describes it with this kind.
    pub fn configured(&self, name: &PlacementName, kind: PlacementKind) -> Option<&Arc<dyn Provisioner>> {
        self.placements.get(name).filter(|configured| configured.kind == kind).map(|configured| &configured.provisioner)
    }

    /// Returns the placements that this process can reach.
    pub fn named(&self) -> impl Iterator<Item = (&PlacementName, &Configured)> {
        self.placements.iter()
    }
}
