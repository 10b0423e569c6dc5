//! The secrets of webhooks: read, and the first one of a webhook that has none.

use crate::Store;
use crate::list::corrupt;
use crate::rows::{Field, Type, Value};
use crate::sql::Sql;
use crate::webhooks::table;
use tenancy_core::Error;
use tenancy_core::ids::WebhookId;
use tenancy_core::webhook::{Secret, Secrets, WebhookOwner, secret_row};

impl Store {
    /// Returns the secrets of a webhook. A webhook that has none yet gets its first one: it comes from a manifest, or from
    /// an earlier release. A webhook that does not exist has none.
    ///
    /// # Errors
    /// Same as [`Store::open_for`] and [`Store::seal_for`].
    pub async fn webhook_secrets(&self, owner: &WebhookOwner, id: &WebhookId) -> Result<Secrets, Error> {
        if let Some(secrets) = self.stored_secrets(owner, id).await? {
            return Ok(secrets);
        }
        self.give_first_secret(owner, id).await?;
        Ok(self.stored_secrets(owner, id).await?.unwrap_or_default())
    }

    async fn stored_secrets(&self, owner: &WebhookOwner, id: &WebhookId) -> Result<Option<Secrets>, Error> {
        let mut sql = Sql::new(self.dialect(), format!("SELECT secret FROM {}", table(owner).name));
        sql.and("webhook_id = {}", Some(id.clone()));
        sql.and("tenant_id = {}", owner.tenant_id().cloned());
        let row = self.rows(sql, vec![Type::Text]).await?.into_iter().flatten().next();
        let Some(row) = row else { return Ok(Some(Secrets::default())) };
        let Some(sealed) = <Option<String> as Field>::take(row).map_err(corrupt)? else { return Ok(None) };
        let text = self.open_for(owner.key_owner(), &secret_row(id), &sealed).await?;
        let read = Secrets::parse(&text);
        read.map(Some).ok_or_else(|| Error::Unreadable(format!("{}.secret", table(owner).name)))
    }

    /// Writes a first secret, unless another process has written one.
    async fn give_first_secret(&self, owner: &WebhookOwner, id: &WebhookId) -> Result<(), Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Internal(format!("the system's random number generator failed: {error}")))?;
        let secrets = Secrets::new(Secret::from_bytes(&random, self.now()));
        let sealed = self.seal_for(owner.key_owner(), &secret_row(id), &secrets.to_text()).await?;
        let mut sql = Sql::new(self.dialect(), "");
        let sealed = sql.bind(Type::Text, Value::Text(sealed));
        let key = sql.bind(Type::Text, id.put());
        sql.text = format!(
            "UPDATE {} SET secret = {sealed} WHERE webhook_id = {key} AND secret IS NULL RETURNING webhook_id",
            table(owner).name
        );
        self.write(sql, vec![Type::Text]).await.map(drop)
    }
}
