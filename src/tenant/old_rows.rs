//! Rows that are older than the rest of the file: each is put back by itself, as an old page in a large file does with
//! those that are on it, and must be an error and no permission.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::{ReadableTable, TableDefinition};

use super::open::Tenant;
use super::usage::Facts;
use crate::crypto::root_key::RootKey;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Issuer, TenantId, UserId};
use crate::identity::authority::{Attestation, Authority};
use crate::identity::scope::Scopes;
use crate::store::memory::MemoryDisk;
use crate::store::schema::{CREDENTIALS, MEMORIES, META, NAMESPACES, OUTCOME_TIMES, OUTCOMES, POLICY, USER_SALTS};
use crate::{Authored, Credential, Engine, List, Memory, Operator, Principal, TenantHandle, TenantSpec};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;
type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

struct Scene {
    engine: Engine,
    authority: Authority,
}

impl Scene {
    fn new() -> (Self, Arc<MemoryDisk>) {
        let disk = Arc::new(MemoryDisk::new());
        let scene = Self::open(&disk);
        scene.operator().provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
        scene.enter("root").memories("notes").unwrap().put(Memory::new("first")).unwrap();
        (scene, disk)
    }

    fn open(disk: &Arc<MemoryDisk>) -> Self {
        let key = RootKey::from_bytes(std::array::from_fn(|at| at as u8)).unwrap();
        let (engine, authority) = Engine::builder("/data").root_key(key).danger().disk(disk.clone()).open().unwrap();
        Self { engine, authority }
    }

    fn operator(&self) -> Operator {
        self.engine.operator(&self.authority.attest_operator("ops").unwrap()).unwrap()
    }

    fn enter(&self, user: &str) -> TenantHandle {
        self.try_enter(user).unwrap()
    }

    fn try_enter(&self, user: &str) -> Result<TenantHandle> {
        let attestation = Attestation::new("acme", user).unwrap().scopes(Scopes::ALL);
        self.engine.tenant(&self.authority.attest(attestation).unwrap())
    }

    /// Does something with the open tenant itself.
    fn with<R>(&self, work: impl FnOnce(&Tenant) -> Result<R>) -> R {
        let inner = &self.engine.0;
        let record = inner.catalog.tenant(&TenantId::new("acme").unwrap()).unwrap().unwrap();
        let slot = inner.pool.known(record.incarnation).unwrap();
        let lease = inner.lease(&slot, inner.clock.now()).unwrap();
        work(lease.tenant().unwrap()).unwrap()
    }

    fn rows(&self, table: Table) -> Rows {
        self.with(|tenant| {
            tenant.database.write(|mut writer| {
                let rows = writer.open_table(table)?;
                let rows =
                    rows.iter()?.map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())));
                Ok(rows.collect::<std::result::Result<_, _>>()?)
            })
        })
    }

    /// The table has these rows, and no others.
    fn put_back(&self, table: Table, rows: &Rows) {
        let now = self.rows(table);
        self.with(|tenant| {
            tenant.database.write(|mut writer| {
                let mut table = writer.open_table(table)?;
                for (key, _) in &now {
                    table.remove(key.as_slice())?;
                }
                for (key, value) in rows {
                    table.insert(key.as_slice(), value.as_slice())?;
                }
                Ok(())
            })
        });
    }

    fn facts(&self) -> Facts {
        self.with(|tenant| tenant.database.write(|mut writer| Facts::read(&writer.open_table(META)?)))
    }

    fn set_facts(&self, facts: &Facts) {
        self.with(|tenant| tenant.database.write(|mut writer| facts.write(&mut writer)));
    }

    fn rekey(&self) -> Result<()> {
        let acme = TenantId::new("acme").unwrap();
        self.operator().rekey(&acme, |_| ControlFlow::Continue(())).map(|_| ())
    }
}

#[track_caller]
fn assert_damaged<R: std::fmt::Debug>(outcome: Result<R>) {
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn a_deleted_or_renamed_namespace_does_not_come_back_by_its_name() {
    for renamed in [false, true] {
        let (scene, _) = Scene::new();
        let root = scene.enter("root");
        root.memories("salaries").unwrap().put(Memory::new("k")).unwrap();
        let names = scene.rows(NAMESPACES);
        if renamed {
            root.memories("salaries").unwrap().rename("secret").unwrap();
        } else {
            root.memories("salaries").unwrap().delete_namespace().unwrap();
        }
        scene.put_back(NAMESPACES, &names);
        let salaries = root.memories("salaries").unwrap();
        assert_damaged(salaries.list(&List::new()));
        assert_damaged(salaries.get("k"));
        assert_damaged(salaries.put(Memory::new("k")));
        assert_damaged(root.namespaces());
        assert!(root.memories("notes").unwrap().exists("first").unwrap(), "others are served");
    }
}

#[test]
fn the_head_of_a_credential_names_its_newest_secret_or_none_is_lent() {
    let (scene, _) = Scene::new();
    let vault = scene.enter("root").credentials();
    vault.put("TOKEN", &Credential::new("old")).unwrap();
    let heads = scene.rows(CREDENTIALS);
    vault.rotate("TOKEN", &Credential::new("new"), Duration::from_secs(86_400)).unwrap();
    for heads in [heads, Rows::new()] {
        scene.put_back(CREDENTIALS, &heads);
        assert!(vault.with_secret("TOKEN", |_| ()).is_err());
        assert_damaged(vault.put("TOKEN", &Credential::new("newest")));
    }
}

#[test]
fn a_salt_is_drawn_for_a_user_without_credentials_alone() {
    let (scene, _) = Scene::new();
    let vault = scene.enter("root").credentials();
    vault.put("TOKEN", &Credential::new("old")).unwrap();
    scene.with(|tenant| {
        tenant.database.write(|mut writer| {
            let mut salts = writer.open_table(USER_SALTS)?;
            let users: Vec<u32> = salts.iter()?.filter_map(|row| Some(row.ok()?.0.value())).collect();
            users.into_iter().try_for_each(|user| salts.remove(user).map(drop).map_err(Error::from))
        })
    });
    assert_damaged(vault.put("OTHER", &Credential::new("other")));
}

#[test]
fn a_change_that_was_done_under_an_idempotency_key_is_not_done_again_without_its_outcome_or_time() {
    for table in [OUTCOMES, OUTCOME_TIMES] {
        let (scene, _) = Scene::new();
        let notes = scene.enter("root").memories("notes").unwrap();
        let before = scene.rows(table);
        notes.once("key").unwrap().put(Memory::new("once")).unwrap();
        let kept = scene.rows(table);
        scene.put_back(table, &before);
        // As after an opening.
        scene.with(|tenant| {
            tenant.outcomes_walked.store(false, Ordering::Relaxed);
            Ok(())
        });
        assert_damaged(notes.once("key").unwrap().put(Memory::new("once")));
        scene.put_back(table, &kept);
        assert_eq!(notes.once("key").unwrap().put(Memory::new("once")).unwrap().version, 1);
    }
}

#[test]
fn older_facts_give_no_number_twice() {
    let (scene, disk) = Scene::new();
    let older = scene.facts();
    scene.enter("carol").private("diary").unwrap().put(Memory::new("hers")).unwrap();
    let newer = scene.facts();
    // All of it older: what comes next has its entry already.
    scene.set_facts(&older);
    assert_damaged(scene.enter("root").memories("notes").unwrap().put(Memory::new("second")));
    assert_damaged(scene.enter("dora").private("diary").unwrap().put(Memory::new("hers")));
    // The number of users by itself.
    let mut mixed = newer;
    mixed.next_user = older.next_user;
    scene.set_facts(&mixed);
    assert_damaged(scene.enter("dora").private("diary").unwrap().put(Memory::new("hers")));
    scene.set_facts(&newer);
    let diary = scene.enter("dora").private("diary").unwrap();
    diary.put(Memory::new("own")).unwrap();
    assert!(!diary.exists("hers").unwrap());

    // And at the next opening before anything is asked.
    scene.set_facts(&older);
    scene.engine.close().unwrap();
    drop((diary, scene));
    assert_damaged(Scene::open(&disk).try_enter("root"));
}

#[test]
fn a_policy_that_is_missing_or_older_goes_nowhere() {
    let (scene, disk) = Scene::new();
    let root = scene.enter("root");
    let user = |name: &str| UserId::new(Issuer::authority(), name).unwrap();
    let policy = root.policy().unwrap().assign(Principal::user(user("root")), "owner").unwrap();
    root.set_policy(&policy).unwrap();
    let bob = scene.enter("bob").memories("notes").unwrap();
    assert_eq!(bob.get("first").unwrap_err().kind(), ErrorKind::NotFound);
    let policy = root.policy().unwrap();
    scene.with(|tenant| {
        tenant.database.write(|mut writer| writer.open_table(POLICY)?.remove("current").map(drop).map_err(Error::from))
    });
    // The gate still knows it.
    assert_eq!(bob.get("first").unwrap_err().kind(), ErrorKind::NotFound);
    assert_damaged(root.policy());
    assert_damaged(root.set_policy(&policy));
    assert_damaged(scene.rekey());
    assert_damaged(root.erase_user(&user("bob"), Authored::Stays, |_| ControlFlow::Continue(())));
    scene.engine.close().unwrap();
    drop((bob, root, scene));
    let scene = Scene::open(&disk);
    for name in ["root", "bob"] {
        assert_damaged(scene.try_enter(name));
    }
}

#[test]
fn what_was_deleted_does_not_go_over_to_the_next_epoch() {
    let (scene, _) = Scene::new();
    let notes = scene.enter("root").memories("notes").unwrap();
    notes.put(Memory::new("second")).unwrap();
    let memories = scene.rows(MEMORIES);
    notes.delete("second").unwrap();
    scene.put_back(MEMORIES, &memories);
    assert_damaged(scene.rekey());
    assert!(notes.exists("first").unwrap());
}
