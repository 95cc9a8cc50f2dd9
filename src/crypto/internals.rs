//! The envelope of credentials on its own, for `benches/credentials.rs`. Not part of the API.

use super::credential::{CredentialKey, USER_SALT_BYTES};
use super::secret::Secret;
use crate::error::Result;
use crate::id::{Epoch, Incarnation, Issuer, UserId};

/// One user's envelopes. The secret of the user is derived for each, as an open tenant does.
#[derive(Debug)]
pub struct Envelopes {
    key: CredentialKey,
    salt: [u8; USER_SALT_BYTES],
    user: UserId,
}

impl Envelopes {
    /// Under a fresh key.
    pub fn new() -> Result<Self> {
        let key = CredentialKey::new(Secret::random()?, Incarnation::random()?, Epoch::FIRST);
        Ok(Self { key, salt: [7; USER_SALT_BYTES], user: UserId::new(Issuer::authority(), "alice")? })
    }

    /// All the cryptography of a put.
    pub fn seal(&self, secret: &[u8]) -> Result<Vec<u8>> {
        self.key.user(&self.salt, &self.user).seal("TOKEN", 1, secret)
    }

    /// All the cryptography of a use.
    pub fn open(&self, envelope: &[u8]) -> Result<usize> {
        self.key.user(&self.salt, &self.user).open("TOKEN", 1, envelope).map(|secret| secret.len())
    }
}
