//! Absent is not destroyed. Whatever of a data directory is away (a mount that is missing, a directory that got another
//! name, a process that went elsewhere), nothing is called destroyed that was not seen; and when it is back, the same call
//! destroys it.

#![cfg(unix)]

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use support::hooked::{HookedDisk, copy_directory};
use support::world::{World, root_key};
use watertight::disk::{Disk, SystemDisk};
use watertight::{
    Authored, Destroyed, Engine, ErrorKind, Incarnation, KeyRotation, Memory, OperatorAction, Reason, Receipt,
    RekeyProgress, Result, TenantId, TenantStatus,
};

const CHILD: &str = "WATERTIGHT_TEST_DESTROYED_DIRECTORY";

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

fn go_on(_: RekeyProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The system's disk by its handle of the data directory, and one without such handles, by path.
fn disks() -> [(&'static str, Arc<dyn Disk>); 2] {
    let by_path = HookedDisk { disk: Arc::new(SystemDisk), hook: Arc::new(|_, _| ()), skips_syncs: false };
    [("by handle", Arc::new(SystemDisk)), ("by path", Arc::new(by_path))]
}

/// A data directory with the tenants acme and zoo, and their users alice and bob.
struct Scene {
    outside: tempfile::TempDir,
    data: PathBuf,
    disk: Arc<dyn Disk>,
    acme: Incarnation,
}

impl Scene {
    fn new(disk: Arc<dyn Disk>) -> Self {
        let outside = tempfile::tempdir().unwrap();
        let data = outside.path().join("data");
        let world = World::open(&data, disk.clone()).unwrap();
        for tenant in ["acme", "zoo"] {
            world.provision(tenant).unwrap();
            for user in ["alice", "bob"] {
                let notes = world.handle(tenant, user).unwrap().memories("notes").unwrap();
                notes.put(Memory::new(user).text("private")).unwrap();
            }
        }
        let acme = world.operator().inspect(&id("acme")).unwrap().incarnation;
        Self { outside, data, disk, acme }
    }

    fn open(&self) -> Result<World> {
        World::open(&self.data, self.disk.clone())
    }

    fn fan_out(&self) -> String {
        self.acme.to_string()[..2].to_owned()
    }

    fn key(&self, epoch: u32) -> PathBuf {
        self.data.join(format!("keys/{}/{}.{epoch}.key", self.fan_out(), self.acme))
    }

    fn own(&self) -> PathBuf {
        self.data.join(format!("tenants/{}/{}", self.fan_out(), self.acme))
    }

    fn file(&self, epoch: u32) -> PathBuf {
        self.own().join(format!("data.{epoch}.redb"))
    }

    /// Everything on the way to acme's two files.
    fn parts(&self) -> Vec<PathBuf> {
        let (keys, tenants) = (self.data.join("keys"), self.data.join("tenants"));
        let (key_fan_out, fan_out) = (keys.join(self.fan_out()), tenants.join(self.fan_out()));
        vec![keys, key_fan_out, self.key(1), tenants, fan_out, self.own(), self.file(1)]
    }

    fn key_parts(&self) -> Vec<PathBuf> {
        self.parts().into_iter().take(3).collect()
    }

    /// A second name of acme's key file outside, by which its bytes can be seen when the first one has gone.
    fn link_key(&self) -> PathBuf {
        let link = self.outside.path().join("key");
        fs::hard_link(self.key(1), &link).unwrap();
        link
    }

    fn is_well(&self, world: &World, tenant: &str, context: &str) {
        let notes = world.handle(tenant, "alice").and_then(|handle| handle.memories("notes"));
        let found = notes.and_then(|notes| notes.get("alice")).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(found.text.as_deref(), Some("private"), "{context}");
    }
}

/// Something that is away, with or without an empty directory in its place.
struct Away {
    path: PathBuf,
    kept: PathBuf,
    is_replaced: bool,
}

#[expect(clippy::disallowed_methods, reason = "this is who moves things about, not the engine")]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

impl Away {
    fn new(scene: &Scene, path: &Path, is_replaced: bool) -> Self {
        let kept = scene.outside.path().join("away");
        rename(path, &kept);
        if is_replaced {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::metadata(&kept).unwrap().permissions()).unwrap();
        }
        Self { path: path.to_owned(), kept, is_replaced }
    }

    fn back(self) {
        if self.is_replaced {
            fs::remove_dir_all(&self.path).unwrap();
        }
        rename(&self.kept, &self.path);
    }
}

/// Every way in which a part can be away.
fn every_way(scene: fn(&Scene) -> Vec<PathBuf>, case: impl Fn(&Scene, &Path, bool, &str)) {
    let mut cases = 0;
    for (how, disk) in disks() {
        for part in 0.. {
            let mut is_last = false;
            for is_replaced in [false, true] {
                let made = Scene::new(disk.clone());
                let parts = scene(&made);
                let Some(path) = parts.get(part) else {
                    is_last = true;
                    break;
                };
                if is_replaced && path.is_file() {
                    continue;
                }
                let name = path.strip_prefix(&made.data).unwrap().display();
                let context = format!("{how}, {name} away, an empty one in its place: {is_replaced}");
                case(&made, path, is_replaced, &context);
                cases += 1;
            }
            if is_last {
                break;
            }
        }
    }
    assert!(cases >= 10, "only {cases} cases");
}

fn is_refusal(answer: &Result<Receipt>, context: &str) {
    let error = answer.as_ref().expect_err(context);
    assert!(
        matches!(error.reason(), Reason::Missing(_) | Reason::KeyFileMissing(_) | Reason::Io(_)),
        "{context}: {error:?}"
    );
}

#[test]
fn a_purge_destroys_what_it_sees_or_fails() {
    every_way(Scene::parts, |scene, path, is_replaced, context| {
        let (world, link) = (scene.open().unwrap(), scene.link_key());
        let data = scene.outside.path().join("data file");
        fs::hard_link(scene.file(1), &data).unwrap();
        scene.is_well(&world, "acme", context);
        let key = fs::read(&link).unwrap();
        let away = Away::new(scene, path, is_replaced);
        for _ in 0..2 {
            is_refusal(&world.operator().purge(&id("acme")), context);
            assert_eq!(world.operator().tombstone(scene.acme).unwrap_err().kind(), ErrorKind::NotFound, "{context}");
            assert_eq!(world.operator().receipt(scene.acme).unwrap_err().kind(), ErrorKind::NotFound, "{context}");
            assert_eq!(world.operator().inspect(&id("acme")).unwrap().status, TenantStatus::Purging, "{context}");
        }
        assert_eq!(fs::read(&link).unwrap(), key, "{context}: destroyed without all of it in sight");
        assert_ne!(fs::metadata(&data).unwrap().len(), 0, "{context}: destroyed without all of it in sight");
        away.back();
        let receipt = world.operator().purge(&id("acme")).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(world.operator().verify_receipt(&receipt).unwrap().destroyed, Destroyed::Tenant);
        assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0), "{context}: the key is still there");
        assert_eq!(fs::metadata(&data).unwrap().len(), 0, "{context}: the data is still there");
        assert!(!scene.key(1).exists() && !scene.own().exists(), "{context}");
        scene.is_well(&world, "zoo", context);
    });
}

/// Another directory with the right names in it, as of a snapshot that is mounted there, is not the one that was opened.
#[test]
fn a_copy_in_the_place_of_a_directory_is_neither_destroyed_nor_written_to() {
    for name in ["keys", "tenants"] {
        let scene = Scene::new(Arc::new(SystemDisk));
        let (world, link) = (scene.open().unwrap(), scene.link_key());
        let path = scene.data.join(name);
        let away = Away::new(&scene, &path, false);
        let is_missing = |answer: Result<()>| {
            let error = answer.unwrap_err();
            assert!(matches!(error.reason(), Reason::Missing(_)), "{name}: {error:?}");
        };
        is_missing(world.provision("first"));
        copy_directory(&away.kept, &path);
        is_missing(world.provision("second"));
        is_missing(rekey(&world).map(|_| ()));
        is_missing(world.operator().purge(&id("acme")).map(|_| ()));
        assert!(scene.key(1).exists() && scene.file(1).exists(), "{name}: the copy was destroyed");
        fs::remove_dir_all(&path).unwrap();
        away.back();
        world.operator().purge(&id("acme")).unwrap();
        assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0), "{name}: the key is still there");
        world.engine.close().unwrap();
        drop(world);
        let world = scene.open().unwrap();
        ["first", "second"].iter().for_each(|tenant| world.provision(tenant).unwrap());
    }
}

#[test]
fn what_a_purge_could_not_destroy_is_destroyed_by_an_opening_that_sees_it() {
    every_way(Scene::parts, |scene, path, is_replaced, context| {
        let link = scene.link_key();
        let world = scene.open().unwrap();
        let away = Away::new(scene, path, is_replaced);
        is_refusal(&world.operator().purge(&id("acme")), context);
        drop(world);
        // Opened while it is away, it is not destroyed either. Without the engine's key it does not open at all.
        if let Ok(world) = scene.open() {
            assert_eq!(world.operator().inspect(&id("acme")).unwrap().status, TenantStatus::Purging, "{context}");
            assert_eq!(world.operator().receipt(scene.acme).unwrap_err().kind(), ErrorKind::NotFound, "{context}");
        }
        away.back();
        let world = scene.open().unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(world.operator().inspect(&id("acme")).unwrap_err().kind(), ErrorKind::NotFound, "{context}");
        assert_eq!(world.operator().tombstone(scene.acme).unwrap().tenant, id("acme"), "{context}");
        assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0), "{context}: the key is still there");
        scene.is_well(&world, "zoo", context);
    });
}

fn rotate(world: &World) -> Result<KeyRotation> {
    world.operator().rotate_engine_key(&root_key(), |_| ControlFlow::Continue(()))
}

fn rekey(world: &World) -> Result<Receipt> {
    world.operator().rekey(&id("acme"), go_on)
}

fn erase(world: &World) -> Result<Receipt> {
    let bob = world.identity("acme", "bob", watertight::Scopes::NONE).user().clone();
    world.handle("acme", "alice")?.erase_user(&bob, Authored::Goes, go_on).map(|erasure| erasure.receipt)
}

#[test]
fn a_rekeying_and_an_erasure_destroy_what_they_see_or_fail() {
    every_way(Scene::parts, |scene, path, is_replaced, context| {
        let world = scene.open().unwrap();
        // Its file is open, so that it is not for want of the key that the tenant refuses.
        scene.is_well(&world, "acme", context);
        for (number, run) in [rekey, erase].into_iter().enumerate() {
            let epoch = number as u32 + 1;
            let names = |path: &Path| path.to_string_lossy().replace(".1.", &format!(".{epoch}."));
            let path = PathBuf::from(names(path));
            let (key, file) = (fs::read(scene.key(epoch)).unwrap(), scene.file(epoch));
            let link = scene.outside.path().join(format!("key.{epoch}"));
            fs::hard_link(scene.key(epoch), &link).unwrap();
            let away = Away::new(scene, &path, is_replaced);
            is_refusal(&run(&world), context);
            assert_eq!(fs::read(&link).unwrap(), key, "{context}");
            scene.is_well(&world, "acme", context);
            away.back();
            assert!(file.exists());
            run(&world).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0), "{context}: the key is still there");
            assert!(!scene.key(epoch).exists() && !file.exists(), "{context}");
            scene.is_well(&world, "acme", context);
        }
    });
}

/// While the copy goes on, after everything was seen.
#[test]
fn a_former_key_that_went_away_during_the_rekeying_is_not_called_destroyed() {
    for (how, disk) in disks() {
        let scene = Scene::new(disk);
        let (world, link) = (scene.open().unwrap(), scene.link_key());
        let mut away = None;
        let answer = world.operator().rekey(&id("acme"), |_| {
            away.get_or_insert_with(|| Away::new(&scene, &scene.key(1), false));
            ControlFlow::Continue(())
        });
        is_refusal(&answer, how);
        let done = |world: &World| {
            let trail = world.operator().audit(1, 1_000).unwrap();
            trail.iter().any(|entry| entry.action == OperatorAction::Rekeyed)
        };
        // It goes on with its new key, and the former one is missed: also by the next re-keying, opening and purge.
        scene.is_well(&world, "acme", how);
        is_refusal(&rekey(&world), how);
        drop(world);
        let world = scene.open().unwrap();
        scene.is_well(&world, "acme", how);
        assert!(!done(&world), "{how}");
        is_refusal(&world.operator().purge(&id("acme")), how);
        assert_ne!(fs::read(&link).unwrap()[0], 0, "{how}");
        away.unwrap().back();
        let receipt = world.operator().purge(&id("acme")).unwrap();
        assert_eq!(world.operator().verify_receipt(&receipt).unwrap().last_epoch.to_string(), "2", "{how}");
        assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0), "{how}");
    }
}

#[test]
fn a_rekeying_that_was_given_up_is_not_over_before_its_files_were_seen() {
    for (how, disk) in disks() {
        let scene = Scene::new(disk);
        let world = scene.open().unwrap();
        let mut away = None;
        let answer = world.operator().rekey(&id("acme"), |_| {
            away.get_or_insert_with(|| Away::new(&scene, &scene.own(), false));
            ControlFlow::Break(())
        });
        assert_eq!(*answer.unwrap_err().reason(), Reason::Cancelled, "{how}");
        let abandoned = || {
            let trail = world.operator().audit(1, 1_000).unwrap();
            trail.iter().filter(|entry| entry.action == OperatorAction::RekeyAbandoned).count()
        };
        // What it had begun to write is away as well.
        is_refusal(&rekey(&world), how);
        assert_eq!(abandoned(), 0, "{how}");
        away.unwrap().back();
        scene.is_well(&world, "acme", how);
        rekey(&world).unwrap();
        assert_eq!(abandoned(), 1, "{how}");
        assert!(!scene.key(1).exists() && scene.key(2).exists(), "{how}");
        assert_eq!(fs::read_dir(scene.own()).unwrap().count(), 1, "{how}");
    }
}

#[test]
fn a_rekeying_that_was_tidied_up_by_halves_is_finished_when_the_former_key_is_back() {
    let scene = Scene::new(Arc::new(SystemDisk));
    let world = scene.open().unwrap();
    let mut away = None;
    world
        .operator()
        .rekey(&id("acme"), |_| {
            away.get_or_insert_with(|| Away::new(&scene, &scene.key(1), false));
            ControlFlow::Continue(())
        })
        .unwrap_err();
    drop(world);
    away.unwrap().back();
    let world = scene.open().unwrap();
    assert!(!scene.key(1).exists() && !scene.file(1).exists());
    let last = world.operator().audit(1, 1_000).unwrap().pop().unwrap();
    assert_eq!(last.action, OperatorAction::Rekeyed);
    scene.is_well(&world, "acme", "finished");
}

#[test]
fn an_engine_key_is_not_exchanged_or_retired_while_a_tenant_has_no_key_file() {
    every_way(Scene::key_parts, |scene, path, is_replaced, context| {
        let world = scene.open().unwrap();
        let away = Away::new(scene, path, is_replaced);
        let refused = |error: &watertight::Error| match error.reason() {
            Reason::KeyFilesMissing { tenants } => assert!((1..=2).contains(tenants), "{context}: {error}"),
            // The whole directory, with the engine's own.
            Reason::Missing(_) | Reason::KeyFileMissing(_) => assert!(path.ends_with("keys"), "{context}: {error}"),
            _ => panic!("{context}: {error:?}"),
        };
        refused(&rotate(&world).unwrap_err());
        assert_eq!(world.operator().audit(1, 100).unwrap().len(), 2, "{context}: it has begun all the same");
        away.back();
        // Two files, of which the second stays under the first version.
        let rotation = world.operator().rotate_engine_key(&root_key(), |_| ControlFlow::Break(())).unwrap();
        assert_eq!((rotation.done, rotation.total), (1, 2), "{context}");
        let away = Away::new(scene, path, is_replaced);
        refused(&rotate(&world).unwrap_err());
        refused(&world.operator().retire_engine_key(1).unwrap_err());
        away.back();
        assert!(rotate(&world).unwrap().is_finished(), "{context}");
        world.operator().retire_engine_key(1).unwrap();
        assert!(!scene.data.join("keys/engine.1.key").exists() && !scene.data.join("keys/engine.1.retired").exists());
        drop(world);
        let world = scene.open().unwrap();
        scene.is_well(&world, "acme", context);
        scene.is_well(&world, "zoo", context);
    });
}

#[test]
fn the_number_of_tenants_without_a_key_file_is_told() {
    let scene = Scene::new(Arc::new(SystemDisk));
    let world = scene.open().unwrap();
    let keys: Vec<PathBuf> = ["acme", "zoo"]
        .iter()
        .map(|tenant| {
            let incarnation = world.operator().inspect(&id(tenant)).unwrap().incarnation.to_string();
            scene.data.join(format!("keys/{}/{incarnation}.1.key", &incarnation[..2]))
        })
        .collect();
    for (count, key) in (1..).zip(&keys) {
        rename(key, &scene.outside.path().join(count.to_string()));
        let refused = rotate(&world).unwrap_err();
        assert_eq!(*refused.reason(), Reason::KeyFilesMissing { tenants: count });
        assert_eq!(refused.kind(), ErrorKind::KeyUnavailable);
        assert!(refused.to_string().starts_with(&count.to_string()), "{refused}");
    }
    // A file of the right name without a key in it is not a key file either.
    for (count, key) in (1..).zip(&keys) {
        rename(&scene.outside.path().join(count.to_string()), key);
    }
    let key = fs::read(&keys[0]).unwrap();
    fs::write(&keys[0], vec![0; key.len()]).unwrap();
    let refused = rotate(&world).unwrap_err();
    assert_eq!(*refused.reason(), Reason::KeyFilesMissing { tenants: 1 });
    fs::write(&keys[0], key).unwrap();
    assert!(rotate(&world).unwrap().is_finished());
}

/// A key file that goes away while its turn comes is not taken for one that a purge destroyed.
#[test]
fn a_rotation_that_misses_a_key_file_on_the_way_is_not_finished() {
    let scene = Scene::new(Arc::new(SystemDisk));
    let world = scene.open().unwrap();
    let mut away = None;
    let answer = world.operator().rotate_engine_key(&root_key(), |_| {
        let incarnations = ["acme", "zoo"].map(|name| world.operator().inspect(&id(name)).unwrap().incarnation);
        // The files come in the order of their names: the greater one is left.
        let left = incarnations.map(|incarnation| incarnation.to_string()).into_iter().max().unwrap();
        let path = scene.data.join(format!("keys/{}/{left}.1.key", &left[..2]));
        away.get_or_insert_with(|| Away::new(&scene, &path, false));
        ControlFlow::Continue(())
    });
    assert_eq!(*answer.unwrap_err().reason(), Reason::KeyFilesMissing { tenants: 1 });
    away.unwrap().back();
    assert!(rotate(&world).unwrap().is_finished());
    let used = world.operator().engine_keys().unwrap();
    assert_eq!((used.versions[&1], used.versions[&2]), (0, 2));
}

#[test]
fn an_opening_makes_no_empty_directory_in_the_place_of_one_that_is_away() {
    let scene = Scene::new(Arc::new(SystemDisk));
    for name in ["keys", "tenants"] {
        let path = scene.data.join(name);
        let away = Away::new(&scene, &path, false);
        let refused = scene.open().map(|_| ()).unwrap_err();
        assert!(matches!(refused.reason(), Reason::Missing(_)), "{refused}");
        assert!(!path.exists(), "{name}");
        away.back();
        scene.is_well(&scene.open().unwrap(), "acme", name);
    }
    // Nor a new catalog, when all that shows that there were tenants is a directory of keys.
    let catalog = Away::new(&scene, &scene.data.join("catalog.redb"), false);
    let tenants = scene.outside.path().join("tenants");
    rename(&scene.data.join("tenants"), &tenants);
    assert_eq!(scene.open().map(|_| ()).unwrap_err().kind(), ErrorKind::Damaged);
    assert!(!scene.data.join("catalog.redb").exists());
    fs::remove_dir(scene.data.join("tenants")).unwrap();
    rename(&tenants, &scene.data.join("tenants"));
    catalog.back();
    scene.is_well(&scene.open().unwrap(), "acme", "all back");
}

#[test]
fn an_older_catalog_gets_no_receipt_for_what_is_not_there() {
    for (how, disk) in disks() {
        let scene = Scene::new(disk);
        let (catalog, before) = (scene.data.join("catalog.redb"), scene.outside.path().join("before"));
        fs::copy(&catalog, &before).unwrap();
        scene.open().unwrap().operator().purge(&id("acme")).unwrap();
        fs::copy(&before, &catalog).unwrap();
        let world = scene.open().unwrap();
        assert!(world.handle("acme", "alice").is_err(), "{how}");
        is_refusal(&world.operator().purge(&id("acme")), how);
        assert_eq!(world.operator().receipt(scene.acme).unwrap_err().kind(), ErrorKind::NotFound);
        scene.is_well(&world, "zoo", how);
    }
}

/// An older catalog may call a tenant half-made that has long been in service. Its files are complete, but not in sight.
#[test]
fn an_older_catalog_undoes_no_tenant_whose_files_are_away() {
    for part in ["keys", "tenants", "key file"] {
        let outside = tempfile::tempdir().unwrap();
        let (data, before) = (outside.path().join("data"), outside.path().join("before"));
        let hook = {
            let (data, before) = (data.clone(), before.clone());
            move |change: &'static str, path: &Path| {
                if change == "create" && path.extension().is_some_and(|extension| extension == "tmp") {
                    let inside = path.strip_prefix(&data).unwrap();
                    if inside.starts_with("keys") && inside.components().count() == 3 && !before.exists() {
                        fs::copy(data.join("catalog.redb"), &before).unwrap();
                    }
                }
            }
        };
        let disk = HookedDisk { disk: Arc::new(SystemDisk), hook: Arc::new(hook), skips_syncs: false };
        let world = World::open(&data, Arc::new(disk)).unwrap();
        world.provision("acme").unwrap();
        world.handle("acme", "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
        let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation.to_string();
        drop(world);
        fs::copy(&before, data.join("catalog.redb")).unwrap();
        let path = match part {
            "key file" => data.join(format!("keys/{}/{incarnation}.1.key", &incarnation[..2])),
            directory => data.join(directory).join(&incarnation[..2]),
        };
        rename(&path, &outside.path().join("away"));
        {
            let world = World::at(&data);
            assert_eq!(world.operator().inspect(&id("acme")).unwrap().status, TenantStatus::Provisioning, "{part}");
        }
        rename(&outside.path().join("away"), &path);
        let world = World::at(&data);
        assert!(world.handle("acme", "alice").unwrap().memories("notes").unwrap().exists("k").unwrap(), "{part}");
    }
}

/// From the middle of a re-keying, when both pairs were whole. The later one may be of an attempt that was given up, and what
/// was written since is in the former file alone: that its key file is away does not make it the one that was destroyed.
#[test]
fn an_older_catalog_does_not_go_over_to_the_next_file_while_the_former_one_may_come_back() {
    let outside = tempfile::tempdir().unwrap();
    let [data, kept, catalog] = ["data", "kept", "catalog"].map(|name| outside.path().join(name));
    let hook = {
        let (data, kept) = (data.clone(), kept.clone());
        move |change: &'static str, path: &Path| {
            // The former key is overwritten next.
            if change == "write" && path.to_string_lossy().ends_with(".1.key") && !kept.exists() {
                copy_directory(&data, &kept);
            }
        }
    };
    let disk = HookedDisk { disk: Arc::new(SystemDisk), hook: Arc::new(hook), skips_syncs: false };
    let world = World::open(&data, Arc::new(disk)).unwrap();
    world.provision("acme").unwrap();
    world.handle("acme", "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
    let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation.to_string();
    let copied = world.operator().rekey(&id("acme"), |_| {
        if !catalog.exists() {
            fs::copy(data.join("catalog.redb"), &catalog).unwrap();
        }
        ControlFlow::Continue(())
    });
    copied.unwrap();
    drop(world);
    fs::copy(&catalog, kept.join("catalog.redb")).unwrap();
    let key = |epoch: u32| kept.join(format!("keys/{}/{incarnation}.{epoch}.key", &incarnation[..2]));
    let file = kept.join(format!("tenants/{}/{incarnation}/data.1.redb", &incarnation[..2]));
    assert!(key(1).exists() && key(2).exists() && file.exists());
    let length = fs::metadata(&file).unwrap().len();
    rename(&key(1), &outside.path().join("away"));
    {
        let world = World::at(&kept);
        assert_eq!(world.handle("acme", "alice").unwrap_err().kind(), ErrorKind::KeyUnavailable);
        assert_eq!(fs::metadata(&file).unwrap().len(), length);
    }
    rename(&outside.path().join("away"), &key(1));
    let world = World::at(&kept);
    assert!(world.handle("acme", "alice").unwrap().memories("notes").unwrap().exists("k").unwrap());
    assert!(key(1).exists() && !key(2).exists());
}

/// Between its two names, as the directory is synced.
#[test]
fn a_retired_engine_key_that_went_away_is_destroyed_by_an_opening_that_sees_it() {
    let outside = tempfile::tempdir().unwrap();
    let (data, kept) = (outside.path().join("data"), outside.path().join("kept"));
    let (retired, link) = (data.join("keys/engine.1.retired"), outside.path().join("link"));
    let hook = {
        let (retired, kept) = (retired.clone(), kept.clone());
        move |change: &'static str, _: &Path| {
            if change == "sync directory" && retired.exists() && !kept.exists() {
                rename(&retired, &kept);
            }
        }
    };
    let disk = HookedDisk { disk: Arc::new(SystemDisk), hook: Arc::new(hook), skips_syncs: false };
    let world = World::open(&data, Arc::new(disk)).unwrap();
    world.provision("acme").unwrap();
    fs::hard_link(data.join("keys/engine.1.key"), &link).unwrap();
    assert!(rotate(&world).unwrap().is_finished());
    let refused = world.operator().retire_engine_key(1).unwrap_err();
    assert!(matches!(refused.reason(), Reason::KeyFileMissing(_)), "{refused:?}");
    let is_retired = |world: &World| {
        let trail = world.operator().audit(1, 100).unwrap();
        trail.iter().any(|entry| matches!(entry.action, OperatorAction::EngineKeyRetired { .. }))
    };
    assert!(!is_retired(&world));
    drop(world);
    rename(&kept, &retired);
    let world = World::at(&data);
    assert!(is_retired(&world) && !retired.exists());
    assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0), "the key is still there");
}

#[test]
fn an_empty_file_in_the_place_of_one_that_is_lost_lets_a_purge_end() {
    let scene = Scene::new(Arc::new(SystemDisk));
    let world = scene.open().unwrap();
    for path in [scene.key(1), scene.file(1)] {
        rename(&path, &scene.outside.path().join("lost"));
        is_refusal(&world.operator().purge(&id("acme")), "lost");
        fs::write(&path, "").unwrap();
    }
    world.operator().purge(&id("acme")).unwrap();
    assert!(!scene.key(1).exists() && !scene.own().exists());
}

#[test]
fn a_data_directory_that_gets_another_name_is_the_same_one() {
    let scene = Scene::new(Arc::new(SystemDisk));
    let (world, link) = (scene.open().unwrap(), scene.link_key());
    scene.is_well(&world, "zoo", "before");
    let renamed = scene.outside.path().join("renamed");
    rename(&scene.data, &renamed);
    // A stranger under its former name is not touched.
    copy_directory(&renamed, &scene.data);
    let receipt = world.operator().purge(&id("acme")).unwrap();
    world.operator().verify_receipt(&receipt).unwrap();
    assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0), "the key is still there");
    assert!(scene.key(1).exists(), "of the copy");
    world.provision("later").unwrap();
    rekey_of(&world, "zoo").unwrap();
    drop(world);
    let world = World::at(&renamed);
    assert_eq!(world.handle("acme", "alice").unwrap_err().kind(), ErrorKind::NotFound);
    scene.is_well(&world, "zoo", "after");
    world.handle("later", "alice").unwrap();
}

fn rekey_of(world: &World, tenant: &str) -> Result<Receipt> {
    world.operator().rekey(&id(tenant), go_on)
}

/// Not a test of its own: the body of a child process, which goes to another working directory. Without the variable it
/// does nothing.
#[test]
fn child_entry() {
    let Ok(outside) = std::env::var(CHILD) else { return };
    let outside = PathBuf::from(outside);
    for (number, (how, disk)) in disks().into_iter().enumerate() {
        std::env::set_current_dir(&outside).unwrap();
        let name = format!("data-{number}");
        let world = World::open(Path::new(&name), disk.clone()).unwrap();
        for tenant in ["acme", "zoo"] {
            world.provision(tenant).unwrap();
            world.handle(tenant, "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
        }
        let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation.to_string();
        let key = outside.join(format!("{name}/keys/{}/{incarnation}.1.key", &incarnation[..2]));
        let link = outside.join(format!("key-{number}"));
        fs::hard_link(&key, &link).unwrap();
        let elsewhere = outside.join(format!("elsewhere-{number}"));
        fs::create_dir(&elsewhere).unwrap();
        std::env::set_current_dir(&elsewhere).unwrap();
        world.operator().purge(&id("acme")).unwrap();
        world.provision("later").unwrap();
        rekey_of(&world, "zoo").unwrap();
        rotate(&world).unwrap();
        world.operator().retire_engine_key(1).unwrap();
        drop(world);
        assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0) && !key.exists(), "{how}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{how}");
        let world = World::open(&outside.join(&name), disk).unwrap();
        assert_eq!(world.operator().engine_keys().unwrap().newest, 2);
        world.handle("later", "alice").unwrap();
        assert!(world.handle("zoo", "alice").unwrap().memories("notes").unwrap().exists("k").unwrap(), "{how}");
    }
    println!("\nwas elsewhere");
}

#[test]
fn a_change_of_the_working_directory_redirects_nothing() {
    let outside = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_entry", "--nocapture", "--test-threads", "1"])
        .env(CHILD, outside.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("was elsewhere"), "{said} {}", String::from_utf8_lossy(&child.stderr));
}

#[test]
fn a_directory_that_is_gone_as_a_whole_is_not_destroyed() {
    let scene = Scene::new(Arc::new(SystemDisk));
    let world = scene.open().unwrap();
    fs::remove_dir_all(&scene.data).unwrap();
    is_refusal(&world.operator().purge(&id("acme")), "removed");
    let builder = Engine::builder(scene.outside.path().join("in a new one")).root_key(root_key());
    builder.open().unwrap();
}
