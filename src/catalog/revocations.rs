//! Identities that are good no longer, by tenant: everybody's, a subject's, or one token's.
//!
//! A row says up to when identities were issued that it refuses, or names one token. It stays until the last of them has
//! expired by itself; each new row clears away some whose time is over.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::api_keys;
use super::audit::OperatorAction;
use super::binding::{self, RowSet};
use super::tenants::{self, Act, Catalog, TenantRecord, TenantStatus};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{Incarnation, Issuer, TenantId, UserId, check_token_id, length_prefixed};
use crate::limits::{
    API_KEY_LIFETIME_SECONDS_MAX, LEEWAY_SECONDS_MAX, REVOCATION_KEPT_SECONDS, REVOCATIONS_MAX, REVOCATIONS_SWEPT,
    TOKEN_LIFETIME_SECONDS_MAX,
};
use crate::store::codec::{self, Record};
use crate::store::database::Writer;
use crate::store::schema::{CatalogTables, REVOCATION_ENDS, REVOCATIONS};

/// Incarnations of which it is remembered that their revocations were walked.
const WALKED_KEPT: usize = 4_096;

/// What shall be good no longer at a tenant.
///
/// ```
/// use watertight::*;
///
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let admin = engine.tenant(&authority.attest(Attestation::new("acme", "root")?.scopes(Scopes::ALL))?)?;
/// let alice = Attestation::new("acme", "alice")?.scopes(Scopes::ALL).session("login-7")?;
/// let alice = authority.attest(alice)?;
/// let handle = engine.tenant(&alice)?;
///
/// let login = Revocation::token(alice.user().issuer(), "login-7", alice.expires_at())?;
/// admin.revoke(&login)?;
/// assert_eq!(handle.usage().unwrap_err().kind(), ErrorKind::Unauthenticated);
///
/// // Whatever alice was given up to now; what she is given from now on is good.
/// admin.revoke(&Revocation::subject(alice.user()))?;
/// assert!(engine.tenant(&authority.attest(Attestation::new("acme", "alice")?)?).is_ok());
///
/// // The admin's own identity included.
/// admin.revoke(&Revocation::everyone())?;
/// assert_eq!(admin.usage().unwrap_err().kind(), ErrorKind::Unauthenticated);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation(What);

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Everyone,
    Subject(UserId),
    Token { issuer: Issuer, id: String, expires_at: Timestamp },
}

impl Revocation {
    /// One token, by its `jti`, or one login that the application attested, by its session. It is remembered until
    /// `expires_at`, which must not be before the token's own expiry. API keys that were made with it stay: who does not
    /// trust what was done with it revokes the subject.
    ///
    /// # Errors
    /// `InvalidInput` when the id is not 1 to 255 bytes of visible ASCII.
    pub fn token(issuer: &Issuer, id: &str, expires_at: Timestamp) -> Result<Self> {
        check_token_id(id)?;
        Ok(Self(What::Token { issuer: issuer.clone(), id: id.to_owned(), expires_at }))
    }

    /// Every identity of a user that was issued up to the moment of the call, and the API keys that the user has made.
    /// Tokens count whole seconds and issuers' clocks differ, so a token issued within its verifier's leeway, or the same
    /// second, after it is refused too.
    ///
    /// What is issued to the user afterwards is good, and an owner of the tenant is an owner still
    /// ([`Operator::set_owners`](crate::Operator::set_owners)): a user is shut out for good by its issuer.
    #[must_use]
    pub fn subject(user: &UserId) -> Self {
        Self(What::Subject(user.clone()))
    }

    /// Every identity that was issued up to the moment of the call, the caller's own included, and all API keys.
    #[must_use]
    pub fn everyone() -> Self {
        Self(What::Everyone)
    }

    fn name(&self) -> Name {
        match &self.0 {
            What::Everyone => Name::everyone(),
            What::Subject(user) => Name::subject(user),
            What::Token { issuer, id, .. } => Name::token(issuer, id),
        }
    }

    /// When the last identity that it refuses has expired by itself, and whatever may outlive that. Absent for never.
    fn until(&self, at: Timestamp) -> Option<Timestamp> {
        let kept = |until: Timestamp| until.after(Duration::from_secs(REVOCATION_KEPT_SECONDS));
        let leeway = Duration::from_secs(LEEWAY_SECONDS_MAX);
        let newest_token = at.after(Duration::from_secs(TOKEN_LIFETIME_SECONDS_MAX)).after(leeway).after(leeway);
        match &self.0 {
            What::Everyone => None,
            What::Subject(user) if user.issuer().is_api_keys() => {
                Some(kept(at.after(Duration::from_secs(API_KEY_LIFETIME_SECONDS_MAX))))
            }
            What::Subject(_) => Some(kept(newest_token)),
            What::Token { expires_at, .. } => Some(kept(expires_at.after(leeway).min(newest_token))),
        }
    }
}

impl fmt::Display for Revocation {
    /// As it stands in the audit trail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            What::Everyone => f.write_str("everyone"),
            What::Subject(user) => write!(f, "subject {user} of {}", user.issuer()),
            What::Token { issuer, id, .. } => write!(f, "token {id} of {issuer}"),
        }
    }
}

/// What a revocation is filed under within its tenant.
struct Name(Vec<u8>);

impl Name {
    fn everyone() -> Self {
        Self(vec![0])
    }

    fn subject(user: &UserId) -> Self {
        Self([&[1][..], &user.to_bytes()].concat())
    }

    fn token(issuer: &Issuer, id: &str) -> Self {
        Self([&[2][..], &length_prefixed(&[issuer.as_str().as_bytes(), id.as_bytes()])].concat())
    }

    fn key(&self, incarnation: Incarnation) -> Vec<u8> {
        [incarnation.as_bytes().as_slice(), &self.0].concat()
    }
}

/// A revocation in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct StoredRevocation {
    /// Identities issued up to then are refused.
    at: Timestamp,
    /// From when on there are none left. Absent for never.
    until: Option<Timestamp>,
}

impl Record for StoredRevocation {
    const KIND: u8 = 6;
    const NAME: &'static str = "revocation";
}

/// What of an identity a revocation can be about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bearer<'a> {
    pub(crate) incarnation: Incarnation,
    pub(crate) user: &'a UserId,
    pub(crate) issued_at: Timestamp,
    pub(crate) token_id: Option<&'a str>,
}

impl Catalog {
    /// Whether an identity was revoked at its tenant. An API key is, when it is not there any more.
    pub(crate) fn is_revoked(&self, bearer: Bearer<'_>) -> Result<bool> {
        self.database.read(|tables| {
            self.check_whole(tables, bearer.incarnation)?;
            Ok(is_revoked(&tables.revocations, bearer)? || api_keys::is_gone(&tables.tenant_api_keys, bearer)?)
        })
    }

    /// Walks the revocations of an incarnation, once for each change of them. A row that is missing, or older than it was,
    /// would let in whom it refuses.
    fn check_whole(&self, tables: &CatalogTables, incarnation: Incarnation) -> Result<()> {
        let expected = binding::revocations(&tables.meta, incarnation)?;
        if self.walked.lock().get(&incarnation) == Some(&expected) {
            return Ok(());
        }
        let (mut found, keys) = (RowSet::default(), of(incarnation));
        for row in tables.revocations.range::<&[u8]>(keys.start().as_slice()..=keys.end().as_slice())? {
            let (key, value) = row?;
            found.add(key.value(), value.value());
        }
        if found != expected {
            return Err(binding::damaged_revocations());
        }
        let mut walked = self.walked.lock();
        if walked.len() >= WALKED_KEPT {
            walked.clear();
        }
        walked.insert(incarnation, found);
        Ok(())
    }

    /// Makes a revocation durable. The handles are told by the caller, afterwards.
    ///
    /// # Errors
    /// `NotFound` when the incarnation does not have the name, `Limit` when there are too many already.
    pub(crate) fn revoke(
        &self,
        act: Act<'_>,
        tenant: &TenantId,
        incarnation: Incarnation,
        what: &Revocation,
    ) -> Result<()> {
        self.database.write(|mut writer| {
            in_service(&mut writer, tenant, incarnation)?;
            sweep(&mut writer, act.at)?;
            match &what.0 {
                What::Everyone => {
                    // It stands for all the others.
                    forget(&mut writer, incarnation)?;
                    api_keys::forget(&mut writer, incarnation)?;
                }
                // Keys would otherwise be a way back in for whoever is shut out.
                What::Subject(user) => api_keys::forget_made_by(&mut writer, incarnation, user, act.at)?,
                What::Token { .. } => {}
            }
            let key = what.name().key(incarnation);
            let before = stored(&writer.open_table(REVOCATIONS)?, &key)?;
            if before.is_none() && count(&mut writer, incarnation)? >= REVOCATIONS_MAX {
                return Err(Reason::Full { what: "revocations", limit: REVOCATIONS_MAX as u64 }.into());
            }
            // Saying it once more never shortens it.
            let until = what.until(act.at).max(before.and_then(|before| before.until));
            let row = StoredRevocation { at: act.at, until };
            if let Some(end) = before.and_then(|before| before.until) {
                writer.open_table(REVOCATION_ENDS)?.remove(end_key(end, &key).as_slice())?;
            }
            let value = codec::encode(&row)?;
            let replaced = {
                let mut revocations = writer.open_table(REVOCATIONS)?;
                let replaced = revocations.insert(key.as_slice(), value.as_slice())?;
                replaced.map(|row| row.value().to_vec())
            };
            binding::change_revocations(&mut writer, incarnation, |set| {
                replaced.iter().for_each(|replaced| set.remove(&key, replaced));
                set.add(&key, &value);
            })?;
            if let Some(end) = row.until {
                writer.open_table(REVOCATION_ENDS)?.insert(end_key(end, &key).as_slice(), [].as_slice())?;
            }
            if act.operator.is_some() {
                tenants::audit(&mut writer, act, OperatorAction::Revoke, tenant, incarnation)?;
            }
            Ok(())
        })
    }
}

/// The row of a tenant that is not being made or destroyed.
pub(super) fn in_service(writer: &mut Writer<'_>, tenant: &TenantId, incarnation: Incarnation) -> Result<TenantRecord> {
    let record = binding::current(writer, tenant)?.ok_or_else(Error::not_found)?;
    let serves = matches!(record.status, TenantStatus::Active | TenantStatus::Suspended);
    if record.incarnation == incarnation && serves { Ok(record) } else { Err(Error::not_found()) }
}

/// Whether a row refuses the bearer.
pub(super) fn is_revoked(
    revocations: &impl ReadableTable<&'static [u8], &'static [u8]>,
    bearer: Bearer<'_>,
) -> Result<bool> {
    for name in [Name::everyone(), Name::subject(bearer.user)] {
        if stored(revocations, &name.key(bearer.incarnation))?.is_some_and(|row| bearer.issued_at <= row.at) {
            return Ok(true);
        }
    }
    let Some(id) = bearer.token_id else { return Ok(false) };
    let token = Name::token(bearer.user.issuer(), id);
    Ok(stored(revocations, &token.key(bearer.incarnation))?.is_some())
}

fn stored(
    revocations: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<StoredRevocation>> {
    revocations.get(key)?.map(|row| codec::decode(row.value())).transpose()
}

fn count(writer: &mut Writer<'_>, incarnation: Incarnation) -> Result<usize> {
    let revocations = writer.open_table(REVOCATIONS)?;
    let (first, last) = of(incarnation).into_inner();
    let mut count = 0;
    for row in revocations.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
        row?;
        count += 1;
    }
    Ok(count)
}

/// Clears away some of the rows whose time is over, of any tenant.
fn sweep(writer: &mut Writer<'_>, now: Timestamp) -> Result<()> {
    let mut due = Vec::new();
    {
        let ends = writer.open_table(REVOCATION_ENDS)?;
        for row in ends.range::<&[u8]>(..end_key(now, &[]).as_slice())?.take(REVOCATIONS_SWEPT) {
            due.push(row?.0.value().to_vec());
        }
    }
    for end in due {
        writer.open_table(REVOCATION_ENDS)?.remove(end.as_slice())?;
        let damaged = || Reason::DamagedRecord("end of a revocation");
        let (_, key) = end.split_first_chunk::<8>().ok_or_else(damaged)?;
        let incarnation = *key.first_chunk::<16>().ok_or_else(damaged)?;
        // The row itself says when it ends: it may have been renewed since this end was written.
        let row = writer.open_table(REVOCATIONS)?.get(key)?.map(|row| row.value().to_vec());
        let Some(row) = row else { continue };
        if codec::decode::<StoredRevocation>(&row)?.until.is_none_or(|until| end_key(until, key) != end) {
            continue;
        }
        writer.open_table(REVOCATIONS)?.remove(key)?;
        let incarnation = Incarnation::from_bytes(incarnation);
        binding::change_revocations(writer, incarnation, |set| set.remove(key, &row))?;
    }
    Ok(())
}

/// Removes every row of an incarnation.
pub(super) fn forget(writer: &mut Writer<'_>, incarnation: Incarnation) -> Result<()> {
    let mut rows: Vec<(Vec<u8>, StoredRevocation)> = Vec::new();
    {
        let revocations = writer.open_table(REVOCATIONS)?;
        let (first, last) = of(incarnation).into_inner();
        for row in revocations.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
            let (key, row) = row?;
            rows.push((key.value().to_vec(), codec::decode(row.value())?));
        }
    }
    for (key, row) in rows {
        writer.open_table(REVOCATIONS)?.remove(key.as_slice())?;
        if let Some(end) = row.until {
            writer.open_table(REVOCATION_ENDS)?.remove(end_key(end, &key).as_slice())?;
        }
    }
    binding::change_revocations(writer, incarnation, |set| *set = RowSet::default())
}

/// All keys of an incarnation: no kind is 255.
pub(super) fn of(incarnation: Incarnation) -> RangeInclusive<Vec<u8>> {
    let id = incarnation.as_bytes().as_slice();
    id.to_vec()..=[id, &[u8::MAX]].concat()
}

fn end_key(until: Timestamp, key: &[u8]) -> Vec<u8> {
    [&until.as_micros().to_be_bytes()[..], key].concat()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::id::Epoch;
    use crate::limits::CATALOG_CACHE_BYTES;
    use crate::store::database::FileSpec;
    use crate::store::memory::MemoryDisk;

    fn at(seconds: u64) -> Act<'static> {
        Act { operator: Some("ops"), at: Timestamp::from_seconds(seconds) }
    }

    fn alice() -> UserId {
        UserId::new(Issuer::authority(), "alice").unwrap()
    }

    fn token(id: &str, expires_at: u64) -> Revocation {
        Revocation::token(&Issuer::authority(), id, Timestamp::from_seconds(expires_at)).unwrap()
    }

    /// A catalog with one tenant in service.
    fn catalog() -> (Catalog, TenantId, Incarnation) {
        let spec = FileSpec {
            disk: Arc::new(MemoryDisk::new()),
            path: PathBuf::from("catalog.redb"),
            sealing: None,
            cache_bytes: CATALOG_CACHE_BYTES,
            always_quick_repair: true,
            check_bytes_max: u64::MAX,
        };
        let (catalog, acme) = (Catalog::create(spec).unwrap(), TenantId::new("acme").unwrap());
        let record = TenantRecord {
            incarnation: Incarnation::random().unwrap(),
            epoch: Epoch::FIRST,
            status: TenantStatus::Provisioning,
            plan: None,
            issuers: Vec::new(),
            owners: Vec::new(),
            created_at: Timestamp::from_seconds(0),
        };
        catalog.begin_provision(at(0), &acme, &record).unwrap();
        catalog.finish_provision(&acme, record.incarnation).unwrap();
        (catalog, acme, record.incarnation)
    }

    fn rows(catalog: &Catalog) -> (usize, usize) {
        let counted = catalog.database.write(|mut writer| {
            let rows = writer.open_table(REVOCATIONS)?.range::<&[u8]>(..)?.count();
            Ok((rows, writer.open_table(REVOCATION_ENDS)?.range::<&[u8]>(..)?.count()))
        });
        counted.unwrap()
    }

    /// Puts as many revoked tokens into the catalog as it may have, less `short`.
    fn fill(catalog: &Catalog, incarnation: Incarnation, short: usize) {
        let until = Timestamp::from_seconds(1_000);
        let row = codec::encode(&StoredRevocation { at: Timestamp::from_seconds(1), until: Some(until) }).unwrap();
        let filled = catalog.database.write(|mut writer| {
            for number in short..REVOCATIONS_MAX {
                let key = Name::token(&Issuer::authority(), &format!("t{number}")).key(incarnation);
                writer.open_table(REVOCATIONS)?.insert(key.as_slice(), row.as_slice())?;
                binding::change_revocations(&mut writer, incarnation, |set| set.add(&key, &row))?;
                writer.open_table(REVOCATION_ENDS)?.insert(end_key(until, &key).as_slice(), [].as_slice())?;
            }
            Ok(())
        });
        filled.unwrap();
    }

    #[test]
    fn a_tenant_has_a_bounded_number_of_revocations_and_those_past_their_time_go() {
        let (catalog, acme, incarnation) = catalog();
        fill(&catalog, incarnation, 1);
        catalog.revoke(at(10), &acme, incarnation, &token("last", 5_000)).unwrap();
        let full = catalog.revoke(at(10), &acme, incarnation, &token("more", 5_000)).unwrap_err();
        assert_eq!(*full.reason(), Reason::Full { what: "revocations", limit: REVOCATIONS_MAX as u64 });
        // One that is there already is renewed, and never for less.
        catalog.revoke(at(11), &acme, incarnation, &token("last", 6_000)).unwrap();
        catalog.revoke(at(12), &acme, incarnation, &token("last", 20)).unwrap();
        assert_eq!(rows(&catalog), (REVOCATIONS_MAX, REVOCATIONS_MAX));
        // At their end exactly they are still there, and then each new one clears away some.
        assert!(catalog.revoke(at(1_000), &acme, incarnation, &token("more", 5_000)).is_err());
        catalog.revoke(at(1_001), &acme, incarnation, &token("more", 5_000)).unwrap();
        assert_eq!(rows(&catalog).0, REVOCATIONS_MAX + 1 - REVOCATIONS_SWEPT);
        for _ in 0..=REVOCATIONS_MAX / REVOCATIONS_SWEPT {
            catalog.revoke(at(1_002), &acme, incarnation, &token("more", 5_000)).unwrap();
        }
        assert_eq!(rows(&catalog), (2, 2));
        let end = 6_030 + REVOCATION_KEPT_SECONDS;
        catalog.revoke(at(end), &acme, incarnation, &token("another", end + 9_000)).unwrap();
        assert_eq!(rows(&catalog), (2, 2), "the second has gone, the first is at its end");
    }

    #[test]
    fn everyone_stands_for_all_others_and_a_purge_leaves_none() {
        let (catalog, acme, incarnation) = catalog();
        let bearer = |issued_at| Bearer {
            incarnation,
            user: &ALICE,
            issued_at: Timestamp::from_seconds(issued_at),
            token_id: Some("t5"),
        };
        static ALICE: std::sync::LazyLock<UserId> = std::sync::LazyLock::new(alice);
        fill(&catalog, incarnation, 0);
        assert!(catalog.is_revoked(bearer(20)).unwrap());
        catalog.revoke(at(10), &acme, incarnation, &Revocation::everyone()).unwrap();
        assert_eq!(rows(&catalog), (1, 0));
        assert!(catalog.is_revoked(bearer(10)).unwrap());
        assert!(!catalog.is_revoked(bearer(11)).unwrap());
        catalog.revoke(at(12), &acme, incarnation, &Revocation::subject(&ALICE)).unwrap();
        assert!(catalog.is_revoked(bearer(12)).unwrap());
        let other = Incarnation::random().unwrap();
        assert!(!catalog.is_revoked(Bearer { incarnation: other, ..bearer(1) }).unwrap());
        catalog.begin_purge(at(13), &acme, None).unwrap();
        assert!(catalog.revoke(at(14), &acme, incarnation, &Revocation::everyone()).is_err());
        catalog.purge_emptied(&acme, Epoch::FIRST).unwrap();
        catalog.finish_removal(at(15), &acme, incarnation).unwrap();
        assert_eq!(rows(&catalog), (0, 0));
    }

    #[test]
    fn a_revocation_is_kept_until_the_last_identity_has_expired() {
        let now = Timestamp::from_seconds(100);
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let minute = Duration::from_secs(60);
        assert_eq!(Revocation::everyone().until(now), None);
        // A week more for what outlives its identity.
        assert_eq!(Revocation::subject(&alice()).until(now), Some(now.after(days(38)).after(minute)));
        let key = UserId::new(Issuer::api_keys(), "0123456789abcdef").unwrap();
        assert_eq!(Revocation::subject(&key).until(now), Some(now.after(days(373))));
        assert_eq!(token("t", 500).until(now), Some(Timestamp::from_seconds(530).after(days(7))));
        // Nothing lives longer than the longest token.
        assert_eq!(token("t", u64::MAX).until(now), Some(now.after(days(38)).after(minute)));
    }
}
