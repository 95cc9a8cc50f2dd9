//! The credentials of a tenant's users. Everything here is about the proof's own user: nobody else's can be named.
//!
//! A head row says which step wrote the envelope that stands for a name. An older envelope that is put back in its place
//! does not open.

use redb::ReadableTable;
use std::time::Duration;
use zeroize::Zeroizing;

use super::audit::{AuditAction, AuditEntry, AuditOutcome};
use super::change::Change;
use super::credential::{Credential, CredentialInfo, Head, Previous, check_name};
use super::open::Tenant;
use super::user::{self, UserNumber};
use crate::access::gate::{Delete, Operation, Proof, Read, Write};
use crate::crypto::credential::{USER_SALT_BYTES, UserSecret};
use crate::crypto::secret::fill_random;
use crate::error::{Error, Reason, Result};
use crate::limits::{CREDENTIAL_OVERLAP_MAX, CREDENTIALS_MAX};
use crate::store::codec;
use crate::store::schema::{CREDENTIAL_SECRETS, CREDENTIALS, USER_SALTS, USERS};

/// Which secret of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Current,
    Previous,
}

impl Tenant {
    /// Puts a credential, replacing all that its name had. Gives its version.
    pub(crate) fn put_credential(&self, proof: &Proof<'_, Write>, name: &str, credential: &Credential) -> Result<u64> {
        check_name(name)?;
        credential.check()?;
        self.change(proof, |change| change.put_credential(proof, self, name, credential, None))
    }

    /// Puts another secret of a credential and keeps the one before it for `overlap`.
    pub(crate) fn rotate_credential(
        &self,
        proof: &Proof<'_, Write>,
        name: &str,
        credential: &Credential,
        overlap: Duration,
    ) -> Result<u64> {
        check_name(name)?;
        credential.check()?;
        if overlap.is_zero() || overlap > CREDENTIAL_OVERLAP_MAX {
            return Err(Error::invalid("overlap", "more than nothing and at most 30 days"));
        }
        self.change(proof, |change| change.put_credential(proof, self, name, credential, Some(overlap)))
    }

    /// Forgets the secret before the current one. Gives whether there was one.
    pub(crate) fn confirm_credential(&self, proof: &Proof<'_, Write>, name: &str) -> Result<bool> {
        check_name(name)?;
        self.change(proof, |change| {
            let (owner, mut head) = change.live_credential(proof, name)?;
            let Some(previous) = head.previous.take() else { return Ok(false) };
            let was_live = change.at < previous.until;
            change.begin_step()?;
            change.forget_secret(owner, name, previous.stamp)?;
            change.write_head(owner, name, &head)?;
            change.record_credential(proof, AuditAction::ConfirmCredential, name)?;
            Ok(was_live)
        })
    }

    /// Deletes a credential with all its secrets.
    pub(crate) fn delete_credential(&self, proof: &Proof<'_, Delete>, name: &str) -> Result<()> {
        check_name(name)?;
        self.change(proof, |change| {
            let (owner, head) = change.live_credential(proof, name)?;
            change.begin_step()?;
            change.clear_credential(owner, name, &head)?;
            change.record_credential(proof, AuditAction::DeleteCredential, name)
        })
    }

    /// What is known of the user's credentials, in byte order of their names.
    pub(crate) fn credentials(&self, proof: &Proof<'_, Read>) -> Result<Vec<CredentialInfo>> {
        self.database.read(|snapshot| {
            let Some(owner) = user::find(&snapshot.users, proof.user())? else { return Ok(Vec::new()) };
            let heads = heads(&snapshot.credentials, owner)?;
            let live = heads.into_iter().filter(|(_, head)| head.is_live(proof.at()));
            Ok(live.map(|(name, head)| head.into_info(name, proof.at())).collect())
        })
    }

    /// The secrets of these names, in their order, each counted as used. All of them or none.
    pub(crate) fn use_credentials(
        &self,
        proof: &Proof<'_, Read>,
        names: &[&str],
        which: Which,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>> {
        names.iter().try_for_each(|name| check_name(name))?;
        self.change(proof, |change| {
            let mut secrets = Vec::with_capacity(names.len());
            // Look first, so that a name that is not there leaves no trace.
            for name in names {
                let (owner, head) = change.live_credential(proof, name)?;
                let stamp = match which {
                    Which::Current => head.stamp,
                    Which::Previous => head.live_previous(change.at).ok_or_else(Error::not_found)?.stamp,
                };
                secrets.push(change.open_secret(proof, self, owner, name, stamp)?);
            }
            for name in names {
                let (owner, mut head) = change.live_credential(proof, name)?;
                change.begin_step()?;
                head.uses = head.uses.saturating_add(1);
                head.last_used_at = Some(change.at);
                change.write_head(owner, name, &head)?;
                change.record_credential(proof, AuditAction::UseCredential, name)?;
            }
            Ok(secrets)
        })
    }
}

impl Change<'_> {
    fn put_credential(
        &mut self,
        proof: &Proof<'_, Write>,
        tenant: &Tenant,
        name: &str,
        credential: &Credential,
        overlap: Option<Duration>,
    ) -> Result<u64> {
        let expires_at = credential.expires(self.at)?;
        let owner = user::find(&self.writer.open_table(USERS)?, proof.user())?;
        let mut existing = Vec::new();
        if let Some(owner) = owner {
            existing = heads(&self.writer.open_table(CREDENTIALS)?, owner)?;
        }
        let has_none = existing.is_empty();
        let (live, expired): (Vec<_>, Vec<_>) = existing.into_iter().partition(|(_, head)| head.is_live(self.at));
        let count = live.len();
        let before = live.into_iter().find(|(other, _)| other == name).map(|(_, head)| head);
        if before.is_none() && overlap.is_some() {
            return Err(Error::not_found());
        }
        if before.is_none() && count >= CREDENTIALS_MAX {
            return Err(Reason::Full { what: "credentials of one user", limit: CREDENTIALS_MAX as u64 }.into());
        }
        self.begin_step()?;
        let owner = self.author(proof)?;
        for (name, head) in expired {
            self.clear_credential(owner, &name, &head)?;
        }
        if self.newest_secret(owner, name)? != before.as_ref().map(|before| before.stamp) {
            return Err(damaged().into());
        }
        let previous = match (&before, overlap) {
            (Some(before), Some(overlap)) => Some(Previous { stamp: before.stamp, until: self.at.after(overlap) }),
            _ => None,
        };
        if let Some(before) = &before {
            let stale = [before.previous.map(|previous| previous.stamp), Some(before.stamp)].into_iter().flatten();
            for stamp in stale.filter(|stamp| previous.is_none_or(|kept| kept.stamp != *stamp)) {
                self.forget_secret(owner, name, stamp)?;
            }
        }
        let stamp = self.facts.sequence;
        let secret = self.user_secret(proof, tenant, owner, has_none)?;
        let envelope = secret.seal(name, stamp, &credential.secret)?;
        self.writer
            .open_table(CREDENTIAL_SECRETS)?
            .insert(secret_key(owner, name, stamp).as_slice(), envelope.as_slice())?;
        let head = Head {
            stamp,
            version: before.as_ref().map_or(Some(1), |before| before.version.checked_add(1)).ok_or(damaged())?,
            previous,
            created_at: before.as_ref().map_or(self.at, |before| before.created_at),
            updated_at: self.at,
            expires_at,
            metadata: credential.metadata.clone(),
            uses: before.as_ref().map_or(0, |before| before.uses),
            last_used_at: before.and_then(|before| before.last_used_at),
        };
        self.write_head(owner, name, &head)?;
        let action = if overlap.is_some() { AuditAction::RotateCredential } else { AuditAction::PutCredential };
        self.record_credential(proof, action, name)?;
        Ok(head.version)
    }

    /// The head of a name that is there and has not expired.
    fn live_credential<O: Operation>(&mut self, proof: &Proof<'_, O>, name: &str) -> Result<(UserNumber, Head)> {
        let owner = user::find(&self.writer.open_table(USERS)?, proof.user())?.ok_or_else(Error::not_found)?;
        let credentials = self.writer.open_table(CREDENTIALS)?;
        let row = credentials.get(head_key(owner, name).as_slice())?.ok_or_else(Error::not_found)?;
        let head: Head = codec::decode(row.value())?;
        drop(row);
        drop(credentials);
        if !head.is_live(self.at) {
            return Err(Error::not_found());
        }
        // An older head would bring back what the newer one has ended: a secret, a longer life, an overlap.
        if self.newest_secret(owner, name)? != Some(head.stamp) {
            return Err(damaged().into());
        }
        Ok((owner, head))
    }

    /// The stamp of the newest secret of a name, which its head must be about.
    fn newest_secret(&mut self, owner: UserNumber, name: &str) -> Result<Option<u64>> {
        let secrets = self.writer.open_table(CREDENTIAL_SECRETS)?;
        let (first, last) = (secret_key(owner, name, 0), secret_key(owner, name, u64::MAX));
        let newest = secrets.range::<&[u8]>(first.as_slice()..=last.as_slice())?.next_back().transpose()?;
        newest.map(|(key, _)| Ok(parse_secret_key(key.value())?.2)).transpose()
    }

    /// The secret of a user; its salt is drawn with the first credential.
    fn user_secret<O>(
        &mut self,
        proof: &Proof<'_, O>,
        tenant: &Tenant,
        owner: UserNumber,
        may_draw: bool,
    ) -> Result<UserSecret> {
        let mut salts = self.writer.open_table(USER_SALTS)?;
        let stored = salts.get(owner.0)?.map(|row| stored_salt(row.value())).transpose()?;
        let salt = match stored {
            Some(salt) => salt,
            None if may_draw => {
                let mut salt = [0; USER_SALT_BYTES];
                fill_random(&mut salt)?;
                salts.insert(owner.0, salt.as_slice())?;
                salt
            }
            None => return Err(damaged().into()),
        };
        Ok(tenant.keys().credentials.user(&salt, proof.user()))
    }

    fn open_secret<O>(
        &mut self,
        proof: &Proof<'_, O>,
        tenant: &Tenant,
        owner: UserNumber,
        name: &str,
        stamp: u64,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let secret = self.user_secret(proof, tenant, owner, false)?;
        let secrets = self.writer.open_table(CREDENTIAL_SECRETS)?;
        let row = secrets.get(secret_key(owner, name, stamp).as_slice())?.ok_or_else(damaged)?;
        secret.open(name, stamp, row.value())
    }

    fn write_head(&mut self, owner: UserNumber, name: &str, head: &Head) -> Result<()> {
        let row = codec::encode(head)?;
        self.writer.open_table(CREDENTIALS)?.insert(head_key(owner, name).as_slice(), row.as_slice())?;
        Ok(())
    }

    fn forget_secret(&mut self, owner: UserNumber, name: &str, stamp: u64) -> Result<()> {
        self.writer.open_table(CREDENTIAL_SECRETS)?.remove(secret_key(owner, name, stamp).as_slice())?;
        Ok(())
    }

    fn clear_credential(&mut self, owner: UserNumber, name: &str, head: &Head) -> Result<()> {
        self.forget_secret(owner, name, head.stamp)?;
        if let Some(previous) = head.previous {
            self.forget_secret(owner, name, previous.stamp)?;
        }
        self.writer.open_table(CREDENTIALS)?.remove(head_key(owner, name).as_slice())?;
        Ok(())
    }

    fn record_credential<O>(&mut self, proof: &Proof<'_, O>, action: AuditAction, name: &str) -> Result<()> {
        self.record(AuditEntry {
            at: self.at,
            user: Some(proof.user().clone()),
            operator: proof.operator().map(str::to_owned),
            action,
            namespace: None,
            private: true,
            key: Some(name.to_owned()),
            renamed_to: None,
            outcome: AuditOutcome::Done,
        })
    }
}

pub(super) fn damaged() -> Reason {
    Reason::DamagedRecord("credential")
}

/// `user u32 BE | name`.
fn head_key(owner: UserNumber, name: &str) -> Vec<u8> {
    [&owner.0.to_be_bytes()[..], name.as_bytes()].concat()
}

/// `user u32 BE | name | 0 | stamp u64 BE`; no name has a zero in it.
fn secret_key(owner: UserNumber, name: &str, stamp: u64) -> Vec<u8> {
    [&head_key(owner, name)[..], &[0], &stamp.to_be_bytes()].concat()
}

/// User, name and stamp of a secret's key.
pub(super) fn parse_secret_key(key: &[u8]) -> Result<(UserNumber, &str, u64)> {
    let parsed = || {
        let (owner, rest) = key.split_first_chunk::<4>()?;
        let (rest, stamp) = rest.split_last_chunk::<8>()?;
        let name = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
        Some((UserNumber(u32::from_be_bytes(*owner)), name, u64::from_be_bytes(*stamp)))
    };
    parsed().ok_or_else(|| damaged().into())
}

/// The salt of a `USER_SALTS` value.
pub(super) fn stored_salt(value: &[u8]) -> Result<[u8; USER_SALT_BYTES]> {
    value.try_into().map_err(|_| damaged().into())
}

/// All credentials of a user, expired ones too, by name.
fn heads(
    credentials: &impl ReadableTable<&'static [u8], &'static [u8]>,
    owner: UserNumber,
) -> Result<Vec<(String, Head)>> {
    let first = owner.0.to_be_bytes();
    let mut found = Vec::new();
    for row in credentials.range(first.as_slice()..)? {
        let (key, value) = row?;
        let Some(name) = key.value().strip_prefix(&first) else { break };
        let name = std::str::from_utf8(name).map_err(|_| damaged())?;
        found.push((name.to_owned(), codec::decode(value.value())?));
    }
    Ok(found)
}
