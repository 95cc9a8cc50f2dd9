//! What a credential is: a secret of one user with what may be known of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::limits::{
    CREDENTIAL_BYTES_MAX, CREDENTIAL_METADATA_FIELDS_MAX, CREDENTIAL_METADATA_TEXT_BYTES_MAX,
    CREDENTIAL_NAME_BYTES_MAX, METADATA_NAME_BYTES_MAX,
};
use crate::store::codec::Record;

/// A secret to keep, such as an API key or token: 1 byte to 64 KiB, with up to 16 metadata texts that are told with its
/// name. It is wiped when it is dropped, and `Debug` does not print it.
///
/// ```
/// use std::time::Duration;
/// use watertight::{Credential, Timestamp};
///
/// let token = Credential::new("ghp_secret").metadata("service", "github").expires_after(Duration::from_secs(3_600));
/// let dated = Credential::new("ghp_secret").expires_at(Timestamp::from_seconds(4_000_000_000));
/// assert!(!format!("{token:?} {dated:?}").contains("ghp_secret"));
/// ```
pub struct Credential {
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) metadata: BTreeMap<String, String>,
    expiry: Option<Expiry>,
}

#[derive(Debug, Clone, Copy)]
enum Expiry {
    At(Timestamp),
    After(Duration),
}

impl Credential {
    /// A secret. The vector that is given is wiped; copies that the caller has made are the caller's.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self { secret: Zeroizing::new(secret.into()), metadata: BTreeMap::new(), expiry: None }
    }

    /// Adds a text that is told with the name; it is no secret. 16 at most, of 1,024 bytes.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), text.into());
        self
    }

    /// It is gone from this time on.
    #[must_use]
    pub fn expires_at(mut self, at: Timestamp) -> Self {
        self.expiry = Some(Expiry::At(at));
        self
    }

    /// It is gone when it is this old.
    #[must_use]
    pub fn expires_after(mut self, life: Duration) -> Self {
        self.expiry = Some(Expiry::After(life));
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.secret.is_empty() {
            return Err(Error::invalid("credential", "a secret has at least one byte"));
        }
        if self.secret.len() > CREDENTIAL_BYTES_MAX {
            return Err(Error::too_large("credential", CREDENTIAL_BYTES_MAX, self.secret.len()));
        }
        if self.metadata.len() > CREDENTIAL_METADATA_FIELDS_MAX {
            let (limit, actual) = (CREDENTIAL_METADATA_FIELDS_MAX, self.metadata.len());
            return Err(Error::too_large("number of metadata texts", limit, actual));
        }
        for (name, text) in &self.metadata {
            if name.is_empty() {
                return Err(Error::invalid("metadata name", "at least one byte"));
            }
            if name.len() > METADATA_NAME_BYTES_MAX {
                return Err(Error::too_large("metadata name", METADATA_NAME_BYTES_MAX, name.len()));
            }
            if text.len() > CREDENTIAL_METADATA_TEXT_BYTES_MAX {
                return Err(Error::too_large("metadata text", CREDENTIAL_METADATA_TEXT_BYTES_MAX, text.len()));
            }
        }
        Ok(())
    }

    /// From when on it is gone, if it is put now.
    pub(super) fn expires(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let at = match self.expiry {
            None => return Ok(None),
            Some(Expiry::At(at)) => at,
            Some(Expiry::After(life)) => now.after(life),
        };
        if at <= now {
            return Err(Error::invalid("expiry", "it must be later than now"));
        }
        Ok(Some(at))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("secret", &"[redacted]").finish_non_exhaustive()
    }
}

/// What is known of a credential: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialInfo {
    /// Its name.
    pub name: String,
    /// 1 for the first secret of this name, one more with each that was put or rotated in.
    pub version: u64,
    /// Until when the secret before this one is kept, where it is.
    pub previous_until: Option<Timestamp>,
    /// When the name was first put.
    pub created_at: Timestamp,
    /// When this version was.
    pub updated_at: Timestamp,
    /// From when on it is gone; absent when it stays.
    pub expires_at: Option<Timestamp>,
    /// As given.
    pub metadata: BTreeMap<String, String>,
    /// How often a secret of this name was used.
    pub uses: u64,
    /// When one was last.
    pub last_used_at: Option<Timestamp>,
}

/// The head row of a credential: which envelopes stand for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    /// The step that wrote the envelope of the current version; part of its AAD.
    pub(super) stamp: u64,
    pub(super) version: u64,
    pub(super) previous: Option<Previous>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) uses: u64,
    pub(super) last_used_at: Option<Timestamp>,
}

/// The version before the current one, while it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Previous {
    pub(super) stamp: u64,
    pub(super) until: Timestamp,
}

impl Record for Head {
    const KIND: u8 = 23;
    const NAME: &'static str = "credential head";
}

impl Head {
    pub(super) fn is_live(&self, at: Timestamp) -> bool {
        self.expires_at.is_none_or(|expiry| at < expiry)
    }

    pub(super) fn live_previous(&self, at: Timestamp) -> Option<Previous> {
        self.previous.filter(|previous| at < previous.until)
    }

    pub(super) fn into_info(self, name: String, at: Timestamp) -> CredentialInfo {
        CredentialInfo {
            previous_until: self.live_previous(at).map(|previous| previous.until),
            name,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            metadata: self.metadata,
            uses: self.uses,
            last_used_at: self.last_used_at,
        }
    }
}

/// Names are those of environment variables, and hyphens: `[A-Za-z_][A-Za-z0-9_-]{0,63}`.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.len() > CREDENTIAL_NAME_BYTES_MAX {
        return Err(Error::too_large("credential name", CREDENTIAL_NAME_BYTES_MAX, name.len()));
    }
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let goes_on_well = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !(starts_well && goes_on_well) {
        return Err(Reason::Invalid {
            what: "credential name",
            rule: "a letter or _ first, then letters, digits, _ and -",
        }
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables() {
        for good in ["a", "_", "GITHUB_TOKEN", "my-key-2", &"x".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "2a", "-a", "a b", "a.b", "a}}", "ä", "a\0", "${{", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_and_expiry_are_checked() {
        assert!(Credential::new("").check().is_err());
        assert!(Credential::new(vec![0; CREDENTIAL_BYTES_MAX]).check().is_ok());
        assert!(Credential::new(vec![0; CREDENTIAL_BYTES_MAX + 1]).check().is_err());
        assert!(Credential::new("a").metadata("", "").check().is_err());
        assert!(Credential::new("a").metadata("n".repeat(65), "").check().is_err());
        assert!(Credential::new("a").metadata("n", "t".repeat(1_025)).check().is_err());
        let many = (0..17).fold(Credential::new("a"), |credential, n| credential.metadata(n.to_string(), ""));
        assert!(many.check().is_err());
        let now = Timestamp::from_seconds(10);
        assert!(Credential::new("a").expires_at(now).expires(now).is_err());
        assert!(Credential::new("a").expires_after(Duration::ZERO).expires(now).is_err());
        let in_time = Credential::new("a").expires_after(Duration::from_secs(1)).expires(now).unwrap();
        assert_eq!(in_time, Some(Timestamp::from_seconds(11)));
    }
}
