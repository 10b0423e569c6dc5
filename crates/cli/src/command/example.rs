//! `example`: prints an example manifest.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::write_data;

/// The example of the repository, embedded at compile time.
pub const ACME: &str = include_str!("../../../../examples/acme.yaml");

/// Runs the command.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn run() -> Result<Exit, Failure> {
    write_data(ACME)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::ACME;
    use serde_json::Value;
    use tenancy_core::declared::Declared;
    use tenancy_core::manifest::Manifest;
    use tenancy_core::tenant::Profile;

    #[test]
    fn must_be_accepted_without_a_warning() {
        let documents: Vec<Value> = serde_saphyr::from_multiple(ACME).expect("YAML");
        let kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().expect("a kind")).collect();
        assert_eq!(kinds, ["Organization", "Tenant", "Tenant"]);
        let mut tenants = Vec::new();
        for mut document in documents.into_iter().skip(1) {
            document.as_object_mut().expect("an object").remove("kind");
            let (manifest, warnings) = Manifest::parse(&Declared::default(), &document).expect("good");
            assert_eq!(warnings, []);
            tenants.push(manifest);
        }
        assert_eq!(tenants.iter().map(|tenant| tenant.environments.len()).sum::<usize>(), 3);
        assert_eq!(
            tenants.iter().map(|tenant| tenant.profile).collect::<Vec<_>>(),
            [Profile::Standard, Profile::Dedicated]
        );
    }
}
