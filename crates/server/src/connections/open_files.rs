//! The limit of open files of this process. Every connection is an open file.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Open files that are not connections of clients: the database, its connections, certificates, standard streams.
const OTHERS: usize = 128;

/// Raises the limit as far as the system allows, and returns how many of `wanted` connections fit. Many systems start a
/// process with a limit of 1,024 and allow it to raise the limit itself.
pub fn room_for(wanted: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let enough = u64::try_from(wanted.saturating_add(OTHERS)).unwrap_or(u64::MAX);
    if limit.current.is_some_and(|current| current < enough) {
        let raised = limit.maximum.map_or(enough, |maximum| maximum.min(enough));
        if setrlimit(Resource::Nofile, rustix::process::Rlimit { current: Some(raised), ..limit }).is_ok() {
            limit.current = Some(raised);
        }
    }
    let files = limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let room = files.saturating_sub(OTHERS).max(files / 2).max(1);
    if room < wanted {
        tracing::warn!(
            "limits.max_connections is {wanted}, but this process may only open {files} files: it accepts {room} \
             connections. Raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
    room.min(wanted)
}
