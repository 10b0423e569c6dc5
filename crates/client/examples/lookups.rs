//! Measures lookups in the cache by id and by alias, per second of processor time of one thread:
//! `cargo run --release -p tenancy-client --example lookups`.

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use tenancy_client::{AccessCache, SnapshotFile};

const LOOKUPS: u32 = 20_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    for tenants in [1_000, 100_000] {
        let cache = filled(tenants)?;
        let ids: Vec<_> = (0..tenants).map(|n| format!("tenant-{n}")).collect();
        let hosts: Vec<_> = (0..tenants).map(|n| format!("host:tenant-{n}.example.com")).collect();
        for (what, names) in [("id", &ids), ("alias", &hosts)] {
            let (mut allowed, mut at) = (0_u32, 0_usize);
            let begun = processor_seconds()?;
            for _ in 0..LOOKUPS {
                // A step that is no divisor visits the names in an order that caches of the processor do not foresee.
                at = (at + 7_919) % names.len();
                allowed += u32::from(cache.get(black_box(&names[at])).is_some_and(|known| known.access.allowed));
            }
            let seconds = processor_seconds()? - begun;
            assert_eq!(allowed, LOOKUPS);
            println!(
                "{tenants} tenants, by {what}: {:.1} million lookups a second",
                f64::from(LOOKUPS) / seconds / 1e6
            );
        }
    }
    Ok(())
}

/// Processor time of this thread, which other programs on the machine do not lengthen by taking turns.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9)
}

/// Fills a cache from a snapshot file, as the agent does.
fn filled(tenants: usize) -> Result<std::sync::Arc<AccessCache>, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("snapshot");
    let header = r#"{"format":1,"binding":"b","cursor":"1.1","heard_at_millis":1}"#;
    let mut text = format!("{header}\n");
    for n in 0..tenants {
        let access = serde_json::json!({
            "tenant_id": format!("tenant-{n}"), "organization_id": "acme", "allowed": true, "state": "Active",
            "aliases": [format!("host:tenant-{n}.example.com")], "access_level": "full", "region": "eu-west-1",
            "quotas": {"apiRateLimit": 200}, "version": 1, "position": 1,
        });
        writeln!(text, "{access}")?;
    }
    writeln!(text, r#"{{"tenants":{tenants}}}"#)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    let cache = AccessCache::new();
    let loaded = SnapshotFile::new(path, "b".to_owned()).load(&cache)?;
    assert_eq!(cache.tenants(), tenants, "{loaded:?}");
    Ok(cache)
}
