//! `edit`: opens the manifest of a tenant in an editor and writes the result.

use crate::allow::Allow;
use crate::change;
use crate::client::Client;
use crate::command::diff::between;
use crate::command::export;
use crate::command::lifecycle::finish;
use crate::documents::Documents;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::program::quoted;
use crate::terminal::{error_colours, remark, say};
use crate::waiting::Patience;
use crate::wire::{Received, Tenant};
use crate::{naming, private_file, yaml};
use clap::Args;
use reqwest::Method;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tenancy_api::written::Written;

const EXAMPLES: &str = "\
Examples:
  tenancy edit acme-eu
  EDITOR='code --wait' tenancy edit acme-eu
  tenancy edit acme-eu --allow move-region

The editor is $VISUAL, else $EDITOR, else vi. What is removed from the manifest is removed from the tenant.
If another request changes the tenant meanwhile, nothing is written (exit code 4). If the manifest is
refused, the edited file is kept.";

/// Arguments of `edit`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Edit {
    /// Id of the tenant, or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the editor, the request or a job fails.
pub async fn run(client: &Client, given: Edit) -> Result<Exit, Failure> {
    // A field that the key does not read in full would be written as it is shown.
    export::must_see_everything(client).await?;
    let before: Received<Tenant> = client.get(&["tenants", naming::tenant(&given.name)?]).await?;
    let row = &before.value.row;
    let manifest = export::tenant(&before.raw);
    let file = Edited::create(&row.tenant_id, &yaml::yaml(&manifest)?)?;
    let after = file.edit()?;
    let changes = between(&manifest, &after);
    if changes.is_empty() {
        file.remove();
        return say("unchanged").map(|()| Exit::Done);
    }
    change::lines(&changes, "", error_colours()).iter().for_each(|line| remark(line));
    let request = client.v1(Method::PUT, &["tenants", &row.tenant_id]).on_version(row.version);
    let written: Result<Received<Written<Tenant>>, Failure> =
        request.allow(&given.allow.allow).json(&without_kind(after)).receive().await;
    let written = written.map_err(|failure| file.keep(failure))?;
    file.remove();
    let Written { view, warnings } = &written.value;
    change::warnings(warnings, "", error_colours()).iter().for_each(|line| remark(line));
    finish(client, (view, &written.raw), None, given.patience, given.output.output).await
}

/// The path already says what is written.
fn without_kind(mut manifest: Value) -> Value {
    if let Some(fields) = manifest.as_object_mut() {
        fields.remove("kind");
    }
    manifest
}

/// The file that the editor opens.
struct Edited {
    path: PathBuf,
}

impl Edited {
    fn create(tenant: &str, text: &str) -> Result<Self, Failure> {
        // A directory of its own, which others cannot read: names in the directory for temporary files can be guessed.
        let directory = std::env::temp_dir().join(format!("tenancy-edit-{}", std::process::id()));
        std::fs::remove_dir_all(&directory).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&directory)?;
        let path = directory.join(format!("{tenant}.yaml"));
        private_file::write(&path, text)?;
        Ok(Self { path })
    }

    /// Opens the editor, and reads the document when the editor has ended.
    fn edit(&self) -> Result<Value, Failure> {
        let set = |name: &str| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
        let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
        // By the shell, since the variable can contain arguments.
        let ended = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(&self.path).status();
        if !ended.is_ok_and(|status| status.success()) {
            self.remove();
            let message = format!("the editor ({editor}) failed: nothing was changed");
            return Err(Failure::refused(message).and("set EDITOR to the command of an editor"));
        }
        let documents = Documents::read(std::slice::from_ref(&self.path)).map_err(|failure| self.keep(failure))?;
        match documents.body().as_slice() {
            [one] => Ok((*one).clone()),
            _ => Err(self.keep(Failure::refused("the edited file must contain one manifest"))),
        }
    }

    fn remove(&self) {
        // The file is in a directory for temporary files; nothing depends on its removal.
        let _ = std::fs::remove_dir_all(self.path.parent().unwrap_or(Path::new("")));
    }

    /// Adds to the failure where the edited file is.
    fn keep(&self, mut failure: Failure) -> Failure {
        let path = self.path.to_string_lossy();
        failure.details.push(format!("the edited file is kept: {}", quoted(&path)));
        failure
    }
}
