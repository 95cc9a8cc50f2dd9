//! A process of its own is killed before every single change of a file while a tenant is re-keyed, a user erased or a
//! tenant purged: what is found afterwards is the state before or the state after. `tests/rotation.rs` does the same for
//! rotations, and `tests/rekey.rs` with power failures on a simulated disk.

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use support::hooked::{copy_directory, without_syncs};
use support::household::{go_on, household, id, secrets, settle};
use support::world::World;
use watertight::{Authored, ErrorKind, OperatorAction};

const DIRECTORY: &str = "WATERTIGHT_TEST_KILLED_DIRECTORY";
const OPERATION: &str = "WATERTIGHT_TEST_KILLED_OPERATION";
const AT: &str = "WATERTIGHT_TEST_KILLED_AT";

fn perform(world: &World, operation: &str) {
    match operation {
        "rekey" => drop(world.operator().rekey(&id("acme"), go_on).unwrap()),
        "erase" => {
            let bob = world.handle("acme", "bob").unwrap();
            let alice = world.handle("acme", "alice").unwrap();
            drop(alice.erase_user(bob.user(), Authored::Goes, go_on).unwrap());
        }
        _ => drop(world.operator().purge(&id("acme")).unwrap()),
    }
}

/// What is there, as everybody sees it, and whether a re-keying is over.
fn state(world: &World) -> String {
    let trail = world.operator().audit(1, 1_000).unwrap();
    let is_rekeyed = trail.iter().any(|entry| entry.action == OperatorAction::Rekeyed);
    match world.handle("acme", "alice") {
        Ok(_) => format!("{is_rekeyed} {}", household(world, "acme")),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            "gone".to_owned()
        }
    }
}

/// Not a test of its own: the body of the child process, which ends at the given change of a file. Without the variable
/// it does nothing.
#[test]
fn child_entry() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let (operation, at) = (std::env::var(OPERATION).unwrap(), std::env::var(AT).unwrap().parse::<u64>().unwrap());
    let (armed, count) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let hook = {
        let armed = armed.clone();
        move |change: &'static str, _: &Path| {
            if change != "open" && armed.load(Ordering::SeqCst) && count.fetch_add(1, Ordering::SeqCst) == at {
                std::process::abort();
            }
        }
    };
    let world = World::open(Path::new(&directory), without_syncs(Arc::new(hook))).unwrap();
    armed.store(true, Ordering::SeqCst);
    perform(&world, &operation);
    armed.store(false, Ordering::SeqCst);
}

fn killed_everywhere(operation: &str, at_least: u64) {
    let base = tempfile::tempdir().unwrap();
    let (made, directory) = (base.path().join("made"), base.path().join("data"));
    let open = |directory: &Path| World::open(directory, without_syncs(Arc::new(|_, _| ()))).unwrap();
    {
        let world = open(&made);
        settle(&world, "acme");
        settle(&world, "zoo");
    }
    let copied = || {
        let _ = std::fs::remove_dir_all(&directory);
        copy_directory(&made, &directory);
    };
    copied();
    let before = state(&open(&directory));
    let zoo = household(&open(&directory), "zoo");
    let after = {
        let world = open(&directory);
        perform(&world, operation);
        state(&world)
    };
    assert_ne!(before, after);
    let (mut kills, mut was_after) = (0, false);
    for at in 0.. {
        copied();
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_entry", "--nocapture", "--test-threads", "1"])
            .env(DIRECTORY, &directory)
            .env(OPERATION, operation)
            .env(AT, at.to_string())
            .output()
            .unwrap();
        let context = format!("{operation}, killed before change {at}");
        let world = open(&directory);
        let found = state(&world);
        if ended.status.success() {
            assert_eq!(found, after, "{context}");
            break;
        }
        kills += 1;
        assert!(found == before || found == after, "{context}: {found}");
        assert!(found == after || !was_after, "{context}: what had happened has not");
        was_after = found == after;
        if found != "gone" {
            assert_eq!(
                secrets(&world.handle("acme", "alice").unwrap()),
                ["alice 3", "alice 2", "alice 1"],
                "{context}"
            );
        }
        assert_eq!(household(&world, "zoo"), zoo, "{context}");
    }
    println!("{kills} kill points of {operation}");
    assert!(kills >= at_least, "only {kills} kill points");
}

#[test]
fn a_rekeying_that_is_killed_has_happened_or_not() {
    killed_everywhere("rekey", 40);
}

#[test]
fn an_erasure_that_is_killed_has_happened_or_not() {
    killed_everywhere("erase", 40);
}

#[test]
fn a_purge_that_is_killed_has_happened_or_not() {
    killed_everywhere("purge", 15);
}
