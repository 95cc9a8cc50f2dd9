//! Envelopes of credentials as they lie in a file, which whoever can write sealed pages may change: each opens in its own
//! place alone. The files are plaintext here, so that nothing but the envelope itself can refuse.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use support::world::{World, root_key};
use watertight::disk::SystemDisk;
use watertight::{Credential, Engine, Error, Reason, Result, TenantId};

const SECRETS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("credential_secrets");
const SALTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("user_salts");

const TENANTS: [&str; 2] = ["acme", "zoo"];
const USERS: [&str; 2] = ["alice", "bob"];
const NAMES: [&str; 2] = ["A", "B"];
const HOUR: Duration = Duration::from_secs(3_600);

fn open(directory: &Path) -> World {
    let builder = Engine::builder(directory).root_key(root_key()).danger().disk(Arc::new(SystemDisk));
    let (engine, authority) = builder.danger().plaintext_files().open().unwrap();
    World { engine, authority }
}

/// The data file of a tenant.
fn file_of(directory: &Path, world: &World, tenant: &str) -> PathBuf {
    let incarnation = world.operator().inspect(&TenantId::new(tenant).unwrap()).unwrap().incarnation.to_string();
    directory.join("tenants").join(&incarnation[..2]).join(&incarnation).join("data.1.redb")
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(file: &Path) -> Rows {
    let database = Database::open(file).unwrap();
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(SECRETS).unwrap();
    table.iter().unwrap().map(|row| row.map(|(k, v)| (k.value().to_vec(), v.value().to_vec())).unwrap()).collect()
}

fn write<'a>(file: &Path, rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    let database = Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(SECRETS).unwrap();
        for (key, value) in rows {
            table.insert(key, value).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// What each place answers, in the order of the tables' rows: tenant, user, name, older version first.
fn answers(world: &World) -> Vec<Result<Vec<u8>>> {
    let mut answers = Vec::new();
    for tenant in TENANTS {
        for user in USERS {
            let vault = world.handle(tenant, user).unwrap().credentials();
            for name in NAMES {
                answers.push(vault.with_previous(name, <[u8]>::to_vec));
                answers.push(vault.with_secret(name, <[u8]>::to_vec));
            }
        }
    }
    answers
}

fn is_refused(answer: &Result<Vec<u8>>) -> bool {
    matches!(answer.as_ref().map_err(Error::reason), Err(Reason::DamagedRecord("credential")))
}

/// 16 envelopes of two tenants, two users, two names and two versions; each in the place of each other one.
#[test]
fn no_envelope_opens_in_the_place_of_another() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = directory.path().join("data");
    let world = open(&data);
    let mut expected = Vec::new();
    for tenant in TENANTS {
        world.provision(tenant).unwrap();
        for user in USERS {
            let vault = world.handle(tenant, user).unwrap().credentials();
            for name in NAMES {
                let secret = |version: u32| format!("{tenant} {user} {name} {version}");
                vault.put(name, &Credential::new(secret(1))).unwrap();
                vault.rotate(name, &Credential::new(secret(2)), HOUR).unwrap();
                expected.extend([secret(1).into_bytes(), secret(2).into_bytes()]);
            }
        }
    }
    let files = TENANTS.map(|tenant| file_of(&data, &world, tenant));
    drop(world);
    let own: Vec<(usize, Vec<u8>, Vec<u8>)> = files
        .iter()
        .enumerate()
        .flat_map(|(file, path)| rows(path).into_iter().map(move |(key, value)| (file, key, value)))
        .collect();
    assert_eq!(own.len(), 16);
    let mut refused = 0;
    // A turn by each distance puts each envelope into the place of each other one.
    for distance in 0..=own.len() {
        for (at, path) in files.iter().enumerate() {
            let places = own.iter().enumerate().filter(|(_, (file, ..))| *file == at);
            write(path, places.map(|(place, (_, key, _))| (&key[..], &own[(place + distance) % own.len()].2[..])));
        }
        let found = answers(&open(&data));
        if distance % own.len() == 0 {
            let found: Vec<_> = found.into_iter().map(|answer| answer.unwrap()).collect();
            assert_eq!(found, expected);
            continue;
        }
        for (place, answer) in found.iter().enumerate() {
            assert!(is_refused(answer), "{place} by {distance}: {answer:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 16 * 15);

    // The salts of two users exchanged.
    let transaction = Database::open(&files[0]).unwrap().begin_write().unwrap();
    {
        let mut salts = transaction.open_table(SALTS).unwrap();
        let both: Vec<_> =
            salts.iter().unwrap().map(|row| row.map(|(k, v)| (k.value(), v.value().to_vec())).unwrap()).collect();
        assert_eq!(both.len(), 2);
        salts.insert(both[0].0, &both[1].1[..]).unwrap();
        salts.insert(both[1].0, &both[0].1[..]).unwrap();
    }
    transaction.commit().unwrap();
    let found = answers(&open(&data));
    assert!(found[..8].iter().all(is_refused) && found[8..].iter().all(Result::is_ok));
}

/// One credential for each bit, each with that bit of its envelope flipped.
#[test]
fn every_single_bit_of_an_envelope_counts() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = directory.path().join("data");
    let world = open(&data);
    world.provision("acme").unwrap();
    let vault = world.handle("acme", "alice").unwrap().credentials();
    // `format 1 | epoch 4 | stamp 8 | salt 32 | commitment 32 | ciphertext 8 | tag 16`.
    let bits = 8 * (13 + 32 + 32 + 8 + 16);
    let name = |bit: usize| format!("N{bit:04}");
    for bit in 0..bits {
        vault.put(&name(bit), &Credential::new("8 secret")).unwrap();
    }
    let file = file_of(&data, &world, "acme");
    drop((vault, world));
    let mut all = rows(&file);
    assert_eq!(all.len(), bits);
    for (bit, (_, envelope)) in all.iter_mut().enumerate() {
        assert_eq!(envelope.len() * 8, bits);
        envelope[bit / 8] ^= 1 << (bit % 8);
    }
    write(&file, all.iter().map(|(key, value)| (&key[..], &value[..])));
    let world = open(&data);
    let vault = world.handle("acme", "alice").unwrap().credentials();
    for bit in 0..bits {
        let answer = vault.with_secret(&name(bit), <[u8]>::to_vec);
        assert!(is_refused(&answer), "bit {bit}: {answer:?}");
    }
    // What is refused is not used: nothing was counted.
    assert!(vault.list().unwrap().iter().all(|info| info.uses == 0));
}
