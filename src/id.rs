//! Validated newtypes for every kind of id.
//!
//! An id is parsed once, at the edge; what holds one of these types needs no further check. None of them ever
//! becomes part of a path: files are named by a random [`Incarnation`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Reason, Result};
use crate::limits::{
    ISSUER_BYTES_MAX, KEY_BYTES_MAX, NAMESPACE_BYTES_MAX, SUBJECT_BYTES_MAX, TENANT_ID_BYTES_MAX, TOKEN_ID_BYTES_MAX,
};

/// The name of a tenant: 1 to 128 bytes of `[A-Za-z0-9._@-]`, compared as bytes, case included.
///
/// ```
/// use watertight::TenantId;
///
/// assert_eq!(TenantId::new("acme").unwrap().as_str(), "acme");
/// assert_ne!(TenantId::new("acme").unwrap(), TenantId::new("Acme").unwrap());
/// assert!(TenantId::new("acme:alice").is_err());
/// assert!(TenantId::new("").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Checks and takes a tenant name.
    ///
    /// # Errors
    /// `InvalidInput` when the name is empty, too long, or has a byte outside the set.
    pub fn new(id: &str) -> Result<Self> {
        check_length("tenant id", id, TENANT_ID_BYTES_MAX)?;
        if !id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'-')) {
            return Err(Error::invalid("tenant id", "only A-Z, a-z, 0-9 and . _ @ - are allowed"));
        }
        Ok(Self(id.into()))
    }

    /// The name as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who vouches for a user: the `iss` of a token, or the application's own [`Authority`](crate::Authority).
///
/// 1 to 255 bytes of visible ASCII.
///
/// ```
/// use watertight::Issuer;
///
/// let login = Issuer::new("https://login.example.org/").unwrap();
/// assert_eq!(login.as_str(), "https://login.example.org/");
/// assert!(!login.is_authority() && Issuer::authority().is_authority());
/// assert!(!login.is_erased() && Issuer::erased().is_erased());
/// assert!(Issuer::new("").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Issuer(Arc<str>);

impl Issuer {
    const AUTHORITY: &'static str = "watertight:authority";
    const API_KEYS: &'static str = "watertight:api-keys";

    /// Checks and takes an issuer.
    ///
    /// # Errors
    /// `InvalidInput` when it is empty, too long, or has a byte outside visible ASCII.
    pub fn new(issuer: &str) -> Result<Self> {
        check_length("issuer", issuer, ISSUER_BYTES_MAX)?;
        check_visible("issuer", issuer)?;
        Ok(Self(issuer.into()))
    }

    const ERASED: &'static str = "watertight:erased";

    /// The issuer of identities that the application attests itself.
    ///
    /// No verifier of tokens can be configured with this name.
    #[must_use]
    pub fn authority() -> Self {
        Self(Self::AUTHORITY.into())
    }

    /// The issuer of what stands for users that were erased; see [`TenantHandle::erase_user`](crate::TenantHandle::erase_user).
    ///
    /// No verifier of tokens can be configured with this name.
    #[must_use]
    pub fn erased() -> Self {
        Self(Self::ERASED.into())
    }

    /// Whether this stands for users that were erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        &*self.0 == Self::ERASED
    }

    /// Whether this is the application's own authority.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        &*self.0 == Self::AUTHORITY
    }

    /// The issuer of identities that come from API keys. No verifier of tokens can be configured with this name either.
    pub(crate) fn api_keys() -> Self {
        Self(Self::API_KEYS.into())
    }

    pub(crate) fn is_api_keys(&self) -> bool {
        &*self.0 == Self::API_KEYS
    }

    /// Whether it is one of the engine's own, which sign no tokens.
    pub(crate) fn is_own(&self) -> bool {
        self.0.starts_with("watertight:")
    }

    /// The issuer as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A user: an issuer and the subject it vouches for. Equal subjects of two issuers are two users.
///
/// The subject is 1 to 255 bytes of visible ASCII.
///
/// ```
/// use watertight::{Issuer, UserId};
///
/// let local = UserId::new(Issuer::authority(), "alice").unwrap();
/// let other = UserId::new(Issuer::new("https://login.example.org/").unwrap(), "alice").unwrap();
/// assert_ne!(local, other);
/// assert_eq!(local.subject(), other.subject());
/// assert!(local.issuer().is_authority());
/// assert!(UserId::new(Issuer::authority(), "").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId {
    issuer: Issuer,
    subject: Arc<str>,
}

impl UserId {
    /// Checks the subject and pairs it with its issuer.
    ///
    /// # Errors
    /// `InvalidInput` when the subject is empty, too long, or has a byte outside visible ASCII.
    pub fn new(issuer: Issuer, subject: &str) -> Result<Self> {
        check_length("subject", subject, SUBJECT_BYTES_MAX)?;
        check_visible("subject", subject)?;
        Ok(Self { issuer, subject: subject.into() })
    }

    /// What stands for a user that was erased: its number, which tells nothing.
    pub(crate) fn erased(number: u32) -> Self {
        Self { issuer: Issuer::erased(), subject: number.to_string().into() }
    }

    /// Who vouches for the user.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The subject as the issuer names it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// One byte string for one user: length-prefixed, so that no two pairs meet.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        length_prefixed(&[self.issuer.0.as_bytes(), self.subject.as_bytes()])
    }
}

/// The name of a namespace: `[a-z0-9][a-z0-9._-]{0,63}`.
///
/// ```
/// use watertight::Namespace;
///
/// assert_eq!(Namespace::new("notes.2026").unwrap().as_str(), "notes.2026");
/// assert!(Namespace::new("Notes").is_err());
/// assert!(Namespace::new(".hidden").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks and takes a namespace name.
    ///
    /// # Errors
    /// `InvalidInput` when the name does not have the form above.
    pub fn new(name: &str) -> Result<Self> {
        check_length("namespace", name, NAMESPACE_BYTES_MAX)?;
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let starts_well = name.bytes().next().is_some_and(lower);
        if !starts_well || !name.bytes().all(|b| lower(b) || matches!(b, b'.' | b'_' | b'-')) {
            return Err(Error::invalid("namespace", "[a-z0-9] first, then only a-z, 0-9 and . _ -"));
        }
        Ok(Self(name.into()))
    }

    /// The name as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rule of a memory's key in its namespace: 1 to 512 bytes of UTF-8, compared as bytes.
pub(crate) fn check_key(key: &str) -> Result<()> {
    check_length("key", key, KEY_BYTES_MAX)
}

/// The random public id of a memory. It says nothing about order, number or tenant.
///
/// ```
/// # use watertight::*;
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
/// let id = tenant.memories("notes")?.put(Memory::new("k"))?.id;
/// assert_eq!(id.to_string().len(), 2 * id.to_bytes().len());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemoryId([u8; 16]);

impl MemoryId {
    pub(crate) fn random() -> Result<Self> {
        random_bytes().map(Self)
    }

    /// The 16 bytes of the id.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// One life of a tenant: a random 128-bit number, never derived from its name.
///
/// A name that is purged and provisioned again gets another incarnation, and with it other files and other keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation([u8; 16]);

impl Incarnation {
    pub(crate) fn random() -> Result<Self> {
        random_bytes().map(Self)
    }

    /// The inverse of its printed form, of which there is one: 32 lower-case hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let value = u128::from_str_radix(text, 16).ok()?;
        let parsed = Self(value.to_be_bytes());
        (parsed.to_string() == text).then_some(parsed)
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The random identity of one data directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EngineId([u8; 16]);

impl EngineId {
    pub(crate) fn random() -> Result<Self> {
        random_bytes().map(Self)
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The public part of an API key, by which it is found, listed and revoked. It proves nothing.
///
/// ```
/// use watertight::ApiKeyId;
///
/// let id: ApiKeyId = "0123456789abcdef".parse().unwrap();
/// assert_eq!(id.to_string(), "0123456789abcdef");
/// assert!("0123456789ABCDEF".parse::<ApiKeyId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKeyId([u8; 8]);

impl ApiKeyId {
    pub(crate) const MIN: Self = Self([0; 8]);
    pub(crate) const MAX: Self = Self([u8::MAX; 8]);

    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl std::str::FromStr for ApiKeyId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        hex(text).map(Self).ok_or_else(|| Error::invalid("API key id", "must be 16 digits of 0-9 and a-f"))
    }
}

/// `N` bytes of lower-case hexadecimal digits.
pub(crate) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex_into(text, &mut bytes)?;
    Some(bytes)
}

/// As [`hex`], straight into the place of the bytes: a secret is not returned by value.
pub(crate) fn hex_into(text: &str, out: &mut [u8]) -> Option<()> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != out.len() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = (digit(high)? << 4) | digit(low)?;
    }
    Some(())
}

/// The rule of `jti`, and of what stands for one: it becomes the name of a revocation.
pub(crate) fn check_token_id(id: &str) -> Result<()> {
    check_length("token id", id, TOKEN_ID_BYTES_MAX)?;
    check_visible("token id", id)
}

/// Counts a tenant's files: re-keying, compaction and restore each write the next epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub(crate) u32);

impl Epoch {
    pub(crate) const FIRST: Self = Self(1);

    pub(crate) fn next(self) -> Result<Self> {
        self.0.checked_add(1).map(Self).ok_or_else(|| Reason::DamagedRecord("epoch").into())
    }

    pub(crate) fn before(self) -> Result<Self> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| Reason::DamagedRecord("epoch").into())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Orders the rows of one tenant file; never shown to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RowId(pub(crate) u64);

/// Joins fields so that no two lists of fields give the same bytes: each is led by its length as u32 LE.
pub(crate) fn length_prefixed(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.iter().map(|f| f.len() + 4).sum());
    for field in fields {
        // Every field here is bounded far below 4 GiB; a longer one would be cut by `as`, so saturate instead.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(field);
    }
    out
}

fn random_bytes() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Error::from(Reason::Randomness))?;
    Ok(bytes)
}

fn check_length(what: &'static str, text: &str, limit: usize) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(what, "must not be empty"));
    }
    if text.len() > limit {
        return Err(Error::too_large(what, limit, text.len()));
    }
    Ok(())
}

fn check_visible(what: &'static str, text: &str) -> Result<()> {
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Error::invalid(what, "only visible ASCII is allowed"))
    }
}

/// `Debug` and `Display` print the text itself: these ids are names, not secrets.
macro_rules! prints_as_text {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({:?})"), self.as_str())
            }
        }
        impl std::str::FromStr for $id {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
        impl Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        // Deserialising parses, so that a value of this type is valid however it was made.
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
prints_as_text!(TenantId, Issuer, Namespace);

macro_rules! prints_as_hex {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self)
            }
        }
    )*};
}
prints_as_hex!(MemoryId, Incarnation, EngineId, ApiKeyId);

impl fmt::Display for UserId {
    /// The subject alone; the issuer is printed by `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?} of {:?})", &*self.subject, self.issuer.as_str())
    }
}

#[derive(Serialize, Deserialize)]
struct UserFields(Issuer, String);

impl Serialize for UserId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        UserFields(self.issuer.clone(), self.subject.to_string()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let UserFields(issuer, subject) = UserFields::deserialize(deserializer)?;
        Self::new(issuer, &subject).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_refuse_what_is_not_in_their_set() {
        for bad in ["", "a/b", "a\\b", "a:b", "a\0b", "%2e", "a b", "аcme", "acme\n", "\u{feff}acme"] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
        assert!(TenantId::new(&"a".repeat(128)).is_ok());
        assert!(TenantId::new(&"a".repeat(129)).is_err());
        assert!(TenantId::new(&"a".repeat(65_536)).is_err());
    }

    #[test]
    fn joined_fields_never_meet() {
        assert_ne!(length_prefixed(&[b"a:b", b"c"]), length_prefixed(&[b"a", b"b:c"]));
        assert_ne!(length_prefixed(&[b"", b"a"]), length_prefixed(&[b"a", b""]));
    }

    #[test]
    fn deserialising_parses() {
        assert!(postcard::from_bytes::<TenantId>(&postcard::to_stdvec("a/b").unwrap()).is_err());
        let user = UserId::new(Issuer::authority(), "auth0|5f").unwrap();
        let bytes = postcard::to_stdvec(&user).unwrap();
        assert_eq!(postcard::from_bytes::<UserId>(&bytes).unwrap(), user);
    }
}
