//! API keys: `wt_<id>_<secret><checksum>`, all in lower-case hexadecimal digits.
//!
//! The id (8 bytes) finds the key and is no secret. The secret (32 bytes) is random and kept nowhere: the catalog has
//! its keyed hash. The checksum (4 bytes of SHA-256 over what stands before it) lets scanners for leaked secrets tell a
//! key from other text without asking anybody.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::scope::Scopes;
use crate::catalog::api_keys::StoredApiKey;
use crate::clock::Timestamp;
use crate::crypto::mac::mac;
use crate::crypto::secret::{Secret, fill_random};
use crate::error::{Error, Reason, Result};
use crate::id::{ApiKeyId, Issuer, UserId, hex, hex_into, length_prefixed};
use crate::limits::{API_KEY_LABEL_BYTES_MAX, API_KEY_LIFETIME_SECONDS_DEFAULT, API_KEY_LIFETIME_SECONDS_MAX};
use crate::line::check_name;

const BEGIN: &str = "wt_";
/// Domain of the checksum; part of the format.
const DOMAIN: &[u8] = b"watertight API key";
const TEXT_BYTES: usize = BEGIN.len() + 16 + 1 + 64 + 8;

/// A key, as its bearer has it.
pub(crate) struct ApiKey {
    id: ApiKeyId,
    secret: Secret<32>,
}

impl ApiKey {
    pub(crate) fn random() -> Result<Self> {
        let mut id = [0; 8];
        fill_random(&mut id)?;
        Ok(Self { id: ApiKeyId::from_bytes(id), secret: Secret::random()? })
    }

    /// Whether a bearer means to show an API key. No signed token begins like that: its header is a JSON object.
    pub(crate) fn is_meant(bearer: &str) -> bool {
        bearer.starts_with(BEGIN)
    }

    /// `None` for whatever is not exactly the text of a key.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_BYTES {
            return None;
        }
        let (signed, checksum) = text.split_at_checked(TEXT_BYTES - 8)?;
        let (id, secret) = signed.strip_prefix(BEGIN)?.split_once('_')?;
        if hex::<4>(checksum)? != checksum_of(signed) {
            return None;
        }
        let secret = Secret::try_fill(|bytes| hex_into(secret, bytes).ok_or(())).ok()?;
        Some(Self { id: id.parse().ok()?, secret })
    }

    /// What its bearer is shown, once.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES));
        text.push_str(BEGIN);
        push_hex(&mut text, self.id.as_bytes());
        text.push('_');
        push_hex(&mut text, self.secret.expose());
        let checksum = checksum_of(&text);
        push_hex(&mut text, &checksum);
        text
    }

    pub(crate) fn id(&self) -> ApiKeyId {
        self.id
    }

    /// What the catalog keeps of the secret.
    pub(crate) fn hash(&self, key: &Secret<64>) -> [u8; 32] {
        mac(key, &[&length_prefixed(&[self.id.as_bytes()]), self.secret.expose()])
    }
}

/// Compares in constant time.
pub(crate) fn is_same_hash(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

/// A key acts as a user of its own.
pub(crate) fn user_of(id: ApiKeyId) -> Result<UserId> {
    UserId::new(Issuer::api_keys(), &id.to_string())
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
}

fn checksum_of(signed: &str) -> [u8; 4] {
    let digest = Sha256::new().chain_update(DOMAIN).chain_update(signed).finalize();
    let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
    [a, b, c, d]
}

/// An API key to make. It allows nothing unless scopes are given.
///
/// ```
/// use std::time::Duration;
/// use watertight::{ApiKeySpec, Scopes};
///
/// let spec = ApiKeySpec::new("nightly import")?.scopes(Scopes::WRITE).lifetime(Duration::from_secs(30 * 86_400))?;
/// # let _ = spec;
/// assert!(ApiKeySpec::new("nightly import")?.lifetime(Duration::from_secs(367 * 86_400)).is_err());
/// assert!(ApiKeySpec::new("").is_err());
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ApiKeySpec {
    pub(crate) label: String,
    pub(crate) scopes: Scopes,
    pub(crate) lifetime: Duration,
}

impl ApiKeySpec {
    /// A key without any scope, for 90 days. The label is what it is listed by: 1 to 128 bytes.
    ///
    /// # Errors
    /// `InvalidInput` when the label is empty, too long, or has control, direction or invisible characters.
    pub fn new(label: &str) -> Result<Self> {
        check_name("label", label, API_KEY_LABEL_BYTES_MAX)?;
        let lifetime = Duration::from_secs(API_KEY_LIFETIME_SECONDS_DEFAULT);
        Ok(Self { label: label.to_owned(), scopes: Scopes::NONE, lifetime })
    }

    /// What the key allows; replaces what was set before.
    #[must_use]
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// How long the key is good for; at most 366 days.
    ///
    /// # Errors
    /// `InvalidInput` for nothing and for more.
    pub fn lifetime(mut self, lifetime: Duration) -> Result<Self> {
        if lifetime.is_zero() {
            return Err(Error::invalid("lifetime", "must not be zero"));
        }
        if lifetime > Duration::from_secs(API_KEY_LIFETIME_SECONDS_MAX) {
            let (limit, actual) = (API_KEY_LIFETIME_SECONDS_MAX, lifetime.as_secs());
            return Err(Reason::TooLarge { what: "lifetime in seconds", limit, actual }.into());
        }
        self.lifetime = lifetime;
        Ok(self)
    }
}

/// What is known of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiKeyInfo {
    /// The public part of the key.
    pub id: ApiKeyId,
    /// What it was called when it was made.
    pub label: String,
    /// What it allows.
    pub scopes: Scopes,
    /// Who made it.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When it was last verified. A crash may lose up to an hour of this.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKeyInfo {
    pub(crate) fn new(id: ApiKeyId, key: StoredApiKey) -> Self {
        Self {
            id,
            label: key.label,
            scopes: Scopes::from_bits(key.scopes),
            created_by: key.created_by,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// An API key that was just made, with its text, which nobody can be shown again.
///
/// `Debug` prints the information alone; memory with the text is wiped when this is dropped.
pub struct NewApiKey {
    /// As it is listed.
    pub info: ApiKeyInfo,
    pub(crate) text: Zeroizing<String>,
}

impl NewApiKey {
    /// The bearer's text.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let made = tenant.api_keys().create(&ApiKeySpec::new("report")?)?;
    /// assert!(made.expose().starts_with(&format!("wt_{}_", made.info.id)));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewApiKey").field("info", &self.info).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_key_parses_to_the_key() {
        let key = ApiKey::random().unwrap();
        let text = key.text();
        assert_eq!((text.len(), ApiKey::is_meant(&text)), (TEXT_BYTES, true));
        let parsed = ApiKey::parse(&text).unwrap();
        assert_eq!((parsed.id, parsed.secret.expose()), (key.id, key.secret.expose()));
        assert_eq!(parsed.text(), text);
    }

    /// The format is published: scanners depend on it.
    #[test]
    fn the_form_is_frozen() {
        let key = ApiKey { id: ApiKeyId::from_bytes([0xAB; 8]), secret: Secret::new([0x5C; 32]) };
        assert_eq!(*key.text(), format!("wt_{}_{}{}", "ab".repeat(8), "5c".repeat(32), "06eab543"),);
        let hash = key.hash(&Secret::new([7; 64]));
        assert_eq!(
            hash.map(|byte| format!("{byte:02x}")).concat(),
            "8265e28e1dde8444571a81261d98567a3684005ac482a988f147a043c5d1a46c"
        );
    }

    #[test]
    fn the_hash_depends_on_all_three() {
        let key = |id, secret| ApiKey { id: ApiKeyId::from_bytes([id; 8]), secret: Secret::new([secret; 32]) };
        let hash = key(1, 1).hash(&Secret::new([1; 64]));
        assert!(is_same_hash(&hash, &key(1, 1).hash(&Secret::new([1; 64]))));
        for other in [
            key(2, 1).hash(&Secret::new([1; 64])),
            key(1, 2).hash(&Secret::new([1; 64])),
            key(1, 1).hash(&Secret::new([2; 64])),
        ] {
            assert!(!is_same_hash(&hash, &other));
        }
    }

    #[test]
    fn every_single_change_of_the_text_is_refused() {
        let text = ApiKey::random().unwrap().text();
        for at in 0..text.len() {
            for with in ['0', 'f', 'F', '_', ' ', '\0'] {
                let mut bad: Vec<char> = text.chars().collect();
                if std::mem::replace(&mut bad[at], with) != with {
                    assert!(ApiKey::parse(&bad.iter().collect::<String>()).is_none(), "{at} {with:?}");
                }
            }
            assert!(ApiKey::parse(&text[..at]).is_none());
        }
        assert!(ApiKey::parse(&format!("{}0", *text)).is_none());
        assert!(ApiKey::parse(&text.to_uppercase()).is_none());
        assert!(ApiKey::parse(&"é".repeat(TEXT_BYTES / 2)).is_none());
        assert!(ApiKey::parse(&"wt_".repeat(1 << 20)).is_none());
    }
}
