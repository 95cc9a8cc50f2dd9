//! The one text for a user at a tenant.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::id::{Issuer, TenantId, UserId};

/// A user at a tenant as `tenant:user`, for headers, logs and keys of the application's own.
///
/// It splits at the first colon. No tenant id has one and subjects may have some, so two different pairs never print the
/// same, and what is printed parses to the same pair. It names no issuer: subjects of two issuers may be equal and are two
/// users all the same.
///
/// It conveys no power: identities come from verifiers.
///
/// ```
/// use watertight::{CompoundId, TenantId};
///
/// let id: CompoundId = "acme:urn:user:7".parse()?;
/// assert_eq!((id.tenant().as_str(), id.subject()), ("acme", "urn:user:7"));
/// assert_eq!(id, CompoundId::new(&TenantId::new("acme")?, "urn:user:7")?);
/// assert_eq!(id.to_string(), "acme:urn:user:7");
///
/// for bad in ["acme", "acme:", ":alice", "ac/me:alice", "acme:alice smith"] {
///     assert!(bad.parse::<CompoundId>().is_err());
/// }
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CompoundId {
    tenant: TenantId,
    subject: String,
}

impl CompoundId {
    /// Pairs a tenant with a subject.
    ///
    /// # Errors
    /// `InvalidInput` when the subject breaks the rule of [`UserId`].
    pub fn new(tenant: &TenantId, subject: &str) -> Result<Self> {
        // A subject has one rule, whoever vouches for it.
        UserId::new(Issuer::authority(), subject)?;
        Ok(Self { tenant: tenant.clone(), subject: subject.to_owned() })
    }

    /// The tenant, before the first colon.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The subject, after it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl FromStr for CompoundId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (tenant, subject) =
            text.split_once(':').ok_or_else(|| Error::invalid("compound id", "must have a colon after the tenant"))?;
        Self::new(&TenantId::new(tenant)?, subject)
    }
}

impl fmt::Display for CompoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tenant, self.subject)
    }
}
