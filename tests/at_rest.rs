//! What lies on the disk, seen by another program: no nonce and no salt comes twice, nothing is left of a key file that was
//! destroyed, and no entry of a trail can be written anew.

mod support;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use ring::digest::{Context, SHA256};
use support::household::go_on;
use support::recorded::RecordedDisk;
use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::disk::SystemDisk;
use watertight::{Authored, ChainHead, Engine, Error, ErrorKind, Memory, Result, RootKey, TenantId};

const DATA: &str = "/data";
const SLOT: usize = 4_608;
const NONCE: std::ops::Range<usize> = 4_096..4_120;
/// Length of the envelope of a tenant's key, at the end of its file.
const ENVELOPE: usize = 112;

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

fn recorded(seed: u64) -> RecordedDisk {
    RecordedDisk::new(Arc::new(SimDisk::new(seed)))
}

fn open(disk: &RecordedDisk) -> World {
    World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap()
}

/// Provisions a tenant with some memories of alice and bob.
fn fill(world: &World, tenant: &str) {
    world.provision(tenant).unwrap();
    for user in ["alice", "bob"] {
        let notes = world.handle(tenant, user).unwrap().private("notes").unwrap();
        for n in 0..20 {
            notes.put(Memory::new(format!("{n}")).text("x".repeat(3_000))).unwrap();
        }
    }
}

#[test]
fn no_page_is_sealed_with_a_nonce_that_was_used_before() {
    let disk = recorded(1);
    let world = open(&disk);
    for tenant in ["acme", "zoo"] {
        fill(&world, tenant);
    }
    world.operator().rekey(&id("acme"), go_on).unwrap();
    world.engine.close().unwrap();
    drop(world);
    // What is written after a restart must not begin where the last run began.
    let world = open(&disk);
    world.handle("zoo", "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
    drop(world);

    let (mut seen, mut headers) = (BTreeSet::new(), 0);
    for write in disk.writes() {
        if !write.path.to_str().unwrap().contains(".redb") {
            continue;
        }
        headers += usize::from(write.offset < 16_384);
        for slot in write.bytes.chunks_exact(SLOT) {
            assert!(seen.insert(slot[NONCE].to_vec()), "a nonce twice: {:?}", write.path);
        }
    }
    assert!(headers > 20 && seen.len() > headers + 200, "{headers} header copies among {} slots", seen.len());
}

#[test]
fn no_key_file_is_sealed_with_a_salt_that_was_used_before() {
    let disk = recorded(2);
    let world = open(&disk);
    for tenant in ["acme", "zoo"] {
        fill(&world, tenant);
    }
    let operator = world.operator();
    operator.rotate_root_key(&root_key()).unwrap();
    operator.rotate_engine_key(&root_key(), |_| ControlFlow::Continue(())).unwrap();
    operator.rekey(&id("acme"), go_on).unwrap();
    let mut salts = BTreeSet::new();
    for write in disk.writes() {
        // The envelope is what the file ends with, and begins with its salt.
        let envelope = match write.bytes.get(..8) {
            Some(b"WTENGKEY") => 144,
            Some(b"WTTENKEY") => ENVELOPE,
            _ => continue,
        };
        let at = write.bytes.len() - envelope;
        assert!(salts.insert(write.bytes[at..at + 32].to_vec()), "a salt twice: {:?}", write.path);
    }
    assert!(salts.len() >= 7, "{} envelopes", salts.len());
}

/// How many key files lost their name since `before` files had. Of each, stable storage has nothing of what was sealed.
#[track_caller]
fn destroyed(disk: &RecordedDisk, before: usize) -> usize {
    let forgotten = disk.forgotten();
    let mut count = 0;
    for file in forgotten.iter().skip(before).filter(|file| file.path.to_str().unwrap().contains("/keys/")) {
        let is_key = |bytes: &&Vec<u8>| bytes.starts_with(b"WTENGKEY") || bytes.starts_with(b"WTTENKEY");
        let Some(sealed) = file.history.iter().rev().find(is_key) else { continue };
        let envelope = &sealed[sealed.len() - ENVELOPE..];
        // Before the name went, where it was removed: after a crash in between, nobody would find the file.
        for left in [Some(&file.stable), file.removed.as_ref()].into_iter().flatten() {
            let remains = envelope.windows(16).any(|part| left.windows(16).any(|window| window == part));
            assert!(!remains, "{:?} has a part of its envelope", file.path);
        }
        count += 1;
    }
    count
}

#[test]
fn nothing_is_left_of_a_key_file_that_was_destroyed() {
    let disk = recorded(3);
    let world = open(&disk);
    let operator = world.operator();
    for tenant in ["acme", "zoo"] {
        fill(&world, tenant);
    }
    let so_far = || disk.forgotten().len();
    let before = so_far();
    operator.rekey(&id("acme"), go_on).unwrap();
    assert_eq!(destroyed(&disk, before), 1, "by a re-keying");
    let (before, alice) = (so_far(), world.handle("acme", "alice").unwrap());
    let bob = world.handle("acme", "bob").unwrap().user().clone();
    alice.erase_user(&bob, Authored::Stays, go_on).unwrap();
    assert_eq!(destroyed(&disk, before), 1, "by the erasure of a user");
    let before = so_far();
    operator.purge(&id("acme")).unwrap();
    assert_eq!(destroyed(&disk, before), 1, "by a purge");

    let root = || RootKey::from_bytes(std::array::from_fn(|i| 200 - i as u8)).unwrap();
    let before = so_far();
    operator.rotate_root_key(&root()).unwrap();
    assert_eq!(destroyed(&disk, before), 1, "by a rotation of the root key");
    operator.rotate_engine_key(&root(), |_| ControlFlow::Continue(())).unwrap();
    let before = so_far();
    operator.rotate_root_key(&root_key()).unwrap();
    assert_eq!(destroyed(&disk, before), 2, "by a rotation of the root key over two engine keys");
    let before = so_far();
    operator.retire_engine_key(1).unwrap();
    assert_eq!(destroyed(&disk, before), 1, "by the retirement of an engine key");
}

/// A trail in plaintext files, as whoever can write sealed pages has it.
struct Trail {
    _directory: tempfile::TempDir,
    data: std::path::PathBuf,
    file: std::path::PathBuf,
    table: TableDefinition<'static, u64, &'static [u8]>,
    verify: fn(&World) -> Result<ChainHead>,
}

impl Trail {
    fn open(data: &Path) -> World {
        let builder = Engine::builder(data).root_key(root_key()).danger().disk(Arc::new(SystemDisk));
        let (engine, authority) = builder.danger().plaintext_files().open().unwrap();
        World { engine, authority }
    }

    /// Of the operators, and of a tenant.
    fn both() -> [Self; 2] {
        [true, false].map(|of_operators| {
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let data = directory.path().join("data");
            let world = Self::open(&data);
            fill(&world, "acme");
            for n in 0..4 {
                world.operator().suspend(&id("acme")).unwrap();
                world.operator().resume(&id("acme")).unwrap();
                world
                    .handle("acme", "alice")
                    .unwrap()
                    .memories("notes")
                    .unwrap()
                    .put(Memory::new(n.to_string()))
                    .unwrap();
            }
            let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation.to_string();
            let (file, table, verify): (_, _, fn(&World) -> _) = if of_operators {
                (data.join("catalog.redb"), "operator_audit", |world| world.operator().verify_audit())
            } else {
                let tenant = data.join("tenants").join(&incarnation[..2]).join(&incarnation);
                (tenant.join("data.1.redb"), "audit", |world| world.handle("acme", "alice")?.audit().verify())
            };
            Self { _directory: directory, data, file, table: TableDefinition::new(table), verify }
        })
    }

    fn rows(&self) -> Vec<Vec<u8>> {
        let database = Database::open(&self.file).unwrap();
        let table = database.begin_read().unwrap().open_table(self.table).unwrap();
        table.iter().unwrap().map(|row| row.unwrap().1.value().to_vec()).collect()
    }

    /// What the engine says of the trail with this row in the place of another.
    fn verified_with(&self, number: usize, row: &[u8]) -> Result<ChainHead> {
        let database = Database::open(&self.file).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(self.table).unwrap().insert(number as u64, row).unwrap();
        transaction.commit().unwrap();
        drop(database);
        (self.verify)(&Self::open(&self.data))
    }
}

/// The part of a row that its hash covers: without the hash, and without a detail that can be taken out.
fn body(row: &[u8]) -> &[u8] {
    let rest = &row[32..];
    match rest[0] {
        0 => rest,
        _ => &rest[..37 + u32::from_le_bytes(rest[33..37].try_into().unwrap()) as usize],
    }
}

/// As docs/DESIGN.md says it.
fn hash(number: usize, before: &[u8], body: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in [b"watertight audit entry 2".as_slice(), &(number as u64).to_le_bytes(), before, body] {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

#[test]
fn an_entry_of_a_trail_that_is_written_anew_does_not_fit_the_next() {
    for trail in Trail::both() {
        let head = (trail.verify)(&Trail::open(&trail.data)).unwrap();
        let rows = trail.rows();
        assert!(rows.len() as u64 == head.entries && rows.len() > 8, "{head:?}");
        let mut before = vec![0; 32];
        let mut hashes = vec![before.clone()];
        for (at, row) in rows.iter().enumerate() {
            before = hash(at + 1, &before, body(row));
            assert_eq!(row[..32], before, "entry {} of {:?}", at + 1, trail.file);
            hashes.push(before.clone());
        }
        assert_eq!(before, head.hash);

        // Entry 3 says what entry 5 says, with the hash that it should then have.
        let (number, other) = (3, body(&rows[4]));
        let forged = [&hash(number, &hashes[number - 1], other), other].concat();
        let error: Error = trail.verified_with(number, &forged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert_eq!(trail.verified_with(number, &rows[number - 1]).unwrap().entries, head.entries);
    }
}
