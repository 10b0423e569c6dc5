//! The owner of a webhook on the command line, and the path of the webhook.

use crate::failure::Failure;
use crate::naming::part;
use crate::program::quoted;
use clap::Args;

/// Owner of a webhook that is no tenant.
#[derive(Args, Debug)]
pub struct Owner {
    /// The webhook belongs to this organization
    #[arg(long, value_name = "ORGANIZATION", conflicts_with = "platform")]
    organization: Option<String>,
    /// The webhook belongs to the platform: it receives the events of all organizations and tenants
    #[arg(long)]
    platform: bool,
}

impl Owner {
    /// Returns the path of the list for a tenant, or for the owner in the options.
    ///
    /// # Errors
    /// Fails unless exactly one owner is named.
    pub fn list<'a>(&'a self, tenant: Option<&'a str>) -> Result<Vec<&'a str>, Failure> {
        match (tenant, &self.organization, self.platform) {
            (Some(tenant), None, false) => Ok(vec!["tenants", tenant, "webhooks"]),
            (None, Some(organization), _) => Ok(vec!["organizations", organization, "webhooks"]),
            (None, None, true) => Ok(vec!["webhooks"]),
            _ => Err(Failure::usage("name a tenant, or --organization ORGANIZATION, or --platform")),
        }
    }

    /// Returns the path of the list and the name of the webhook. The name is TENANT/WEBHOOK without options.
    ///
    /// # Errors
    /// Fails unless exactly one owner is named.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<(Vec<&'a str>, &'a str), Failure> {
        if self.organization.is_some() || self.platform {
            return Ok((self.list(None)?, name));
        }
        let Some((tenant, webhook)) = part(name) else {
            let message = format!(
                "name a webhook as TENANT/WEBHOOK, or add --organization ORGANIZATION or --platform to its name, not {name:?}"
            );
            return Err(Failure::usage(message));
        };
        Ok((self.list(Some(tenant))?, webhook))
    }

    /// Returns the options, for a command that is suggested.
    pub fn options(&self) -> String {
        match (&self.organization, self.platform) {
            (Some(id), _) => format!(" --organization {}", quoted(id)),
            (None, true) => " --platform".to_owned(),
            (None, false) => String::new(),
        }
    }
}

/// Commands to suggest after a failure of a command about a webhook.
#[derive(Debug)]
pub struct Named {
    list: String,
    /// Name and options.
    webhook: String,
}

impl Owner {
    /// Returns the commands to suggest about a webhook.
    pub fn named(&self, name: &str) -> Named {
        let options = self.options();
        let list = match part(name).filter(|_| options.is_empty()) {
            Some((tenant, _)) => format!("webhook list {}", quoted(tenant)),
            None => format!("webhook list{options}"),
        };
        Named { list, webhook: format!("{}{options}", quoted(name)) }
    }
}

impl Named {
    /// Adds the next command to a failure that has none.
    pub fn next_of(&self, failure: Failure) -> Failure {
        let says = |text: &str| failure.message.contains(text);
        let next = match () {
            () if failure.next.is_some() => return failure,
            () if says("there is no webhook ") => self.list.clone(),
            () if says("there is no delivery ") => format!("webhook deliveries {}", self.webhook),
            () if says(" is disabled: enable it first") => format!("webhook enable {}", self.webhook),
            () if says(" has no replay in progress") => format!("webhook status {}", self.webhook),
            () => return failure,
        };
        failure.and_type(&next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(organization: Option<&str>, platform: bool) -> Owner {
        Owner { organization: organization.map(str::to_owned), platform }
    }

    #[test]
    fn must_name_exactly_one_owner() {
        let tenants = owner(None, false);
        assert_eq!(tenants.one("acme-eu/main").expect("named"), (vec!["tenants", "acme-eu", "webhooks"], "main"));
        assert!(tenants.one("main").is_err() && tenants.list(None).is_err());
        let organization = owner(Some("acme"), false);
        assert_eq!(organization.one("main").expect("named"), (vec!["organizations", "acme", "webhooks"], "main"));
        assert!(organization.list(Some("acme-eu")).is_err());
        assert_eq!(owner(None, true).one("main").expect("named"), (vec!["webhooks"], "main"));
    }
}
