//! An engine in memory is the same engine: it keeps what it is told until it is gone, and leaves nothing behind.

use std::path::Path;
use std::sync::Arc;

use watertight::disk::{Disk, MemoryDisk};
use watertight::{Attestation, Engine, ErrorKind, Issuer, List, Memory, Reason, RootKey, Scopes, TenantId, TenantSpec};

#[test]
fn it_remembers_purges_and_opens_again_over_the_same_memory() {
    let disk = Arc::new(MemoryDisk::new());
    let key = || RootKey::from_bytes(std::array::from_fn(|i| i as u8)).unwrap();
    let open = || Engine::builder("/data").root_key(key()).danger().disk(disk.clone()).open();
    let (engine, authority) = open().unwrap();
    assert_eq!(*open().unwrap_err().reason(), Reason::InUse);
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    for tenant in ["acme", "zoo"] {
        operator.provision(TenantSpec::new(tenant).unwrap().trusts(Issuer::authority())).unwrap();
        let attestation = Attestation::new(tenant, "alice").unwrap().scopes(Scopes::ALL);
        let notes = engine.tenant(&authority.attest(attestation).unwrap()).unwrap().memories("notes").unwrap();
        notes
            .put_many((0..500).map(|n| Memory::new(format!("{tenant} {n}")).text("x".repeat(3_000))).collect())
            .unwrap();
    }
    operator.purge(&TenantId::new("zoo").unwrap()).unwrap();
    drop(operator);
    engine.close().unwrap();

    let (engine, authority) = open().unwrap();
    let attested = |tenant| authority.attest(Attestation::new(tenant, "alice").unwrap().scopes(Scopes::ALL)).unwrap();
    let notes = engine.tenant(&attested("acme")).unwrap().memories("notes").unwrap();
    assert_eq!(notes.list(&List::new().limit(1_000)).unwrap().memories.len(), 500);
    assert_eq!(engine.tenant(&attested("zoo")).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!Path::new("/data/catalog.redb").exists());
}

/// The errors are those of the operating system's file system.
#[test]
fn names_behave_as_on_a_disk() {
    use std::io::ErrorKind::*;
    let disk = MemoryDisk::new();
    let path = |name: &'static str| Path::new(name);
    let kind = |answer: std::io::Result<()>| answer.unwrap_err().kind();
    disk.create_directory(path("/d")).unwrap();
    assert_eq!(kind(disk.create_directory(path("/d"))), AlreadyExists);
    disk.create(path("/d/a")).unwrap().write_at(3, b"xyz").unwrap();
    assert_eq!(kind(disk.create(path("/d/a")).map(drop)), AlreadyExists);
    assert_eq!(kind(disk.remove_directory(path("/d"))), DirectoryNotEmpty);
    assert_eq!(kind(disk.open(path("/d")).map(drop)), IsADirectory);
    assert_eq!(kind(disk.rename(path("/absent"), path("/d/b"))), NotFound);
    disk.rename(path("/d/a"), path("/d/b")).unwrap();
    assert_eq!(disk.list(path("/d")).unwrap(), ["b"]);
    let file = disk.open(path("/d/b")).unwrap();
    let mut bytes = [9; 6];
    file.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, *b"\0\0\0xyz");
    assert_eq!(kind(file.read_at(1, &mut bytes)), UnexpectedEof);
    assert!(file.try_lock().unwrap());
    assert!(!disk.open(path("/d/b")).unwrap().try_lock().unwrap());
    drop(file);
    assert!(disk.open(path("/d/b")).unwrap().try_lock().unwrap());
    disk.remove(path("/d/b")).unwrap();
    assert_eq!(kind(disk.remove(path("/d/b"))), NotFound);
    disk.remove_directory(path("/d")).unwrap();
}
