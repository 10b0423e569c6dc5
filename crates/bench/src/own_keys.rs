//! Registration of tenants with a wrapping key of their own.

use crate::Settings;
use crate::figure::median;
use crate::kept::Keeper;
use crate::product::{Product, Spread, Wrapping};
use crate::report::Report;
use tenancy_server::Config;

/// Measures both databases.
pub async fn measure(keepers: &[Keeper], settings: &Settings, report: &mut Report) {
    for keeper in keepers {
        let database = keeper.database("keys").await.database();
        let product = Product::start_with(&database, settings.names, Config::default(), None).await;
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            for (wrapping, rates) in [(Wrapping::Shared, &mut shared), (Wrapping::PerTenant, &mut own)] {
                let load = product.register_under(64, settings.seconds, Spread::Hundred, wrapping).await;
                rates.push(load.per_second);
            }
        }
        product.stop().await;
        let key = format!("registration_{}_own_keys", keeper.kind());
        report.ratio(&key, median(own), median(shared), 0.7, "per second");
    }
}
