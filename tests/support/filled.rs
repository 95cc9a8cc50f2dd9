//! Two tenants with rows that can be told apart, and the one way to ask whether an engine shows them rightly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use watertight::disk::Disk;
use watertight::{Engine, Error, ErrorKind, List, Memories, Memory, Recall, Result, TenantHandle, TenantId};

use super::sim_disk::SimDisk;
use super::world::{World, root_key};

pub const DATA: &str = "/data";
pub const TENANTS: [&str; 2] = ["acme", "zoo"];
const DIMENSIONS: usize = 8;

/// Splitmix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Key -> text: what was acknowledged.
pub type Rows = BTreeMap<String, String>;

/// The rows that [`filled`] puts into a tenant.
pub fn rows_of(tenant: &str, count: usize) -> Rows {
    let mut rng = Rng(tenant.len() as u64);
    (0..count).map(|n| (format!("key {n}"), format!("{tenant} {n} ").repeat(1 + rng.below(200) as usize))).collect()
}

pub fn vector(key: &str) -> Vec<f32> {
    key.bytes().chain([1; DIMENSIONS]).take(DIMENSIONS).map(f32::from).collect()
}

pub fn memory(key: &str, text: &str) -> Memory {
    Memory::new(key).text(text).content(json!({ "length": text.len() })).metadata("lang", "en").vector(vector(key))
}

/// A closed engine on a disk where everything is stable: `count` rows in each of [`TENANTS`]. Copy it with `kill`.
pub fn filled(count: usize, plaintext: bool) -> SimDisk {
    let disk = SimDisk::new(count as u64);
    let world = open(&disk, plaintext).unwrap();
    for tenant in TENANTS {
        world.provision(tenant).unwrap();
        let notes = notes(&world, tenant).unwrap();
        for (key, text) in rows_of(tenant, count) {
            notes.put(memory(&key, &text)).unwrap();
        }
    }
    drop(world);
    disk.crash()
}

/// An engine with a small cache, so that reads reach the disk.
pub fn open(disk: &SimDisk, plaintext: bool) -> Result<World> {
    open_over(Arc::new(disk.clone()), plaintext)
}

pub fn open_over(disk: Arc<dyn Disk>, plaintext: bool) -> Result<World> {
    let builder = Engine::builder(DATA).root_key(root_key()).tenant_cache_bytes(64 << 10).danger().disk(disk);
    let (engine, authority) = if plaintext { builder.danger().plaintext_files().open() } else { builder.open() }?;
    Ok(World { engine, authority })
}

pub fn notes(world: &World, tenant: &str) -> Result<Memories> {
    world.handle(tenant, "alice")?.memories("notes")
}

/// The data file and the key file of a tenant.
pub fn files_of(world: &World, tenant: &str) -> (PathBuf, PathBuf) {
    let incarnation = world.operator().inspect(&TenantId::new(tenant).unwrap()).unwrap().incarnation.to_string();
    let (root, fan_out) = (Path::new(DATA), &incarnation[..2]);
    (
        root.join("tenants").join(fan_out).join(&incarnation).join("data.1.redb"),
        root.join("keys").join(fan_out).join(format!("{incarnation}.1.key")),
    )
}

/// Every file with its bytes.
pub fn everything(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.files().into_iter().map(|path| (path.clone(), disk.bytes(&path).unwrap())).collect()
}

/// Asks a tenant everything. Right answers and the errors of a damaged file are fine; gives the errors. Anything
/// else, a missing row above all, is told as `Err`.
pub fn ask(handle: &TenantHandle, rows: &Rows) -> Result<Vec<Error>, String> {
    let notes = handle.memories("notes").unwrap();
    let mut errors = Vec::new();
    for (key, text) in rows {
        match notes.get(key) {
            Ok(found) if found.text.as_ref() == Some(text) && found.key == *key => {}
            Ok(found) => return Err(format!("{key} is wrong: {found:?}")),
            Err(error) => errors.push(typed(error, key)?),
        }
    }
    match notes.get("absent") {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => errors.push(typed(error, "absent")?),
        Ok(found) => return Err(format!("a row that nobody put: {found:?}")),
    }
    let (mut list, mut listed, mut whole) = (List::new().limit(50), Rows::new(), false);
    while !whole {
        match notes.list(&list) {
            Ok(page) => {
                listed.extend(page.memories.into_iter().map(|memory| (memory.key, memory.text.unwrap_or_default())));
                match page.next {
                    Some(next) => list = List::new().limit(50).after(next),
                    None => whole = true,
                }
            }
            Err(error) => {
                errors.push(typed(error, "list")?);
                break;
            }
        }
    }
    if whole && listed != *rows {
        return Err(format!("a list of {} rows instead of {}", listed.len(), rows.len()));
    }
    if let Some((key, _)) = listed.iter().find(|(key, text)| rows.get(*key) != Some(text)) {
        return Err(format!("the list has a wrong {key}"));
    }
    match notes.recall(&Recall::vector(&vector("key 1")).top(10_000)) {
        Ok(hits) => {
            let found: Rows =
                hits.into_iter().map(|hit| (hit.memory.key, hit.memory.text.unwrap_or_default())).collect();
            if found != *rows {
                return Err(format!("{} hits instead of {}", found.len(), rows.len()));
            }
        }
        Err(error) => errors.push(typed(error, "recall")?),
    }
    match handle.usage() {
        Ok(usage) if usage.memories == rows.len() as u64 && usage.vectors == rows.len() as u64 => {}
        Ok(usage) => return Err(format!("{usage:?} for {} rows", rows.len())),
        Err(error) => errors.push(typed(error, "usage")?),
    }
    if let Err(error) = handle.audit().verify() {
        errors.push(typed(error, "audit")?);
    }
    Ok(errors)
}

/// What a failing file may answer; "not found" for a row that is there is a lie.
fn typed(error: Error, what: &str) -> Result<Error, String> {
    match error.kind() {
        ErrorKind::Damaged | ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => Ok(error),
        kind => Err(format!("{what} answered {kind:?}: {error}")),
    }
}

/// Panics unless the tenant answers everything rightly.
pub fn all_well(world: &World, tenant: &str, rows: &Rows, context: &str) {
    let handle = world.handle(tenant, "alice").unwrap_or_else(|error| panic!("{context}: {tenant}: {error}"));
    let errors = ask(&handle, rows).unwrap_or_else(|why| panic!("{context}: {tenant}: {why}"));
    assert!(errors.is_empty(), "{context}: {tenant}: {errors:?}");
}
