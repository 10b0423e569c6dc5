//! Account that database servers run as: PostgreSQL and PgBouncer refuse to run as root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Unprivileged account from `/etc/passwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Returns `None` if the tests run as an ordinary user, whose account is used.
    pub(crate) fn for_servers() -> Option<Self> {
        static ACCOUNT: OnceLock<Option<Account>> = OnceLock::new();
        *ACCOUNT.get_or_init(|| {
            if !rustix::process::geteuid().is_root() {
                return None;
            }
            let passwd = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
            let found = Self::find(&passwd, "postgres").or_else(|| Self::find(&passwd, "nobody"));
            Some(found.expect("PostgreSQL cannot run as root: create an account `postgres` or `nobody`"))
        })
    }

    fn find(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        })
    }
}

/// Creates a command that runs as the servers' account in `directory`, which that account must be able to enter; the
/// caller's working directory may be closed to it. The caller's `PG…` variables are removed.
pub(crate) fn server_command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env("LC_ALL", "C");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    if let Some(account) = Account::for_servers() {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Makes the servers' account the owner of `path`.
pub(crate) fn give(path: &Path) {
    if let Some(account) = Account::for_servers() {
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_must_be_found_by_its_whole_name() {
        let passwd = "postgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:admin,,,:/var:/bin/bash\n";
        let found = Account::find(passwd, "postgres");
        assert_eq!(found, Some(Account { uid: 101, gid: 104 }));
        assert_eq!(Account::find(passwd, "nobody"), None);
    }
}
