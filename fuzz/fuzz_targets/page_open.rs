//! A tenant's data file with arbitrary damage: opening and reading it gives the right answer or a typed error, never
//! a wrong one, and never a panic.
//!
//! The input is a list of patches, each `offset u32 | length u8 | bytes`; a length of 255 cuts the file there.

#![no_main]

#[path = "../../tests/support/sim_disk.rs"]
#[allow(dead_code, unreachable_pub)]
mod sim_disk;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sim_disk::SimDisk;
use watertight::{Attestation, Engine, ErrorKind, Issuer, List, Memory, Recall, RootKey, Scopes, TenantHandle, TenantSpec};

const ROWS: usize = 40;
const CUT: u8 = 255;

/// A disk with one tenant of some rows, and where its data file is.
static MADE: LazyLock<(SimDisk, PathBuf)> = LazyLock::new(|| {
    let disk = SimDisk::new(1);
    let (engine, authority) = open(&disk);
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
    let handle = handle(&engine, &authority).unwrap();
    let rows = (0..ROWS).map(|n| Memory::new(key(n)).text(text(n)).vector(vec![1.0, n as f32]));
    handle.memories("notes").unwrap().put_many(rows.collect()).unwrap();
    drop((handle, operator, authority));
    engine.close().unwrap();
    let data = disk.files().into_iter().find(|path| path.ends_with("data.1.redb")).unwrap();
    (disk, data)
});

fn key(n: usize) -> String {
    format!("key {n:03}")
}

fn text(n: usize) -> String {
    format!("{n} ").repeat(300)
}

fn open(disk: &SimDisk) -> (Engine, watertight::Authority) {
    let root_key = RootKey::from_bytes(std::array::from_fn(|i| i as u8)).unwrap();
    Engine::builder(Path::new("/data")).root_key(root_key).danger().disk(Arc::new(disk.clone())).open().unwrap()
}

fn handle(engine: &Engine, authority: &watertight::Authority) -> watertight::Result<TenantHandle> {
    engine.tenant(&authority.attest(Attestation::new("acme", "a").unwrap().scopes(Scopes::ALL)).unwrap())
}

fn damage(bytes: &mut Vec<u8>, mut input: &[u8]) {
    while let Some((head, rest)) = input.split_first_chunk::<5>() {
        let [a, b, c, d, length] = *head;
        let offset = u32::from_le_bytes([a, b, c, d]) as usize % bytes.len().max(1);
        if length == CUT {
            bytes.truncate(offset);
            return;
        }
        let (patch, rest) = rest.split_at(rest.len().min(usize::from(length)));
        for (to, from) in bytes.iter_mut().skip(offset).zip(patch) {
            *to = *from;
        }
        input = rest;
    }
}

fn acceptable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Damaged | ErrorKind::Unavailable)
}

fuzz_target!(|input: &[u8]| {
    let (made, path) = &*MADE;
    let disk = made.kill();
    let mut bytes = disk.bytes(path).unwrap();
    let before = bytes.clone();
    damage(&mut bytes, input);
    let harmless = bytes == before;
    disk.set_bytes(path, bytes);
    let (engine, authority) = open(&disk);
    let handle = match handle(&engine, &authority) {
        Ok(handle) => handle,
        Err(error) => {
            assert!(!harmless && acceptable(error.kind()), "{error}");
            return;
        }
    };
    let notes = handle.memories("notes").unwrap();
    for n in 0..ROWS {
        match notes.get(&key(n)) {
            Ok(memory) => assert_eq!(memory.text, Some(text(n))),
            Err(error) => assert!(!harmless && acceptable(error.kind()), "{error}"),
        }
    }
    for outcome in [
        notes.list(&List::new()).map(|page| page.memories.len()),
        notes.recall(&Recall::vector(&[1.0, 0.0]).top(100)).map(|hits| hits.len()),
    ] {
        match outcome {
            Ok(found) => assert_eq!(found, ROWS),
            Err(error) => assert!(!harmless && acceptable(error.kind()), "{error}"),
        }
    }
});
