//! Credentials: a secret of each user, and a sealed envelope for each version of each credential.
//!
//! User secret: HKDF-SHA256 of the tenant's data key, with a random salt of the user and the user's whole identity as
//! context. Envelope: `format u8 = 1 | epoch u32 | stamp u64 | salt 32 | commitment 32 | ciphertext | tag 16`, integers
//! little-endian, from the salt on as in [`super::seal`]. Its AAD is the length-prefixed list of format, incarnation,
//! epoch, issuer, subject, name and stamp. The stamp is the step of the file that wrote it, which no other step has: an
//! envelope stands for one version of one name of one user, and the caller compares it with the row that should name it.

use zeroize::Zeroizing;

use super::derive::derive;
pub(crate) use super::format::USER_SALT_BYTES;
use super::format::{CREDENTIAL_FORMAT as FORMAT, CREDENTIAL_HEAD_BYTES as HEADER_BYTES, Label};
use super::seal;
use super::secret::Secret;
use crate::error::{Reason, Result};
use crate::id::{Epoch, Incarnation, UserId, length_prefixed};

/// The data key of an open tenant, as the root of its users' secrets.
#[derive(Debug)]
pub(crate) struct CredentialKey {
    data_key: Secret<32>,
    incarnation: Incarnation,
    epoch: Epoch,
}

/// The secret of one user of one tenant.
#[derive(Debug)]
pub(crate) struct UserSecret {
    secret: Secret<32>,
    incarnation: Incarnation,
    epoch: Epoch,
    user: UserId,
}

impl CredentialKey {
    pub(super) fn new(data_key: Secret<32>, incarnation: Incarnation, epoch: Epoch) -> Self {
        Self { data_key, incarnation, epoch }
    }

    pub(crate) fn user(&self, salt: &[u8; USER_SALT_BYTES], user: &UserId) -> UserSecret {
        let context = [&self.incarnation.as_bytes()[..], user.issuer().as_str().as_bytes(), user.subject().as_bytes()];
        let secret = derive(&self.data_key, salt, Label::UserSecret, &context);
        UserSecret { secret, incarnation: self.incarnation, epoch: self.epoch, user: user.clone() }
    }
}

impl UserSecret {
    /// Seals one version of the credential of this name.
    pub(crate) fn seal(&self, name: &str, stamp: u64, plaintext: &[u8]) -> Result<Vec<u8>> {
        let sealed = seal::seal(&self.secret, Label::Credential, &self.aad(name, stamp), plaintext)?;
        Ok([&self.header(stamp)[..], &sealed].concat())
    }

    /// Opens the envelope of this version of this name.
    ///
    /// # Errors
    /// `Damaged` for anything else.
    pub(crate) fn open(&self, name: &str, stamp: u64, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let refused = || Reason::DamagedRecord("credential");
        let sealed = envelope.strip_prefix(&self.header(stamp)).ok_or_else(refused)?;
        Ok(seal::open(&self.secret, Label::Credential, &self.aad(name, stamp), sealed).map_err(|_| refused())?)
    }

    fn header(&self, stamp: u64) -> [u8; HEADER_BYTES] {
        let mut header = [FORMAT; HEADER_BYTES];
        let fields = self.epoch.0.to_le_bytes().into_iter().chain(stamp.to_le_bytes());
        header.iter_mut().skip(1).zip(fields).for_each(|(to, from)| *to = from);
        header
    }

    fn aad(&self, name: &str, stamp: u64) -> Vec<u8> {
        length_prefixed(&[
            &[FORMAT],
            self.incarnation.as_bytes(),
            &self.epoch.0.to_le_bytes(),
            self.user.issuer().as_str().as_bytes(),
            self.user.subject().as_bytes(),
            name.as_bytes(),
            &stamp.to_le_bytes(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Issuer;

    fn user(subject: &str) -> UserId {
        UserId::new(Issuer::authority(), subject).unwrap()
    }

    fn key(byte: u8, incarnation: u8, epoch: u32) -> CredentialKey {
        let incarnation = postcard::from_bytes(&[incarnation; 16]).unwrap();
        CredentialKey::new(Secret::new([byte; 32]), incarnation, Epoch(epoch))
    }

    #[test]
    fn an_envelope_opens_for_its_own_place_alone() {
        let made = key(1, 2, 3).user(&[4; 32], &user("alice")).seal("TOKEN", 5, b"secret").unwrap();
        assert_eq!(made.len(), 6 + HEADER_BYTES + seal::OVERHEAD_BYTES);
        let open = |key: CredentialKey, salt: u8, who: &str, name: &str, stamp: u64| {
            key.user(&[salt; 32], &user(who)).open(name, stamp, &made).ok()
        };
        assert_eq!(open(key(1, 2, 3), 4, "alice", "TOKEN", 5).unwrap().as_slice(), b"secret");
        for (what, opened) in [
            ("key", open(key(9, 2, 3), 4, "alice", "TOKEN", 5)),
            ("tenant", open(key(1, 9, 3), 4, "alice", "TOKEN", 5)),
            ("epoch", open(key(1, 2, 9), 4, "alice", "TOKEN", 5)),
            ("salt", open(key(1, 2, 3), 9, "alice", "TOKEN", 5)),
            ("user", open(key(1, 2, 3), 4, "alic", "TOKEN", 5)),
            ("name", open(key(1, 2, 3), 4, "alice", "TOKEN_", 5)),
            ("version", open(key(1, 2, 3), 4, "alice", "TOKEN", 6)),
        ] {
            assert!(opened.is_none(), "another {what}");
        }
    }

    /// With the header rewritten to what the reader expects, so that the AAD and not the comparison refuses.
    #[test]
    fn a_header_that_is_rewritten_does_not_open_either() {
        let alice = key(1, 2, 3).user(&[4; 32], &user("alice"));
        let made = alice.seal("TOKEN", 5, b"secret").unwrap();
        let moved = [&alice.header(6)[..], &made[HEADER_BYTES..]].concat();
        assert!(alice.open("TOKEN", 6, &moved).is_err());
        let later = key(1, 2, 4).user(&[4; 32], &user("alice"));
        let moved = [&later.header(5)[..], &made[HEADER_BYTES..]].concat();
        assert!(later.open("TOKEN", 5, &moved).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let alice = key(1, 2, 3).user(&[4; 32], &user("alice"));
        let made = alice.seal("TOKEN", 5, b"secret").unwrap();
        for bit in 0..made.len() * 8 {
            let mut bad = made.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(alice.open("TOKEN", 5, &bad).is_err(), "bit {bit}");
        }
        for length in 0..made.len() {
            assert!(alice.open("TOKEN", 5, &made[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_same_secret_twice_has_nothing_in_common() {
        let alice = key(1, 2, 3).user(&[4; 32], &user("alice"));
        let (a, b) = (alice.seal("A", 1, &[0; 64]).unwrap(), alice.seal("A", 1, &[0; 64]).unwrap());
        let same = a[HEADER_BYTES..].iter().zip(&b[HEADER_BYTES..]).filter(|(a, b)| a == b).count();
        assert!(same < 16, "{same} of {} bytes are the same", a.len());
    }
}
