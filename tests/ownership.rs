//! What belongs to another user is not ours, whatever its mode and whoever asks, root included; and a wrong owner or mode is
//! told as such, with the path, and not as damage.

#![cfg(unix)]

mod support;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use support::world::World;
use watertight::{Error, ErrorKind, Memory, Reason, Result, RootKey, TenantId};

const NOBODY: u32 = 65_534;

struct Scene {
    outside: tempfile::TempDir,
    data: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let data = outside.path().join("data");
        let world = World::at(&data);
        world.provision("acme").unwrap();
        world.handle("acme", "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
        Self { outside, data }
    }

    /// Opens the engine and reads a memory.
    fn read(&self) -> Result<()> {
        let world = World::open(&self.data, std::sync::Arc::new(watertight::disk::SystemDisk))?;
        world.handle("acme", "alice")?.memories("notes")?.get("k").map(|_| ())
    }

    /// Every file and directory, the data directory first.
    fn entries(&self) -> Vec<PathBuf> {
        let mut found = vec![self.data.clone()];
        let mut at = 0;
        while let Some(path) = found.get(at).cloned() {
            if path.is_dir() {
                found.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            at += 1;
        }
        found
    }

    fn is_told(&self, error: &Error, path: &Path, advice: &str) {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{path:?}: {error}");
        let Reason::Permissions { path: told, rule } = error.reason() else { panic!("{path:?}: {error:?}") };
        assert_eq!(self.data.join(told), path, "{error}");
        assert!(rule.contains(advice), "{error}");
    }
}

/// Gives something away, if this user may. One who may not can give nothing away by mistake either.
fn given_away(path: &Path) -> bool {
    match chown(path, Some(NOBODY), None) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            false
        }
    }
}

fn own_id(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap())
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_belongs_to_another_user_is_refused_and_told() {
    let scene = Scene::new();
    let entries = scene.entries();
    assert!(entries.len() >= 12, "{entries:?}");
    let me = own_id(&scene.data);
    for path in entries {
        if given_away(&path) {
            scene.is_told(&scene.read().unwrap_err(), &path, "chown");
            chown(&path, Some(me), None).unwrap();
        }
        scene.read().unwrap_or_else(|error| panic!("{path:?}: {error}"));
    }
}

#[test]
fn what_is_given_away_while_the_engine_is_open_is_not_destroyed_or_opened() {
    let scene = Scene::new();
    let me = own_id(&scene.data);
    let world = World::at(&scene.data);
    let acme = TenantId::new("acme").unwrap();
    let files = scene.entries().into_iter().filter(|path| path.to_string_lossy().contains(".1."));
    for path in files.filter(|path| !path.to_string_lossy().contains("engine")) {
        if given_away(&path) {
            let error = world.handle("acme", "alice").and_then(|tenant| tenant.usage()).unwrap_err();
            scene.is_told(&error, &path, "chown");
            scene.is_told(
                &world.operator().rekey(&acme, |_| std::ops::ControlFlow::Continue(())).unwrap_err(),
                &path,
                "",
            );
            chown(&path, Some(me), None).unwrap();
        }
    }
    // It was no damage: the tenant is there again at once.
    world.handle("acme", "alice").unwrap().memories("notes").unwrap().get("k").unwrap();
    world.operator().purge(&acme).unwrap();
}

/// As on a volume whose files are made group-writable at every mount.
#[test]
fn a_mode_that_is_too_wide_is_told_with_the_path_and_is_no_damage() {
    let scene = Scene::new();
    for path in scene.entries() {
        let (wide, narrow) = if path.is_dir() { (0o2770, 0o700) } else { (0o660, 0o600) };
        chmod(&path, wide);
        scene.is_told(&scene.read().unwrap_err(), &path, "chmod");
        chmod(&path, narrow);
        scene.read().unwrap_or_else(|error| panic!("{path:?}: {error}"));
    }
    let key = scene.entries().into_iter().find(|path| path.ends_with("engine.1.key")).unwrap();
    chmod(&key, 0o640);
    scene.is_told(&scene.read().unwrap_err(), &key, "read it");
}

#[test]
fn a_root_key_file_is_taken_from_its_owner_and_from_root_alone() {
    let scene = Scene::new();
    let directory = scene.outside.path().join("secrets");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("root.key");
    fs::write(&path, std::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap();
    chmod(&path, 0o600);
    let me = own_id(&path);
    RootKey::from_file(&path).unwrap();
    let refused = |why: &str| {
        let error = RootKey::from_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyUnavailable);
        assert!(error.to_string().contains(why), "{error}");
    };
    for part in [&path, &directory] {
        if given_away(part) {
            refused("belongs to another user");
            chown(part, Some(me), None).unwrap();
        }
        RootKey::from_file(&path).unwrap();
    }
    for (mode, is_accepted) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
        chmod(&directory, mode);
        if is_accepted { drop(RootKey::from_file(&path).unwrap()) } else { refused("others can write") }
    }
}
