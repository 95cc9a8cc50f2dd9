//! Re-keying one tenant: its rows go over to a fresh file under a fresh key, and the pair before is destroyed. An erasure
//! of a user is a re-keying on which that user's rows do not come along.
//!
//! Order: mark *rekeying* in the catalog, key file, data file, the tenant's row with the next epoch, exchange of the open
//! files, former key shredded, former data removed, mark taken away. Until the row has the next epoch nothing has
//! happened; from then on everything has. After a crash the row says which pair counts, and the other one goes.

use std::any::Any;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Inner;
use super::pool::TenantSlot;
use super::receipt::{Actor, Destroyed, Receipt, ReceiptFacts};
use crate::catalog::tenants::{Act, TenantRecord, TenantStatus};
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::id::{Epoch, Incarnation, TenantId};
use crate::meter::Meters;
use crate::store::database::{Switched, new_turn, wait_inside_transaction};
use crate::store::directory::file_exists;
use crate::tenant::carry::{Next, RekeyProgress};
use crate::tenant::erase::{Erase, ErasedUser};
use crate::tenant::open::{FileKeys, Owner};

/// The caller's part in a re-keying: told the progress, it may give up.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(RekeyProgress) -> ControlFlow<()>;

impl Inner {
    /// Re-keys the tenant of a name, by order of an operator.
    pub(super) fn rekey_by_name(&self, act: Act<'_>, tenant: &TenantId, progress: Progress<'_>) -> Result<Receipt> {
        let slot = {
            let _stable = self.lifecycle.read();
            let record = self.catalog.tenant(tenant)?.ok_or_else(Error::not_found)?;
            if matches!(record.status, TenantStatus::Provisioning | TenantStatus::Purging) {
                return Err(Reason::TenantState.into());
            }
            self.pool.slot(tenant, record.incarnation, record.epoch)
        };
        let by = Actor::Operator(act.operator.unwrap_or_default().to_owned());
        let (_, receipt) = self.rekey(act, &slot, None, by, progress).map_err(|error| slot.ended().unwrap_or(error))?;
        Ok(receipt)
    }

    /// Erases a user of a tenant, by order of an admin of the tenant.
    pub(crate) fn erase_user(
        &self,
        slot: &Arc<TenantSlot>,
        erase: Erase<'_>,
        progress: Progress<'_>,
    ) -> Result<(ErasedUser, Receipt)> {
        let act = Act { operator: None, at: erase.proof.at() };
        let by = Actor::User(erase.proof.user().clone());
        // What the user gave out opens nothing any more, and is not told of any more.
        for key in self.api_keys(slot.incarnation)?.iter().filter(|key| key.created_by == *erase.user) {
            self.revoke_api_key(slot.incarnation, key.id)?;
        }
        let done = self.rekey(act, slot, Some(erase), by, progress);
        // A tenant that is purged meanwhile is gone for whoever asks.
        let (erased, receipt) = done.map_err(|error| slot.ended().unwrap_or(error))?;
        Ok((erased.ok_or_else(Error::not_found)?, receipt))
    }

    fn rekey(
        &self,
        act: Act<'_>,
        slot: &Arc<TenantSlot>,
        erase: Option<Erase<'_>>,
        by: Actor,
        progress: Progress<'_>,
    ) -> Result<(Option<ErasedUser>, Receipt)> {
        if slot.is_changing_here() {
            return Err(Error::invalid("re-keying", "a transaction of the tenant is under way in this thread"));
        }
        let _under_way = self.begin_steps();
        let _files = {
            // Another re-keying may have it, and wait for a transaction that waits for this thread's.
            let _waiting = wait_inside_transaction(&slot.turn)?;
            slot.lock_files()
        };
        let (tenant, incarnation) = (&slot.tenant, slot.incarnation);
        // An earlier call may not have been able to tidy up.
        if let Some(to) = self.catalog.rekeying(tenant, incarnation)? {
            self.tidy_up(act, slot, to)?;
        }
        let from = self.epoch_of(slot)?;
        let to = from.next()?;
        self.check_free(incarnation, to)?;
        // What is to be destroyed in the end must be there in the beginning: a file that is away goes on to exist elsewhere.
        self.see(incarnation, from)?;
        {
            let _exclusive = self.lifecycle.write();
            match self.catalog.begin_rekey(act, tenant, incarnation) {
                Err(error) if *error.reason() == Reason::CommitUnknown => {
                    match self.catalog.rekeying(tenant, incarnation) {
                        Ok(Some(marked)) if marked == to => {}
                        _ => return Err(error),
                    }
                }
                begun => drop(begun?),
            }
        }
        let gone = match self.go_over(slot, to, erase, progress) {
            Ok(gone) => gone,
            Err(Stopped::Undecided(error)) => return Err(error),
            Err(Stopped::Undone(error)) if *error.reason() == Reason::Forked => return Err(error),
            Err(stopped) => {
                if let Err(error) = self.tidy_up(act, slot, to) {
                    tracing::warn!(%tenant, reason = %error, "a re-keying that stopped is tidied up later");
                }
                match stopped {
                    Stopped::Undone(error) | Stopped::Undecided(error) => return Err(error),
                    Stopped::Panicked(payload) => resume_unwind(payload),
                }
            }
        };
        self.tidy_up(act, slot, to)?;
        let destroyed = gone.clone().map_or(Destroyed::FormerKey, Destroyed::User);
        let at = self.clock.now();
        let facts = ReceiptFacts { destroyed, tenant: tenant.clone(), incarnation, last_epoch: from, at, by };
        Ok((gone, self.issue(&facts)?))
    }

    /// The epoch of the files that count.
    pub(super) fn epoch_of(&self, slot: &TenantSlot) -> Result<Epoch> {
        if let Some(epoch) = slot.epoch() {
            return Ok(epoch);
        }
        let record = self.catalog.tenant(&slot.tenant)?.filter(|record| record.incarnation == slot.incarnation);
        let epoch = record.ok_or_else(Error::not_found)?.epoch;
        slot.set_epoch(Some(epoch));
        Ok(epoch)
    }

    /// From the key file of the next epoch to the exchange of the open files.
    fn go_over(
        &self,
        slot: &Arc<TenantSlot>,
        to: Epoch,
        erase: Option<Erase<'_>>,
        progress: Progress<'_>,
    ) -> Result<Option<ErasedUser>, Stopped> {
        let incarnation = slot.incarnation;
        let lease = self.lease(slot, self.clock.now())?;
        let key = self.make_key(incarnation, to)?;
        let proof = erase.as_ref().map(|erase| erase.proof);
        let turn = || proof.map_or_else(|| Ok(self.clock.now()), |proof| proof.turn());
        let mut panic = None;
        let mut watch = |done: RekeyProgress| {
            // Whoever purges the tenant or closes the engine waits for the files.
            if let Some(ended) = slot.ended() {
                return Err(ended);
            }
            if self.closing.load(Ordering::SeqCst) {
                return Err(Reason::Closed.into());
            }
            let answer = catch_unwind(AssertUnwindSafe(|| progress(done)));
            self.process.check_by_id()?;
            match answer {
                Ok(ControlFlow::Continue(())) => Ok(()),
                Ok(ControlFlow::Break(())) => Err(Reason::Cancelled.into()),
                Err(payload) => {
                    panic = Some(payload);
                    Err(Reason::Cancelled.into())
                }
            }
        };
        let next = Next {
            spec: self.tenant_spec(incarnation, to, &key),
            owner: Owner::new(self.id, incarnation, to),
            keys: FileKeys { cursors: key.cursors(), credentials: key.into_credentials() },
            erase,
            turn: &turn,
            watch: &mut watch,
        };
        let undecided = Cell::new(false);
        let switch = || {
            // The copy may have taken its time.
            let switched = turn().map_or_else(Switched::No, |_| self.switch(slot, to));
            if matches!(switched, Switched::Unknown(_)) {
                undecided.set(true);
                slot.set_epoch(None);
            }
            switched
        };
        let carried = lease.tenant()?.carry_over(next, switch, || slot.set_epoch(Some(to)));
        carried.map_err(|error| match panic {
            Some(payload) => Stopped::Panicked(payload),
            None if undecided.get() => Stopped::Undecided(error),
            None => Stopped::Undone(error),
        })
    }

    /// Writes the next epoch into the tenant's row.
    fn switch(&self, slot: &TenantSlot, to: Epoch) -> Switched {
        let _exclusive = self.lifecycle.write();
        match self.catalog.switch_epoch(&slot.tenant, slot.incarnation, to) {
            Ok(_) => Switched::Yes,
            Err(error) if *error.reason() == Reason::CommitUnknown => match self.catalog.tenant(&slot.tenant) {
                Ok(Some(row)) if row.incarnation == slot.incarnation && row.epoch == to => Switched::Yes,
                Ok(_) => Switched::No(error),
                // Either pair may be the one that counts.
                Err(_) => Switched::Unknown(error),
            },
            Err(error) => Switched::No(error),
        }
    }

    /// Destroys the pair that does not count and takes the mark away.
    fn tidy_up(&self, act: Act<'_>, slot: &TenantSlot, to: Epoch) -> Result<()> {
        self.destroy_other(&slot.tenant, slot.incarnation, self.epoch_of(slot)?, to)?;
        let _exclusive = self.lifecycle.write();
        self.catalog.finish_rekey(act, &slot.tenant, slot.incarnation)
    }

    /// At open: a re-keying that was interrupted. Nothing is destroyed before the pair that stays was seen to open.
    pub(super) fn finish_rekey(&self, tenant: &TenantId, record: &TenantRecord, to: Epoch) -> Result<()> {
        let incarnation = record.incarnation;
        let from = to.before()?;
        let act = Act { operator: None, at: self.clock.now() };
        if record.epoch != from && record.epoch != to {
            return Err(Reason::DamagedRecord("unfinished tenant").into());
        }
        if self.opens(incarnation, record.epoch)? {
            self.destroy_other(tenant, incarnation, record.epoch, to)?;
        } else if record.epoch == from && self.is_destroyed(incarnation, from)? && self.opens(incarnation, to)? {
            // An older catalog was put back: this is how it went on. What was in the former file is in this one, and whether
            // the former files are gone was on record in the catalog that is not there any more.
            self.catalog.rekey_emptied(tenant)?;
            self.catalog.switch_epoch(tenant, incarnation, to)?;
            self.destroy_other(tenant, incarnation, to, to)?;
        } else {
            return Err(Reason::DamagedFile("neither file of a re-keying opens").into());
        }
        self.catalog.finish_rekey(act, tenant, incarnation)
    }

    /// Whether a pair of key and data file is whole.
    fn opens(&self, incarnation: Incarnation, epoch: Epoch) -> Result<bool> {
        let meters = Meters::new(self.pool.activity.clone());
        match self.open_tenant(incarnation, epoch, &Cell::new(false), new_turn(), meters, self.pool.room(None)) {
            Ok(tenant) => {
                tenant.close();
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::KeyUnavailable) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Files of a later epoch than the row names belong to a catalog that is newer than this one: they are not touched.
    fn check_free(&self, incarnation: Incarnation, epoch: Epoch) -> Result<()> {
        for path in [self.layout.tenant_key(incarnation, epoch), self.layout.tenant_data(incarnation, epoch)] {
            if file_exists(&*self.disk, &path)? {
                return Err(Reason::ForeignFile("a tenant's file of a later epoch").into());
            }
        }
        Ok(())
    }
}

/// Why the tenant did not go over.
enum Stopped {
    /// It is where it was.
    Undone(Error),
    /// Where it is shows when the engine is opened again.
    Undecided(Error),
    /// It is where it was, and the caller's code panicked.
    Panicked(Box<dyn Any + Send>),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Undone(error)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::crypto::page::{PAGE_BYTES, PageCipher, PageScope, SLOT_BYTES};
    use crate::crypto::tenant_key::TenantKey;
    use crate::engine::core::Engine;
    use crate::id::{Issuer, UserId};
    use crate::identity::authority::{Attestation, Authority};
    use crate::identity::scope::Scopes;
    use crate::store::directory::read_small;
    use crate::store::file::{Disk, EntryKind};
    use crate::tenant::credential::Credential;
    use crate::tenant::erase::Authored;
    use crate::tenant::memory::Memory;
    use crate::{Operator, TenantHandle, TenantSpec};

    const CANARY: &str = "canary-77e1";

    struct Scene {
        engine: Engine,
        authority: Authority,
    }

    impl Scene {
        fn new() -> Self {
            let (engine, authority) = Engine::in_memory().unwrap();
            let scene = Self { engine, authority };
            for tenant in ["acme", "zoo"] {
                let spec = TenantSpec::new(tenant).unwrap().trusts(Issuer::authority());
                scene.operator().provision(spec).unwrap();
                scene.fill(&scene.enter(tenant, "alice"), "alice");
            }
            scene.fill(&scene.enter("acme", "bob"), CANARY);
            scene
        }

        fn operator(&self) -> Operator {
            self.engine.operator(&self.authority.attest_operator("ops").unwrap()).unwrap()
        }

        fn enter(&self, tenant: &str, user: &str) -> TenantHandle {
            let attestation = Attestation::new(tenant, user).unwrap().scopes(Scopes::ALL);
            self.engine.tenant(&self.authority.attest(attestation).unwrap()).unwrap()
        }

        fn fill(&self, handle: &TenantHandle, whose: &str) {
            for namespace in ["diary", whose] {
                let own = handle.private(namespace).unwrap();
                for number in 0..30 {
                    let memory = Memory::new(format!("{whose} {number}")).text(whose.repeat(50)).vector(vec![1.0, 2.0]);
                    own.put(memory.metadata(whose, whose)).unwrap();
                }
                own.once(&format!("{whose}-{namespace}")).unwrap().put(Memory::new("once")).unwrap();
            }
            let credential = Credential::new(whose).metadata(whose, whose);
            handle.credentials().put(&whose.replace('-', "_"), &credential).unwrap();
        }

        /// Every file with its bytes.
        fn files(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
            let inner = &self.engine.0;
            let mut found = Vec::new();
            walk(&*inner.disk, inner.layout.root(), &mut found);
            found
        }

        /// The cipher of every file under every key that can still be had from what is on disk.
        fn live_ciphers(&self) -> Vec<PageCipher> {
            let inner = &self.engine.0;
            let mut ciphers =
                vec![PageCipher::new(&inner.keyring.keys().catalog().pages(), PageScope::catalog(inner.id))];
            let names: Vec<_> = self.files().into_iter().map(|(path, _)| path).collect();
            let incarnations = self.operator().list(None, 10).unwrap().into_iter().map(|info| info.incarnation);
            for incarnation in incarnations {
                for path in &names {
                    let name = path.file_name().unwrap().to_str().unwrap();
                    let Some(epoch) = crate::store::layout::Layout::epoch_of_key(incarnation, name) else { continue };
                    let file = read_small(&*inner.disk, path, 4_096).unwrap().unwrap();
                    let key = TenantKey::unwrap(&file, &inner.keyring.keys(), incarnation, epoch).unwrap();
                    // Under its own epoch, and under those before, whose pages it must not open either.
                    for epoch in 1..=epoch.0 {
                        let scope = PageScope::tenant(inner.id, incarnation, Epoch(epoch));
                        ciphers.push(PageCipher::new(&key.pages(), scope));
                    }
                }
            }
            ciphers
        }
    }

    fn walk(disk: &dyn Disk, directory: &Path, found: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
        for name in disk.list(directory).unwrap() {
            let path = directory.join(name);
            match disk.inspect(&path).unwrap().unwrap().kind {
                EntryKind::Directory => walk(disk, &path, found),
                _ => {
                    let file = disk.open(&path).unwrap();
                    let mut bytes = vec![0; file.len().unwrap() as usize];
                    file.read_at(0, &mut bytes).unwrap();
                    found.push((path, bytes));
                }
            }
        }
    }

    /// The pages of a file that open under any of the ciphers.
    fn opened(bytes: &[u8], ciphers: &[PageCipher]) -> Vec<[u8; PAGE_BYTES]> {
        let mut pages = Vec::new();
        for cipher in ciphers {
            let mut page = [0; PAGE_BYTES];
            for (copy, at) in [0, 8_192].into_iter().enumerate() {
                let Some(slot) = bytes.get(at..).and_then(|rest| rest.first_chunk::<SLOT_BYTES>()) else { continue };
                pages.extend(cipher.open_header(copy, slot, &mut page).is_ok().then_some(page));
            }
            let slots = bytes.get(16_384..).unwrap_or_default().as_chunks::<SLOT_BYTES>().0;
            for (number, slot) in (1..).zip(slots) {
                pages.extend(cipher.open_pages(number, slot, &mut page).is_ok().then_some(page));
            }
        }
        pages
    }

    fn has(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// How many pages of all files open, and whether the canary is in one of them or in plain sight.
    fn searched(scene: &Scene) -> (usize, bool) {
        let ciphers = scene.live_ciphers();
        let files = scene.files();
        assert!(files.iter().all(|(_, bytes)| !has(bytes, CANARY)), "in plaintext");
        let pages: Vec<_> = files.iter().flat_map(|(_, bytes)| opened(bytes, &ciphers)).collect();
        (pages.len(), pages.iter().any(|page| has(page, CANARY)))
    }

    fn go_on(_: RekeyProgress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// The files of a tenant as they were.
    fn former(scene: &Scene, tenant: &str) -> Vec<Vec<u8>> {
        let incarnation = scene.operator().inspect(&TenantId::new(tenant).unwrap()).unwrap().incarnation.to_string();
        let is_data =
            |path: &Path| path.to_str().unwrap().contains(&incarnation) && path.extension().unwrap() == "redb";
        scene.files().into_iter().filter(|(path, _)| is_data(path)).map(|(_, bytes)| bytes).collect()
    }

    #[test]
    fn what_was_deleted_lingers_until_the_tenant_is_rekeyed() {
        let scene = Scene::new();
        let bob = scene.enter("acme", "bob");
        for namespace in ["diary", CANARY] {
            bob.private(namespace).unwrap().delete_namespace().unwrap();
        }
        bob.credentials().delete(&CANARY.replace('-', "_")).unwrap();
        assert!(searched(&scene).1, "redb leaves what was deleted where it was, or this test sees nothing");
        let before = former(&scene, "acme");
        assert!(!opened(&before[0], &scene.live_ciphers()).is_empty());
        scene.operator().rekey(bob.id(), go_on).unwrap();
        assert_eq!(opened(&before[0], &scene.live_ciphers()).len(), 0);
        let (pages, found) = searched(&scene);
        // His part of the trail still names what was his: he was not erased.
        assert!(pages > 20 && found);
        scene.enter("acme", "alice").erase_user(bob.user(), Authored::Goes, go_on).unwrap();
        let (pages, found) = searched(&scene);
        assert!(pages > 20 && !found, "a page with the canary opens");
    }

    #[test]
    fn nothing_of_an_erased_user_can_be_decrypted_any_more() {
        let scene = Scene::new();
        assert!(searched(&scene).1);
        let (before, zoo) = (former(&scene, "acme"), former(&scene, "zoo"));
        let gone = UserId::new(Issuer::authority(), "bob").unwrap();
        scene.enter("acme", "alice").erase_user(&gone, Authored::Goes, go_on).unwrap();
        let (pages, found) = searched(&scene);
        assert!(pages > 20 && !found, "a page with the canary opens");
        assert_eq!(opened(&before[0], &scene.live_ciphers()).len(), 0);
        assert!(!opened(&zoo[0], &scene.live_ciphers()).is_empty(), "the neighbour's open as before");
    }

    #[test]
    fn nothing_of_a_purged_tenant_can_be_decrypted_any_more() {
        let scene = Scene::new();
        let acme = TenantId::new("acme").unwrap();
        scene.operator().rekey(&acme, go_on).unwrap();
        let before = former(&scene, "acme");
        let live = opened(&before[0], &scene.live_ciphers()).len();
        scene.operator().purge(&acme).unwrap();
        assert!(live > 5);
        assert_eq!(opened(&before[0], &scene.live_ciphers()).len(), 0);
        let (pages, found) = searched(&scene);
        assert!(pages > 5 && !found);
    }
}
