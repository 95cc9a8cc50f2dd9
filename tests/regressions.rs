//! Faults that were found by reading, each kept from coming back.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::disk::Disk;
use watertight::{
    Engine, ErrorKind, Issuer, Jwks, JwtVerifier, List, Memory, Recall, Scopes, TenantId, TenantSpec, TenantStatus,
};

const DATA: &str = "/data";

fn open(disk: &SimDisk) -> World {
    World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap()
}

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

/// A directory that is there may not be durable: whoever made it may have died before its sync.
#[test]
fn a_tenant_in_directories_that_another_left_unsynced_survives() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let world = open(&disk);
        for digits in 0..=255_u8 {
            for parent in ["keys", "tenants"] {
                disk.create_directory(Path::new(&format!("{DATA}/{parent}/{digits:02x}"))).unwrap();
            }
        }
        world.provision("acme").unwrap();
        world.handle("acme", "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
        let again = open(&disk.crash());
        let notes = again.handle("acme", "alice").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        notes.memories("notes").unwrap().get("k").unwrap();
    }
}

/// While a purge ends, a provisioning of the same name waits. An identity attested meanwhile is the old tenant's.
#[test]
fn an_identity_attested_while_the_name_changes_hands_is_the_old_ones() {
    const ARMED: u8 = 1;
    const BLOCKED: u8 = 2;
    const RELEASED: u8 = 3;
    let disk = SimDisk::new(1);
    let world = open(&disk);
    world.provision("acme").unwrap();
    let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation.to_string();
    let directory = format!("{DATA}/tenants/{}/{incarnation}", &incarnation[..2]);
    let state = Arc::new(AtomicU8::new(0));
    let hook = {
        let (state, disk) = (state.clone(), disk.clone());
        let mut since_gone = 0;
        move |_| {
            since_gone += u32::from(disk.inspect(Path::new(&directory)).unwrap().is_none());
            // The first is the sync of the directory above; the second belongs to the commit that frees the name.
            if state.load(Ordering::SeqCst) == ARMED && since_gone == 2 {
                state.store(BLOCKED, Ordering::SeqCst);
                while state.load(Ordering::SeqCst) == BLOCKED {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            false
        }
    };
    disk.on_mutation(Some(Box::new(hook)));
    state.store(ARMED, Ordering::SeqCst);
    let identity = thread::scope(|scope| {
        scope.spawn(|| world.operator().purge(&id("acme")).unwrap());
        while state.load(Ordering::SeqCst) != BLOCKED {
            thread::sleep(Duration::from_millis(1));
        }
        // It cannot have the name before the purge has ended, and tries until then.
        scope.spawn(|| while world.provision("acme").is_err() {});
        thread::sleep(Duration::from_millis(50));
        let identity = world.identity("acme", "alice", Scopes::ALL);
        state.store(RELEASED, Ordering::SeqCst);
        identity
    });
    assert_eq!(world.engine.tenant(&identity).unwrap_err().kind(), ErrorKind::NotFound);
    world.handle("acme", "alice").unwrap();
}

/// The catalog of the moment when a tenant was half made is put back much later: the tenant must not be swept away.
#[test]
fn an_older_catalog_that_is_put_back_destroys_no_tenant() {
    let disk = SimDisk::new(1);
    let world = open(&disk);
    let catalog = format!("{DATA}/catalog.redb");
    let half_made = Arc::new(parking_lot::Mutex::new(None));
    let hook = {
        let (disk, half_made, catalog) = (disk.clone(), half_made.clone(), catalog.clone());
        move |_| {
            if disk.files().iter().any(|path| path.ends_with("data.1.redb.tmp")) {
                half_made.lock().get_or_insert_with(|| disk.bytes(&catalog).unwrap());
            }
            false
        }
    };
    disk.on_mutation(Some(Box::new(hook)));
    world.provision("acme").unwrap();
    disk.on_mutation(None);
    world.handle("acme", "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
    drop(world);
    disk.set_bytes(&catalog, half_made.lock().take().unwrap());
    let world = open(&disk);
    assert_eq!(world.operator().inspect(&id("acme")).unwrap().status, TenantStatus::Active);
    world.handle("acme", "alice").unwrap().memories("notes").unwrap().get("k").unwrap();
}

#[test]
fn a_repeated_purge_of_an_incarnation_spares_its_successor() {
    let world = open(&SimDisk::new(1));
    world.provision("acme").unwrap();
    let first = world.operator().inspect(&id("acme")).unwrap().incarnation;
    world.operator().purge_incarnation(&id("acme"), first).unwrap();
    world.provision("acme").unwrap();
    let refused = world.operator().purge_incarnation(&id("acme"), first).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    world.handle("acme", "alice").unwrap();
    assert_eq!(world.operator().tombstone(first).unwrap().tenant, id("acme"));
}

/// Many large memories: a page ends early and the list goes on; other answers say what was too much.
#[test]
fn answers_are_bounded_in_bytes() {
    let world = open(&SimDisk::new(1));
    world.provision("acme").unwrap();
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let text = "x".repeat(watertight::limits::TEXT_BYTES_MAX);
    let keys: Vec<_> = (0..70).map(|n| format!("k{n:02}")).collect();
    for key in &keys {
        notes.put(Memory::new(key).text(&text).vector(vec![1.0])).unwrap();
    }
    let mut found = Vec::new();
    let mut next = None;
    let mut pages = 0;
    loop {
        let list = next.map_or_else(List::new, |next| List::new().after(next));
        let page = notes.list(&list).unwrap();
        found.extend(page.memories.into_iter().map(|memory| memory.key));
        pages += 1;
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    found.reverse();
    assert_eq!((found, pages), (keys.clone(), 2));
    let names: Vec<_> = keys.iter().map(String::as_str).collect();
    assert_eq!(notes.get_many(&names).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(notes.get_many(&names[..60]).unwrap().len(), 60);
    let everything = Recall::vector(&[1.0]).top(100);
    assert_eq!(notes.recall(&everything).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(notes.recall(&everything.top(60)).unwrap().len(), 60);
}

/// A bare name has no parent to sync but the working directory.
#[test]
fn a_bare_relative_directory_opens_the_first_time() {
    struct Removed(String);
    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
    let name = Removed(format!("bare-name-test-{}", std::process::id()));
    let (engine, _) = Engine::builder(&name.0).root_key(root_key()).open().unwrap();
    engine.close().unwrap();
}

#[test]
fn an_operators_verifier_that_could_take_tenants_tokens_is_refused() {
    let keys = || {
        let key = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
                      "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        Jwks::from_json(key).unwrap()
    };
    let verifier = |issuer: &str, audience: &str| {
        JwtVerifier::new(Issuer::new(issuer).unwrap(), audience, keys()).unwrap().tenant_claim("org_id")
    };
    let opened = |operators: JwtVerifier| {
        let builder = Engine::builder(DATA).root_key(root_key()).verifier(verifier("login", "app"));
        builder.operator_verifier(operators).danger().disk(Arc::new(SimDisk::new(1))).open().map(drop)
    };
    opened(verifier("login", "operators")).unwrap();
    opened(verifier("other", "app")).unwrap();
    for refused in [verifier("login", "app"), verifier("login", "operators").tenant_claim("tenant_id")] {
        assert_eq!(opened(refused).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[cfg(unix)]
mod real_disk {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn below(path: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            }
            found.push(path);
        }
    }

    #[test]
    fn one_tenant_that_cannot_be_finished_keeps_nobody_waiting() {
        let outside = tempfile::tempdir().unwrap();
        let data = outside.path().join("data");
        let world = World::at(&data);
        world.provision("acme").unwrap();
        let mut found = Vec::new();
        below(&data.join("keys"), &mut found);
        let directory = found.into_iter().find(|path| path.is_dir()).unwrap();
        // Incarnations are random: provision neighbours until one has another directory of keys.
        let neighbour = (0..)
            .map(|n| format!("neighbour-{n}"))
            .find(|name| {
                world.provision(name).unwrap();
                let incarnation = world.operator().inspect(&id(name)).unwrap().incarnation.to_string();
                !directory.ends_with(&incarnation[..2])
            })
            .unwrap();
        chmod(&directory, 0o777);
        assert!(world.operator().purge(&id("acme")).is_err());
        drop(world);

        let world = World::at(&data);
        world.handle(&neighbour, "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
        assert_eq!(world.handle("acme", "alice").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(world.operator().inspect(&id("acme")).unwrap().status, TenantStatus::Purging);
        drop(world);

        chmod(&directory, 0o700);
        let world = World::at(&data);
        assert_eq!(world.operator().inspect(&id("acme")).unwrap_err().kind(), ErrorKind::NotFound);
        world.operator().provision(TenantSpec::new("acme").unwrap()).unwrap();
    }

    #[test]
    fn files_that_others_can_write_to_and_keys_that_they_can_read_are_refused() {
        let outside = tempfile::tempdir().unwrap();
        let data = outside.path().join("data");
        World::at(&data).provision("acme").unwrap();
        let mut found = Vec::new();
        below(&data, &mut found);
        for path in found.into_iter().filter(|path| path.is_file()) {
            let is_key = path.extension().is_some_and(|extension| extension == "key");
            for (mode, refused) in [(0o666, true), (0o644, is_key || path.ends_with("FORMAT")), (0o600, false)] {
                chmod(&path, mode);
                let world = Engine::builder(&data).root_key(root_key()).open();
                let answer = world.and_then(|(engine, authority)| {
                    let attested = watertight::Attestation::new("acme", "alice").unwrap();
                    engine.tenant(&authority.attest(attested).unwrap()).map(drop)
                });
                assert_eq!(answer.is_err(), refused, "{} with mode {mode:o}: {answer:?}", path.display());
            }
        }
    }
}

/// A killed process leaves a header that only the system's cache has. The next one must not write over the other copy
/// before it is on the device: the power may fail then.
#[test]
fn a_kill_and_then_a_power_failure_lose_nothing() {
    let disk = SimDisk::new(5);
    let data = Path::new("/data");
    let open = |disk: &SimDisk| World::open(data, Arc::new(disk.clone())).unwrap();
    let notes = |world: &World| world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let world = open(&disk);
    world.provision("acme").unwrap();
    let killed = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (keep, look, count) = (killed.clone(), disk.clone(), acknowledged.clone());
    let count = move || count.load(Ordering::SeqCst);
    disk.on_mutation(Some(Box::new(move |_| {
        keep.lock().push((look.kill(), count()));
        false
    })));
    for number in 0..3_u64 {
        notes(&world).put(Memory::new(format!("{number}"))).unwrap();
        acknowledged.store(number + 1, Ordering::SeqCst);
    }
    disk.on_mutation(None);
    let mut images = 0;
    for (image, expected) in std::mem::take(&mut *killed.lock()) {
        image.on_mutation(Some(Box::new(|_| true)));
        let again = open(&image);
        notes(&again).put(Memory::new("next")).unwrap();
        for crashed in image.take_images() {
            let last = open(&crashed);
            for number in 0..expected {
                assert!(notes(&last).exists(&number.to_string()).unwrap());
            }
            images += 1;
        }
    }
    assert!(images > 200, "only {images} images");
}
