//! Rotation of the root key and of the engine key: online, resumable after a crash at any step, with an end that can be
//! verified, and nothing lost or brought back on the way.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{fs, thread};

use parking_lot::Mutex;
use support::hooked::{HookedDisk, copy_directory, without_syncs};
use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::disk::{Disk, MemoryDisk};
use watertight::{
    Credential, Engine, ErrorKind, KeyRotation, Memory, OperatorAction, ProviderError, Reason, Result, RootKey,
    RootKeyProvider, TenantId,
};

const DATA: &str = "/data";
const TENANTS: [&str; 3] = ["acme", "zoo", "zulu"];
const ON: ControlFlow<()> = ControlFlow::Continue(());

fn old() -> RootKey {
    support::world::root_key()
}

fn new() -> RootKey {
    RootKey::from_bytes(std::array::from_fn(|i| 255 - i as u8)).unwrap()
}

fn open(directory: &Path, disk: Arc<dyn Disk>, keys: Vec<RootKey>) -> Result<World> {
    let mut keys = keys.into_iter();
    let builder = Engine::builder(directory).root_key(keys.next().unwrap());
    let builder = keys.fold(builder, |builder, key| builder.older_root_key(key));
    let (engine, authority) = builder.danger().disk(disk).open()?;
    Ok(World { engine, authority })
}

fn open_sim(disk: &SimDisk, keys: Vec<RootKey>) -> Result<World> {
    open(Path::new(DATA), Arc::new(disk.clone()), keys)
}

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

/// Gives each tenant a memory and a credential.
fn fill(world: &World) {
    for tenant in TENANTS {
        world.provision(tenant).unwrap();
        let handle = world.handle(tenant, "alice").unwrap();
        handle.memories("notes").unwrap().put(Memory::new("k").text(format!("text of {tenant}"))).unwrap();
        handle.credentials().put("TOKEN", &Credential::new(format!("secret of {tenant}"))).unwrap();
    }
}

/// A closed engine under the old root key, everything on stable storage.
fn filled(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    fill(&open_sim(&disk, vec![old()]).unwrap());
    disk.crash()
}

/// Everything is there and can be changed.
fn is_well(world: &World, tenants: &[&str], context: &str) {
    for tenant in tenants {
        let handle = world.handle(tenant, "alice").unwrap_or_else(|error| panic!("{context}: {tenant}: {error}"));
        let notes = handle.memories("notes").unwrap();
        assert_eq!(notes.get("k").unwrap().text, Some(format!("text of {tenant}")), "{context}");
        notes.put(Memory::new("another")).unwrap_or_else(|error| panic!("{context}: {tenant}: {error}"));
        let secret = handle.credentials().with_secret("TOKEN", <[u8]>::to_vec).unwrap();
        assert_eq!(secret, format!("secret of {tenant}").into_bytes(), "{context}");
    }
    world.operator().verify_audit().unwrap_or_else(|error| panic!("{context}: {error}"));
}

fn rotate(world: &World, root: &RootKey) -> Result<KeyRotation> {
    world.operator().rotate_engine_key(root, |_| ON)
}

/// Which versions there are, and how many key files each wrapped.
fn used(world: &World) -> Vec<(u32, u64)> {
    let used = world.operator().engine_keys().unwrap();
    assert_eq!((used.damaged, used.unreadable), (0, 0));
    used.versions.into_iter().collect()
}

fn reason<T>(answer: Result<T>) -> Reason {
    answer.err().expect("a refusal").reason().clone()
}

fn actions(world: &World) -> Vec<OperatorAction> {
    let entries = world.operator().audit(1, 1_000).unwrap();
    let of_keys = entries.into_iter().filter(|entry| entry.tenant.is_none());
    of_keys.inspect(|entry| assert!(entry.incarnation.is_none())).map(|entry| entry.action).collect()
}

fn engine_key(disk: &SimDisk, version: u32) -> Vec<u8> {
    disk.bytes(format!("/data/keys/engine.{version}.key")).unwrap()
}

#[test]
fn the_root_key_is_exchanged_under_open_tenants() {
    let disk = filled(1);
    let world = open_sim(&disk, vec![old()]).unwrap();
    let handle = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    world.operator().rotate_root_key(&new()).unwrap();
    handle.get("k").unwrap();
    is_well(&world, &TENANTS, "meanwhile");
    assert_eq!(actions(&world), [OperatorAction::RotateRootKey, OperatorAction::RootKeyRotated]);
    // From here on the new one is the root key.
    assert_eq!(reason(rotate(&world, &old())), Reason::RootKeyWrong);
    drop((handle, world));
    assert_eq!(reason(open_sim(&disk, vec![old()])), Reason::RootKeyWrong);
    for keys in [vec![new()], vec![new(), old()], vec![old(), new()]] {
        is_well(&open_sim(&disk, keys).unwrap(), &TENANTS, "afterwards");
    }
    let many = (0..9).map(|_| new()).collect();
    assert_eq!(open_sim(&disk, many).err().unwrap().kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_engine_key_is_exchanged_under_open_tenants() {
    let disk = filled(1);
    let world = open_sim(&disk, vec![old()]).unwrap();
    world.operator().suspend(&id("zulu")).unwrap();
    let handle = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let before = engine_key(&disk, 1);
    let mut told = Vec::new();
    let rotation = world
        .operator()
        .rotate_engine_key(&old(), |now| {
            // Tenants of either version go on, and new ones come under the new one.
            handle.get("k").unwrap();
            is_well(&world, &["acme", "zoo"], "meanwhile");
            if now.done == 1 {
                world.provision("fresh").unwrap();
            }
            assert_eq!(reason(rotate(&world, &old())), Reason::RotationUnderWay);
            assert_eq!(reason(world.operator().rotate_root_key(&new())), Reason::RotationUnderWay);
            assert_eq!(reason(world.operator().retire_engine_key(1)), Reason::RotationUnderWay);
            told.push((now.done, now.total, now.is_finished()));
            ON
        })
        .unwrap();
    assert_eq!(told, [(1, 3, false), (2, 3, false), (3, 3, true)]);
    assert_eq!((rotation.version, rotation.refused, rotation.is_finished()), (2, 0, true));
    assert_eq!(used(&world), [(1, 0), (2, 4)]);
    assert_eq!(engine_key(&disk, 1), before);
    // Once more there is nothing to do.
    assert!(rotate(&world, &old()).unwrap().is_finished());
    world.operator().retire_engine_key(1).unwrap();
    assert_eq!(used(&world), [(2, 4)]);
    assert!(!disk.files().iter().any(|path| path.to_str().unwrap().contains("engine.1.")));
    world.operator().resume(&id("zulu")).unwrap();
    is_well(&world, &TENANTS, "afterwards");
    use OperatorAction::{EngineKeyRetired, EngineKeyRotated, RetireEngineKey, RotateEngineKey};
    let expected = [
        RotateEngineKey { version: 2 },
        EngineKeyRotated { version: 2 },
        RetireEngineKey { version: 1 },
        EngineKeyRetired { version: 1 },
    ];
    assert_eq!(actions(&world), expected);
    // And a third version, under another root key.
    world.operator().rotate_root_key(&new()).unwrap();
    assert_eq!(rotate(&world, &new()).unwrap().version, 3);
    world.operator().retire_engine_key(2).unwrap();
    drop((handle, world));
    let world = open_sim(&disk, vec![new()]).unwrap();
    is_well(&world, &TENANTS, "reopened");
    assert_eq!(used(&world), [(3, 4)]);
}

#[test]
fn a_stopped_rotation_goes_on_where_it_was_also_after_reopening() {
    let disk = filled(1);
    for done in 1..=2 {
        let world = open_sim(&disk, vec![old()]).unwrap();
        let stopped = world
            .operator()
            .rotate_engine_key(&old(), |now| if now.done == done { ControlFlow::Break(()) } else { ON });
        let stopped = stopped.unwrap();
        assert_eq!((stopped.version, stopped.done, stopped.is_finished()), (2, done, false));
        assert_eq!(used(&world), [(1, 3 - done), (2, done)]);
        is_well(&world, &TENANTS, "half-way");
        for (version, key_files) in used(&world) {
            let refused = reason(world.operator().retire_engine_key(version));
            assert_eq!(refused, Reason::EngineKeyInUse { version, key_files });
        }
    }
    let world = open_sim(&disk, vec![old()]).unwrap();
    assert!(rotate(&world, &old()).unwrap().is_finished());
    world.operator().retire_engine_key(1).unwrap();
    drop(world);
    is_well(&open_sim(&disk, vec![old()]).unwrap(), &TENANTS, "reopened");
}

#[test]
fn another_root_key_than_the_engines_begins_nothing() {
    let disk = filled(1);
    let world = open_sim(&disk, vec![old()]).unwrap();
    let (files, entries) = (disk.files(), world.operator().verify_audit().unwrap());
    assert_eq!(reason(rotate(&world, &new())), Reason::RootKeyWrong);
    assert_eq!(disk.files(), files);
    assert_eq!(world.operator().verify_audit().unwrap(), entries);
}

/// A provider that works, until it does something else.
struct Provider {
    mode: Mutex<&'static str>,
}

impl RootKeyProvider for Provider {
    fn name(&self) -> &str {
        "kms/1"
    }
    fn wrap_key(&self, secret: &[u8; 32]) -> Result<Vec<u8>, ProviderError> {
        match *self.mode.lock() {
            "down" => Err(ProviderError::Unavailable),
            "panics" => panic!("inside of the provider"),
            "garbage" => Ok(vec![1; 40]),
            _ => Ok(secret.iter().map(|byte| byte ^ 0x5A).collect()),
        }
    }
    fn unwrap_key(&self, wrapped: &[u8], secret: &mut [u8; 32]) -> Result<(), ProviderError> {
        match *self.mode.lock() {
            "forgets" => Ok(()),
            "down" => Err(ProviderError::Unavailable),
            _ => {
                secret.iter_mut().zip(wrapped).for_each(|(to, from)| *to = from ^ 0x5A);
                Ok(())
            }
        }
    }
}

#[test]
fn a_provider_that_fails_in_a_rotation_loses_nothing() {
    let disk = filled(1);
    let provider = Arc::new(Provider { mode: Mutex::new("works") });
    let kms = || RootKey::from_provider(provider.clone()).unwrap();
    let world = open_sim(&disk, vec![old()]).unwrap();
    let before = engine_key(&disk, 1);
    for mode in ["down", "panics", "garbage", "forgets"] {
        *provider.mode.lock() = mode;
        let error = world.operator().rotate_root_key(&kms()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyUnavailable, "{mode}");
        assert!(!error.to_string().contains("inside"), "{error}");
        assert_eq!(engine_key(&disk, 1), before);
    }
    *provider.mode.lock() = "works";
    world.operator().rotate_root_key(&kms()).unwrap();
    for mode in ["down", "forgets"] {
        *provider.mode.lock() = mode;
        assert_eq!(rotate(&world, &kms()).unwrap_err().kind(), ErrorKind::KeyUnavailable, "{mode}");
    }
    *provider.mode.lock() = "panics";
    assert_eq!(rotate(&world, &kms()).unwrap_err().kind(), ErrorKind::KeyUnavailable);
    *provider.mode.lock() = "works";
    drop(world);
    is_well(&open_sim(&disk, vec![kms()]).unwrap(), &TENANTS, "under the provider");
    *provider.mode.lock() = "down";
    assert_eq!(open_sim(&disk, vec![kms()]).err().unwrap().kind(), ErrorKind::KeyUnavailable);
    // Back to a key of our own; the provider is asked for nothing.
    *provider.mode.lock() = "works";
    let world = open_sim(&disk, vec![kms(), old()]).unwrap();
    *provider.mode.lock() = "down";
    world.operator().rotate_root_key(&old()).unwrap();
    drop(world);
    is_well(&open_sim(&disk, vec![kms(), old()]).unwrap(), &TENANTS, "back again");
}

#[test]
fn a_passphrase_opens_what_it_sealed_and_only_that() {
    let phrase = |text: &str| RootKey::from_passphrase(text.to_owned()).unwrap();
    let disk = SimDisk::new(1);
    fill(&open_sim(&disk, vec![phrase("correct horse battery")]).unwrap());
    assert_eq!(reason(open_sim(&disk, vec![phrase("correct horse batterz")])), Reason::RootKeyWrong);
    assert_eq!(reason(open_sim(&disk, vec![old()])), Reason::RootKeyWrong);
    let world = open_sim(&disk, vec![old(), phrase("correct horse battery")]).unwrap();
    let before = engine_key(&disk, 1);
    world.operator().rotate_root_key(&phrase("another passphrase")).unwrap();
    assert_ne!(engine_key(&disk, 1), before);
    drop(world);
    is_well(&open_sim(&disk, vec![phrase("another passphrase")]).unwrap(), &TENANTS, "rotated");
    // Costs that somebody writes into the file are refused, not paid.
    let good = engine_key(&disk, 1);
    for at in [55, 59, 63] {
        let mut bad = good.clone();
        bad[at] = 0xFF;
        disk.set_bytes("/data/keys/engine.1.key", bad);
        let refused = open_sim(&disk, vec![phrase("another passphrase")]).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Damaged);
    }
}

/// What keys a file holds is told by its root key alone: each file opens with the one or with the other.
fn opens_with_one(disk: &SimDisk) -> bool {
    let with = |key| open_sim(&disk.kill(), vec![key]).map(drop).map_err(|error| error.reason().clone());
    match (with(old()), with(new())) {
        (Ok(()), Err(Reason::RootKeyWrong)) | (Err(Reason::RootKeyWrong), Ok(())) => true,
        (Err(Reason::RootKeyWrong), Err(Reason::RootKeyWrong)) => false,
        other => panic!("{other:?}"),
    }
}

/// Everything there is to rotate, in one go.
fn rotate_all(world: &World) -> Result<()> {
    let operator = world.operator();
    operator.rotate_root_key(&new())?;
    let rotation = operator.rotate_engine_key(&new(), |_| ON)?;
    assert!(rotation.is_finished());
    for version in operator.engine_keys()?.versions.into_keys() {
        if version < rotation.version {
            operator.retire_engine_key(version)?;
        }
    }
    Ok(())
}

/// Goes on from wherever it is, to an end that shows: nothing but the newest version, nothing left over, one root key.
fn goes_on(directory: &Path, disk: &Arc<dyn Disk>, context: &str) -> World {
    let world = open(directory, disk.clone(), vec![new(), old()]).unwrap_or_else(|error| panic!("{context}: {error}"));
    is_well(&world, &TENANTS, context);
    rotate_all(&world).unwrap_or_else(|error| panic!("{context}: {error}"));
    let used = used(&world);
    assert!(used.len() == 1 && used[0].1 == TENANTS.len() as u64, "{context}: {used:?}");
    drop(world);
    let world = open(directory, disk.clone(), vec![new()]).unwrap_or_else(|error| panic!("{context}: {error}"));
    is_well(&world, &TENANTS, context);
    world
}

fn files_are_those_of(names: &[String], context: &str) {
    // FORMAT, LOCK, catalog and engine key, and two of each tenant.
    assert_eq!(names.len(), 4 + 2 * TENANTS.len(), "{context}: {names:?}");
}

/// The power fails before every single change of a file, with whatever was not synced lost, torn or reordered; and once
/// more while the engine opens after it.
#[test]
fn a_crash_at_any_step_of_a_rotation_loses_nothing() {
    let mut images = 0;
    for seed in 0..4 {
        let disk = filled(seed);
        let world = open_sim(&disk, vec![old()]).unwrap();
        disk.on_mutation(Some(Box::new(|_| true)));
        rotate_all(&world).unwrap();
        disk.on_mutation(None);
        let mut dice = Rng(seed);
        let forks = disk.take_images();
        for (at, image) in forks.iter().enumerate() {
            let context = format!("seed {seed}, step {at} of {}", forks.len());
            // Two versions may have different root keys, for a moment; one version has one of the two.
            let names = image.files().into_iter().map(|path| path.display().to_string());
            let versions = names.filter(|name| name.contains("engine.") && name.ends_with(".key")).count();
            if versions == 1 {
                assert!(opens_with_one(image), "{context}");
            }
            let again = dice.below(30);
            let first = image.mutations();
            image.on_mutation(Some(Box::new(move |number| number - first == again)));
            let disk: Arc<dyn Disk> = Arc::new(image.clone());
            drop(goes_on(Path::new(DATA), &disk, &context));
            image.on_mutation(None);
            let left: Vec<_> = image.files().iter().map(|path| path.display().to_string()).collect();
            files_are_those_of(&left, &context);
            images += 1;
            for second in image.take_images() {
                let disk: Arc<dyn Disk> = Arc::new(second);
                drop(goes_on(Path::new(DATA), &disk, &format!("{context}, crashed again after {again}")));
                images += 1;
            }
        }
    }
    println!("{images} crash images");
    assert!(images > 600, "only {images} crash images");
}

const DIRECTORY: &str = "WATERTIGHT_TEST_ROTATION_DIRECTORY";
const AT: &str = "WATERTIGHT_TEST_ROTATION_AT";

/// Not a test of its own: the body of the child process, which ends at the given change of a file. Without the variable
/// it does nothing.
#[test]
fn child_entry() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let at: u64 = std::env::var(AT).unwrap().parse().unwrap();
    let (armed, count) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let hook = {
        let armed = armed.clone();
        move |operation: &'static str, _: &Path| {
            if operation != "open" && armed.load(Ordering::SeqCst) && count.fetch_add(1, Ordering::SeqCst) == at {
                std::process::abort();
            }
        }
    };
    let world = open(Path::new(&directory), without_syncs(Arc::new(hook)), vec![old()]).unwrap();
    armed.store(true, Ordering::SeqCst);
    rotate_all(&world).unwrap();
    armed.store(false, Ordering::SeqCst);
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect()
}

/// A process of its own is killed before every single change of a file.
#[test]
fn a_process_that_is_killed_at_any_step_of_a_rotation_loses_nothing() {
    let base = tempfile::tempdir().unwrap();
    let made = base.path().join("made");
    let disk = without_syncs(Arc::new(|_, _| ()));
    fill(&open(&made, disk.clone(), vec![old()]).unwrap());
    let mut kills = 0;
    for at in 0.. {
        let directory = base.path().join("data");
        copy_directory(&made, &directory);
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_entry", "--nocapture", "--test-threads", "1"])
            .env(DIRECTORY, &directory)
            .env(AT, at.to_string())
            .output()
            .unwrap();
        let context = format!("killed before change {at}");
        if ended.status.success() {
            is_well(&open(&directory, disk.clone(), vec![new()]).unwrap(), &TENANTS, &context);
            break;
        }
        #[cfg(unix)]
        {
            use std::os::unix::process::ExitStatusExt;
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.signal(), Some(6), "{context}: {said}");
        }
        kills += 1;
        drop(goes_on(&directory, &disk, &context));
        let left: Vec<_> = files_under(&directory).iter().map(|path| path.display().to_string()).collect();
        files_are_those_of(&left, &context);
        fs::remove_dir_all(&directory).unwrap();
    }
    println!("{kills} kill points");
    assert!(kills >= 100, "only {kills} kill points");
}

/// Each way a file operation can fail, at each step: the error is told, everything goes on, and the next call ends it.
#[test]
fn a_fault_at_any_step_of_a_rotation_loses_nothing() {
    let base = filled(3);
    let plan = [
        |disk: &SimDisk, after| disk.fail_write("", after),
        |disk: &SimDisk, after| disk.fail_sync("", after),
        |disk: &SimDisk, after| disk.fail_name("", after),
        |disk: &SimDisk, after| disk.fail_sync_directory("", after),
        |disk: &SimDisk, after| disk.fail_read("", after),
        |disk: &SimDisk, after| disk.short_write("", after, 7),
    ];
    let mut failed = 0;
    for (kind, plan) in plan.iter().enumerate() {
        for after in 0.. {
            let context = format!("fault {kind} after {after}");
            let disk = base.kill();
            let world = open_sim(&disk, vec![old()]).unwrap();
            plan(&disk, after);
            let outcome = rotate_all(&world);
            let happened = disk.planned_faults() == 0;
            disk.clear_faults();
            if let Err(error) = &outcome {
                let kinds = [ErrorKind::Unavailable, ErrorKind::OutcomeUnknown];
                assert!(kinds.contains(&error.kind()), "{context}: {error:?}");
                failed += 1;
            }
            is_well(&world, &TENANTS, &context);
            // In the same process, without reopening.
            rotate_all(&world).unwrap_or_else(|error| panic!("{context}: again: {error}"));
            drop(world);
            let image: Arc<dyn Disk> = Arc::new(disk.crash());
            drop(goes_on(Path::new(DATA), &image, &context));
            if !happened {
                break;
            }
        }
    }
    println!("{failed} failures");
    assert!(failed > 100, "only {failed} failures");
}

/// A purge that begins when the rotation has read the key file, and is about to replace it.
#[test]
fn a_rotation_does_not_bring_back_a_key_that_a_purge_destroyed() {
    let (begin, begun) = mpsc::channel::<PathBuf>();
    let (ended, has_ended) = mpsc::channel();
    let (begin, has_ended) = (Mutex::new(begin), Mutex::new(has_ended));
    let armed = Arc::new(AtomicBool::new(false));
    let hook = {
        let armed = armed.clone();
        move |operation: &'static str, path: &Path| {
            let is_key = path.to_str().unwrap().ends_with(".1.key.tmp");
            if operation == "create" && is_key && armed.swap(false, Ordering::SeqCst) {
                begin.lock().send(path.to_owned()).unwrap();
                // Without the lock it would be done by now; with it, it waits for us.
                let _ = has_ended.lock().recv_timeout(Duration::from_millis(500));
            }
        }
    };
    let disk = Arc::new(MemoryDisk::new());
    let hooked = HookedDisk { disk: disk.clone(), hook: Arc::new(hook), skips_syncs: false };
    let world = open(Path::new(DATA), Arc::new(hooked), vec![old()]).unwrap();
    fill(&world);
    let names: BTreeMap<String, &str> = TENANTS
        .iter()
        .map(|tenant| (world.operator().inspect(&id(tenant)).unwrap().incarnation.to_string(), *tenant))
        .collect();
    armed.store(true, Ordering::SeqCst);
    let path: PathBuf = thread::scope(|scope| {
        let (world, names) = (&world, &names);
        let purger = scope.spawn(move || {
            let path = begun.recv().unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let tenant = names[name.split('.').next().unwrap()];
            world.operator().purge(&id(tenant)).unwrap();
            let _ = ended.send(());
            path
        });
        rotate(world, &old()).unwrap();
        purger.join().unwrap()
    });
    for gone in [path.clone(), path.with_extension("")] {
        assert!(disk.inspect(&gone).unwrap().is_none(), "{gone:?}");
    }
    assert!(rotate(&world, &old()).unwrap().is_finished());
    assert_eq!(used(&world), [(1, 0), (2, 2)]);
}

#[test]
fn purges_and_provisions_beside_rotations_leave_no_key_behind() {
    let disk = SimDisk::new(5);
    let world = open_sim(&disk, vec![old()]).unwrap();
    fill(&world);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..2 {
            let (world, stop) = (&world, &stop);
            scope.spawn(move || {
                for round in 0.. {
                    let name = format!("tenant-{worker}-{round}");
                    world.provision(&name).unwrap();
                    world.handle(&name, "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
                    world.operator().purge(&id(&name)).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for _ in 0..4 {
            let version = loop {
                // A file that is being destroyed cannot be opened any more, and then the next call finds it gone.
                let rotation = rotate(&world, &old()).unwrap();
                if rotation.is_finished() {
                    break rotation.version;
                }
            };
            while let Err(error) = world.operator().retire_engine_key(version - 1) {
                assert!(matches!(error.reason(), Reason::EngineKeyInUse { .. }), "{error}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(used(&world), [(5, 3)]);
    is_well(&world, &TENANTS, "afterwards");
    drop(world);
    let left: Vec<_> = disk.files().iter().map(|path| path.display().to_string()).collect();
    files_are_those_of(&left, "afterwards");
}

/// A whole rotation between the moment in which a tenant that is being opened knows the engine's keys, and the one in
/// which it reads its own.
#[test]
fn a_tenant_is_opened_across_a_whole_rotation() {
    let (begin, begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let (begin, has_ended) = (Mutex::new(begin), Mutex::new(has_ended));
    let armed = Arc::new(AtomicBool::new(false));
    let hook = {
        let armed = armed.clone();
        move |operation: &'static str, path: &Path| {
            let is_key = path.to_str().unwrap().ends_with(".1.key");
            if operation == "open" && is_key && armed.swap(false, Ordering::SeqCst) {
                begin.lock().send(()).unwrap();
                has_ended.lock().recv().unwrap();
            }
        }
    };
    let hooked = HookedDisk { disk: Arc::new(filled(1)), hook: Arc::new(hook), skips_syncs: false };
    let world = open(Path::new(DATA), Arc::new(hooked), vec![old()]).unwrap();
    armed.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let world = &world;
        scope.spawn(move || {
            begun.recv().unwrap();
            rotate(world, &old()).unwrap();
            world.operator().retire_engine_key(1).unwrap();
            ended.send(()).unwrap();
        });
        world.handle("acme", "alice").unwrap();
    });
    assert!(!armed.load(Ordering::SeqCst));
    is_well(&world, &TENANTS, "afterwards");
}

/// Each operation opens its tenant's file, so that the key is read at every moment of a rotation.
#[test]
fn tenants_that_are_opened_all_the_time_never_miss_their_key() {
    let disk = filled(1);
    let builder = Engine::builder(DATA).root_key(old()).open_tenants_max(1).danger().disk(Arc::new(disk));
    let (engine, authority) = builder.open().unwrap();
    let world = World { engine, authority };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            let handles = TENANTS.map(|tenant| (tenant, world.handle(tenant, "alice").unwrap()));
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for (tenant, handle) in &handles {
                        match handle.memories("notes").unwrap().get("k") {
                            Ok(found) => assert_eq!(found.text, Some(format!("text of {tenant}"))),
                            Err(error) => assert_eq!(*error.reason(), Reason::NoRoom),
                        }
                    }
                }
            });
        }
        for version in 2.. {
            assert_eq!(rotate(&world, &old()).unwrap().version, version);
            world.operator().retire_engine_key(version - 1).unwrap();
            if version >= 20 && world.engine.stats().opens > 200 {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_damaged_key_file_keeps_the_others_from_nothing_but_the_version_from_being_retired() {
    let disk = filled(1);
    let world = open_sim(&disk, vec![old()]).unwrap();
    let incarnation = world.operator().inspect(&id("zoo")).unwrap().incarnation.to_string();
    let path = PathBuf::from(format!("/data/keys/{}/{incarnation}.1.key", &incarnation[..2]));
    let good = disk.bytes(&path).unwrap();
    for (at, expected, told) in [(100, [(1, 1), (2, 2)], (1, 0)), (0, [(1, 0), (2, 2)], (0, 1))] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        disk.set_bytes(&path, bad);
        let rotation = rotate(&world, &old()).unwrap();
        assert_eq!((rotation.done, rotation.refused, rotation.is_finished()), (2, 1, false));
        let used = world.operator().engine_keys().unwrap();
        assert_eq!(used.versions.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!((used.damaged, used.unreadable), told);
        let refused = reason(world.operator().retire_engine_key(1));
        assert_eq!(refused, Reason::EngineKeyInUse { version: 1, key_files: 1 });
    }
    disk.set_bytes(&path, good);
    assert!(rotate(&world, &old()).unwrap().is_finished());
    world.operator().retire_engine_key(1).unwrap();
    is_well(&world, &TENANTS, "mended");
}

/// The rotation asks the files and not the catalog, so that an older catalog does not cost a tenant its key.
#[test]
fn tenants_that_an_older_catalog_does_not_name_keep_their_keys() {
    let disk = SimDisk::new(1);
    let world = open_sim(&disk, vec![old()]).unwrap();
    let before = {
        drop(world);
        disk.bytes("/data/catalog.redb").unwrap()
    };
    fill(&open_sim(&disk, vec![old()]).unwrap());
    let after = disk.bytes("/data/catalog.redb").unwrap();
    disk.set_bytes("/data/catalog.redb", before);
    let world = open_sim(&disk, vec![old()]).unwrap();
    assert_eq!(world.operator().list(None, 10).unwrap(), []);
    assert_eq!(rotate(&world, &old()).unwrap().done, 3);
    world.operator().retire_engine_key(1).unwrap();
    drop(world);
    disk.set_bytes("/data/catalog.redb", after);
    is_well(&open_sim(&disk, vec![old()]).unwrap(), &TENANTS, "with the newer catalog");
}

#[test]
fn a_missing_engine_key_is_told_and_not_made_again() {
    let disk = filled(1);
    rotate(&open_sim(&disk, vec![old()]).unwrap(), &old()).unwrap();
    let (first, second) = ("/data/keys/engine.1.key", "/data/keys/engine.2.key");
    // The newest is missing: the catalog knows that there was one.
    let image = disk.kill();
    image.remove_raw(second);
    assert!(matches!(reason(open_sim(&image, vec![old()])), Reason::KeyFileMissing(_)));
    // The older one is missing, which nothing needs any more.
    let image = disk.kill();
    image.remove_raw(first);
    is_well(&open_sim(&image, vec![old()]).unwrap(), &TENANTS, "without the first");
    let image = disk.kill();
    image.remove_raw(first);
    image.remove_raw(second);
    assert!(matches!(reason(open_sim(&image, vec![old()])), Reason::KeyFileMissing(_)));
    // One takes the place of the other.
    let image = disk.kill();
    image.swap_raw(first, second);
    assert!(matches!(reason(open_sim(&image, vec![old()])), Reason::KeyFileRefused(_)));
    // A key file that names a version that is gone.
    let disk = filled(2);
    let world = open_sim(&disk, vec![old()]).unwrap();
    let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation.to_string();
    let path = format!("/data/keys/{}/{incarnation}.1.key", &incarnation[..2]);
    let kept = disk.bytes(&path).unwrap();
    rotate_all(&world).unwrap();
    drop(world);
    disk.set_bytes(&path, kept);
    let world = open_sim(&disk, vec![new()]).unwrap();
    assert!(matches!(reason(world.handle("acme", "alice")), Reason::KeyFileMissing(_)));
    is_well(&world, &["zoo", "zulu"], "the others");
}

#[test]
fn a_closed_engine_rotates_nothing() {
    let disk = filled(1);
    let world = open_sim(&disk, vec![old()]).unwrap();
    let operator = world.operator();
    let before = engine_key(&disk, 1);
    world.engine.close().unwrap();
    let files = disk.files();
    assert_eq!(reason(operator.rotate_root_key(&new())), Reason::Closed);
    assert_eq!(reason(operator.rotate_engine_key(&old(), |_| ON)), Reason::Closed);
    assert_eq!((disk.files(), engine_key(&disk, 1)), (files, before));
    // Nor does one that is closed on the way.
    let world = open_sim(&disk, vec![old()]).unwrap();
    let operator = world.operator();
    let stopped = operator.rotate_engine_key(&old(), |_| {
        world.engine.close().unwrap();
        ON
    });
    assert_eq!(reason(stopped), Reason::Closed);
    drop((operator, world));
    let disk: Arc<dyn Disk> = Arc::new(disk);
    goes_on(Path::new(DATA), &disk, "reopened");
}
