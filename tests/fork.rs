//! A process that forks with an engine open: the engine stays the parent's, and the child is told so.
//!
//! The programs of tests have threads, and must not fork themselves: each scene runs in a process of its own.

#![cfg(unix)]
#![allow(unsafe_code, reason = "there is no fork without it")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use support::world::{World, root_key};
use watertight::disk::SystemDisk;
use watertight::{
    Action, ApiKeySpec, Attenuation, Attestation, Authored, Credential, Engine, Error, ErrorKind, IndexSettings,
    Issuer, List, Memories, Memory, Policy, Reason, Recall, Result, Revocation, RootKey, Scopes, TenantHandle,
    TenantId, TenantSpec, UserId,
};

const DIRECTORY: &str = "WATERTIGHT_TEST_DIRECTORY";
const SCENE: &str = "WATERTIGHT_TEST_SCENE";
/// Longer than every scene takes: what has not ended by then hangs.
const FOR_EVER: Duration = Duration::from_secs(90);

type Scene = fn(&Path);

const SCENES: [(&str, Scene); 9] = [
    ("operations", every_operation_is_refused),
    ("drops", whatever_is_dropped_is_left_alone),
    ("closes", a_close_lets_nothing_go),
    ("locks", nobody_waits_for_a_thread_that_is_not_there),
    ("transaction", the_code_of_a_transaction_forks),
    ("rekeying", the_code_beside_a_rekeying_forks),
    ("elsewhere", another_directory_is_opened),
    ("memory", an_engine_in_memory_is_the_parents_too),
    ("system call", a_fork_around_the_c_library_changes_nothing),
];

/// Not a test of its own: the body of the process that forks. Without the variable it does nothing.
#[test]
fn scene_entry() {
    let (Ok(scene), Ok(directory)) = (std::env::var(SCENE), std::env::var(DIRECTORY)) else { return };
    let (_, scene) = SCENES.into_iter().find(|(name, _)| *name == scene).unwrap();
    scene(Path::new(&directory));
    println!("\nplayed");
}

fn play(scene: &str) {
    let outside = tempfile::tempdir().unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scene_entry", "--nocapture", "--test-threads", "1"])
        .env(SCENE, scene)
        .env(DIRECTORY, outside.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + FOR_EVER;
    let has_ended = loop {
        if process.try_wait().unwrap().is_some() {
            break true;
        }
        if Instant::now() >= end {
            break false;
        }
        thread::sleep(Duration::from_millis(5));
    };
    if !has_ended {
        process.kill().unwrap();
    }
    let output = process.wait_with_output().unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(has_ended, "it hangs: {said} {complained}");
    assert!(output.status.success() && said.contains("\nplayed\n"), "{said} {complained}");
}

#[test]
fn a_fork_may_do_nothing_with_the_engine_of_its_parent() {
    play("operations");
}

#[test]
fn a_fork_that_drops_everything_writes_and_releases_nothing() {
    play("drops");
}

#[test]
fn a_fork_that_closes_the_engine_leaves_it_open_in_its_parent() {
    play("closes");
}

#[test]
fn a_fork_never_waits_for_a_lock_of_a_thread_that_it_does_not_have() {
    play("locks");
}

#[test]
fn a_transaction_whose_code_forks_is_one_in_the_parent_and_none_in_the_child() {
    play("transaction");
}

#[test]
fn a_rekeying_whose_progress_forks_is_one_in_the_parent_and_none_in_the_child() {
    play("rekeying");
}

#[test]
fn a_fork_opens_another_directory_and_not_that_of_its_parent() {
    play("elsewhere");
}

#[test]
fn an_engine_in_memory_belongs_to_its_process_too() {
    play("memory");
}

#[test]
fn a_fork_that_no_library_has_seen_commits_nothing() {
    play("system call");
}

/// A method that has a default would otherwise be served by that, and go past the disk of the application.
#[test]
fn the_disk_of_one_process_hands_on_every_method() {
    let source = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let [traits, owned] =
        ["src/store/file.rs", "src/store/owned.rs"].map(|name| syn::parse_file(&source(name)).unwrap());
    let mut handed_on = BTreeMap::new();
    for item in &owned.items {
        let syn::Item::Impl(item) = item else { continue };
        let Some((_, name, _)) = &item.trait_ else { continue };
        let methods = item.items.iter().filter_map(|item| match item {
            syn::ImplItem::Fn(method) => Some(method.sig.ident.to_string()),
            _ => None,
        });
        handed_on.insert(name.segments.last().unwrap().ident.to_string(), methods.collect::<BTreeSet<_>>());
    }
    let mut seen = 0;
    for item in &traits.items {
        let syn::Item::Trait(item) = item else { continue };
        let methods = item.items.iter().filter_map(|item| match item {
            syn::TraitItem::Fn(method) => Some(method.sig.ident.to_string()),
            _ => None,
        });
        let name = item.ident.to_string();
        assert_eq!(handed_on.get(&name), Some(&methods.collect()), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 3);
}

/// A fork that ends when it hangs, since nobody else would end it.
fn fork() -> libc::pid_t {
    // SAFETY: the child ends in `end_or_wait`, and never returns to the harness.
    limited(unsafe { libc::fork() })
}

fn limited(child: libc::pid_t) -> libc::pid_t {
    if child == 0 {
        // SAFETY: it takes a number.
        unsafe { libc::alarm(60) };
    }
    child
}

/// Runs `work` in a fork of this process and waits for it. Any panic of the fork is a failure, also one that is caught.
fn in_fork(work: impl FnOnce()) {
    end_or_wait(fork(), work);
}

fn end_or_wait(child: libc::pid_t, work: impl FnOnce()) {
    assert!(child >= 0, "a fork");
    if child == 0 {
        let show = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            show(info);
            // SAFETY: it ends the process at once.
            unsafe { libc::_exit(101) }
        }));
        let _ = catch_unwind(AssertUnwindSafe(work));
        // SAFETY: as above; nothing of the parent's is dropped or written on the way.
        unsafe { libc::_exit(0) }
    }
    let mut status = 0;
    // SAFETY: `status` is there for as long as the call takes.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the fork ended with {status:#x}");
}

fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// An engine with a tenant in which a memory has been put, so that its file is open and written.
struct Opened {
    world: World,
    alice: TenantHandle,
    notes: Memories,
}

impl Opened {
    fn at(directory: &Path) -> Self {
        let world = World::at(directory);
        world.provision("acme").unwrap();
        let alice = world.handle("acme", "alice").unwrap();
        let notes = alice.memories("notes").unwrap();
        notes.put(Memory::new("before").text("text").vector(vec![1.0, 0.0])).unwrap();
        Self { world, alice, notes }
    }

    /// The parent goes on, nobody else gets in meanwhile, and what was acknowledged is there when it is opened again.
    fn goes_on(self, directory: &Path) {
        let second = || World::open(directory, Arc::new(SystemDisk)).map(|_| ());
        assert_eq!(*second().unwrap_err().reason(), Reason::InUse);
        for number in 0..20 {
            self.notes.put(Memory::new(format!("after {number}"))).unwrap();
        }
        self.world.operator().suspend(self.alice.id()).unwrap();
        self.world.operator().resume(self.alice.id()).unwrap();
        assert_eq!(*second().unwrap_err().reason(), Reason::InUse);
        assert!(self.world.engine.close().unwrap().is_clean());
        drop(self);
        let again = World::at(directory);
        let alice = again.handle("acme", "alice").unwrap();
        let notes = alice.memories("notes").unwrap();
        assert!(notes.exists("before").unwrap());
        assert!((0..20).all(|number| notes.exists(&format!("after {number}")).unwrap()));
        assert!(!notes.exists("of the fork").unwrap());
        assert!(alice.audit().verify().is_ok() && again.operator().verify_audit().is_ok());
        assert!(again.engine.close().unwrap().is_clean());
    }
}

fn assert_forked<R>(what: &str, answer: Result<R>) {
    let Err(error) = answer else { panic!("{what} succeeds in a fork") };
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Unavailable, &Reason::Forked), "{what}: {error}");
}

fn every_operation_is_refused(directory: &Path) {
    let opened = Opened::at(directory);
    let Opened { world, alice, notes } = &opened;
    alice.credentials().put("TOKEN", &Credential::new("secret")).unwrap();
    let key = alice.api_keys().create(&ApiKeySpec::new("job").unwrap().scopes(Scopes::READ)).unwrap();
    let identity = world.identity("acme", "alice", Scopes::ALL);
    let (operator, by) = (world.operator(), world.authority.attest_operator("ops").unwrap());
    let mut listing = notes.iter(List::new());
    let receipt = operator.rekey(alice.id(), |_| ControlFlow::Continue(())).unwrap();
    let bob = UserId::new(Issuer::authority(), "bob").unwrap();
    let acme = alice.id();
    let go_on = |_: watertight::RekeyProgress| ControlFlow::Continue(());
    let nothing = || Ok::<(), Error>(());
    let before = files(directory);
    in_fork(|| {
        let credentials = alice.credentials();
        assert_forked("put", notes.put(Memory::new("of the fork")));
        assert_forked("get", notes.get("before"));
        assert_forked("exists", notes.exists("before"));
        assert_forked("list", notes.list(&List::new()));
        assert_forked("recall", notes.recall(&Recall::vector(&[1.0, 0.0])));
        assert_forked("delete", notes.delete("before"));
        assert_forked("iter", listing.next().unwrap());
        assert_forked("changes", notes.changes(None, 10));
        assert_forked("check", notes.check(Scopes::READ));
        assert_forked("transact", alice.transact(|_| nothing()));
        assert_forked("usage", alice.usage());
        assert_forked("stats", alice.stats());
        assert_forked("namespaces", alice.namespaces());
        assert_forked("whoami", alice.whoami());
        assert_forked("require", alice.require(Action::app("deploy")));
        assert_forked("attenuate", alice.attenuate(&Attenuation::new()));
        assert_forked("detach", alice.detach(Duration::from_secs(60)));
        assert_forked("policy", alice.policy());
        assert_forked("set policy", alice.set_policy(&Policy::new()));
        assert_forked("sweep", alice.sweep());
        assert_forked("revoke", alice.revoke(&Revocation::everyone()));
        assert_forked("erase", alice.erase_user(&bob, Authored::Goes, go_on));
        assert_forked("credentials", credentials.list());
        assert_forked("secret", credentials.with_secret("TOKEN", |_| ()));
        assert_forked("template", credentials.resolve("no secret"));
        assert_forked("keys", alice.api_keys().list());
        assert_forked("trail", alice.audit().entries(1, 10));
        assert_forked("chain", alice.audit().verify());
        assert_forked("tenant", world.engine.tenant(&identity));
        assert_forked("tenant as", world.engine.tenant_as(&identity, acme));
        assert_forked("verify", world.engine.verify("a.bearer.token"));
        assert_forked("verify a key", world.engine.verify(key.expose()));
        assert_forked("verify an operator", world.engine.verify_operator("a.bearer.token"));
        assert_forked("attest", world.authority.attest(Attestation::new("acme", "alice").unwrap()));
        assert_forked("attest an operator", world.authority.attest_operator("ops"));
        assert_forked("operator", world.engine.operator(&by));
        assert_forked("provision", operator.provision(TenantSpec::new("zoo").unwrap()));
        assert_forked("tenants", operator.list(None, 10));
        assert_forked("inspect", operator.inspect(acme));
        assert_forked("suspend", operator.suspend(acme));
        assert_forked("owners", operator.set_owners(acme, [bob.clone()]));
        assert_forked("purge", operator.purge(acme));
        assert_forked("rekey", operator.rekey(acme, go_on));
        assert_forked("operators' trail", operator.audit(1, 10));
        assert_forked("receipt", operator.verify_receipt(&receipt));
        assert_forked("rotate", operator.rotate_root_key(&RootKey::generate().unwrap()));
        assert_forked("engine keys", operator.engine_keys());
        assert_forked("close", world.engine.close());
        assert_eq!(world.engine.stats().open_tenants, 0);
        let told = notes.get("before").unwrap_err().to_string();
        assert_eq!(told, "the engine was opened by another process; open it after the fork");
    });
    assert_eq!(files(directory), before);
    opened.goes_on(directory);
}

/// With both threads of the engine running, and more open than may be.
fn whatever_is_dropped_is_left_alone(directory: &Path) {
    let open = || {
        let builder = Engine::builder(directory).root_key(root_key()).open_tenants_max(2);
        builder.index(IndexSettings::new().graph_from(1_000)).open().unwrap()
    };
    let (engine, authority) = open();
    let world = World { engine, authority };
    let fill = |tenant: &str| {
        world.provision(tenant).unwrap();
        let handle = world.handle(tenant, "alice").unwrap();
        let notes = handle.memories("notes").unwrap();
        let vector = |number: u32| vec![number as f32, 1.0, (number % 7) as f32];
        let memories = (0..2_000).map(|number| Memory::new(format!("{number}")).vector(vector(number)));
        notes.put_many(memories.collect()).unwrap();
        assert_eq!(notes.recall(&Recall::vector(&[1.0, 1.0, 1.0])).unwrap().len(), 10);
        (handle, notes)
    };
    let others: Vec<_> = ["a", "b", "c"].map(fill).into();
    world.provision("acme").unwrap();
    let alice = world.handle("acme", "alice").unwrap();
    let notes = alice.memories("notes").unwrap();
    notes.put(Memory::new("before")).unwrap();
    let before = files(directory);
    // The threads of the parent may write meanwhile: only what nobody works at is compared.
    let quiet = |mut files: BTreeMap<PathBuf, Vec<u8>>| {
        files.retain(|path, _| !path.to_string_lossy().contains("data."));
        files
    };
    // Without a copy of what it owns, the fork has the last owner of everything.
    let mut owned = Some((others, Opened { world, alice, notes }));
    in_fork(|| drop(owned.take()));
    assert_eq!(quiet(files(directory)), quiet(before));
    let (others, opened) = owned.take().unwrap();
    assert!(others.iter().all(|(_, notes)| notes.exists("1999").unwrap()));
    drop(others);
    opened.goes_on(directory);
}

fn a_close_lets_nothing_go(directory: &Path) {
    let opened = Opened::at(directory);
    let before = files(directory);
    in_fork(|| {
        assert_forked("close", opened.world.engine.close());
        assert_forked("close again", opened.world.engine.close());
        assert_eq!(*World::open(directory, Arc::new(SystemDisk)).map(|_| ()).unwrap_err().reason(), Reason::InUse);
    });
    assert_eq!(files(directory), before);
    opened.goes_on(directory);
}

/// One thread is in the middle of a transaction, others wait for their turn, one reads, when another one forks.
fn nobody_waits_for_a_thread_that_is_not_there(directory: &Path) {
    let mut owned = Some(Opened::at(directory));
    let (inside, go) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (alice, notes) = owned.as_ref().map(|opened| (opened.alice.clone(), opened.notes.clone())).unwrap();
    let transaction = {
        let (inside, go) = (inside.clone(), go.clone());
        thread::spawn(move || {
            alice.transact(|t| {
                t.memories("notes")?.put(Memory::new("inside"))?;
                inside.wait();
                go.wait();
                Ok(())
            })
        })
    };
    inside.wait();
    let waiting: Vec<_> = (0..4)
        .map(|number| {
            let notes = notes.clone();
            thread::spawn(move || notes.put(Memory::new(format!("waiting {number}"))).map(|_| ()))
        })
        .collect();
    let (stop, stopped) = mpsc::channel::<()>();
    let reader = {
        let notes = notes.clone();
        thread::spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                notes.list(&List::new()).unwrap();
            }
        })
    };
    for _ in 0..20 {
        in_fork(|| {
            let opened = owned.take().unwrap();
            assert_forked("put", notes.put(Memory::new("of the fork")));
            assert_forked("get", notes.get("before"));
            assert_forked("usage", opened.alice.usage());
            assert_forked("provision", opened.world.authority.attest_operator("ops"));
            assert_forked("close", opened.world.engine.close());
            assert_eq!(opened.world.engine.stats().open_tenants, 0);
            drop((opened, &notes));
        });
    }
    go.wait();
    drop(stop);
    reader.join().unwrap();
    transaction.join().unwrap().unwrap();
    assert!(waiting.into_iter().all(|caller| caller.join().unwrap().is_ok()));
    assert!(notes.exists("inside").unwrap() && notes.exists("waiting 3").unwrap());
    drop(notes);
    owned.take().unwrap().goes_on(directory);
}

fn the_code_of_a_transaction_forks(directory: &Path) {
    let opened = Opened::at(directory);
    let parent = std::process::id();
    let mut child = 0;
    let answer = opened.alice.transact(|t| {
        let notes = t.memories("notes")?;
        for number in 0..800 {
            // More pages than are held back, so that some are in the file before the commit.
            notes.put(Memory::new(format!("large {number}")).text("x".repeat(8_000)))?;
        }
        child = fork();
        if child == 0 {
            assert_forked("a step", notes.put(Memory::new("of the fork")));
            assert_forked("another tenant", opened.world.handle("acme", "alice"));
        } else {
            notes.put(Memory::new("of the parent"))?;
        }
        Ok(())
    });
    if std::process::id() != parent {
        end_or_wait(0, || {
            assert_forked("the transaction", answer);
            drop(opened);
        });
        return;
    }
    answer.unwrap();
    let mut status = 0;
    // SAFETY: `status` is there for as long as the call takes.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the fork ended with {status:#x}");
    assert!(opened.notes.exists("large 799").unwrap() && opened.notes.exists("of the parent").unwrap());
    opened.goes_on(directory);
}

fn the_code_beside_a_rekeying_forks(directory: &Path) {
    let opened = Opened::at(directory);
    for number in 0..50 {
        opened.notes.put(Memory::new(format!("{number}")).text("x".repeat(1_000))).unwrap();
    }
    let parent = std::process::id();
    let mut child = None;
    let answer = opened.world.operator().rekey(&TenantId::new("acme").unwrap(), |_| {
        child.get_or_insert_with(fork);
        ControlFlow::Continue(())
    });
    if std::process::id() != parent {
        end_or_wait(0, || {
            assert_forked("the re-keying", answer);
            drop(opened);
        });
        return;
    }
    let mut status = 0;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::waitpid(child.unwrap(), &raw mut status, 0) }, child.unwrap());
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the fork ended with {status:#x}");
    opened.world.operator().verify_receipt(&answer.unwrap()).unwrap();
    assert!(opened.notes.exists("49").unwrap());
    opened.goes_on(directory);
}

fn another_directory_is_opened(directory: &Path) {
    let opened = Opened::at(directory);
    let elsewhere = directory.with_file_name("elsewhere");
    let identity = opened.world.identity("acme", "alice", Scopes::ALL);
    in_fork(|| {
        assert_eq!(*World::open(directory, Arc::new(SystemDisk)).map(|_| ()).unwrap_err().reason(), Reason::InUse);
        let own = Opened::at(&elsewhere);
        assert!(own.notes.exists("before").unwrap());
        // What belongs to the one is nothing to the other.
        assert_eq!(*own.world.engine.tenant(&identity).unwrap_err().reason(), Reason::TokenRefused);
        own.goes_on(&elsewhere);
    });
    // What the fork has closed is anybody's.
    let world = World::at(&elsewhere);
    assert!(world.handle("acme", "alice").unwrap().memories("notes").unwrap().exists("after 19").unwrap());
    opened.goes_on(directory);
}

fn an_engine_in_memory_is_the_parents_too(_: &Path) {
    let (engine, authority) = Engine::in_memory().unwrap();
    let mut owned = Some(World { engine, authority });
    let world = owned.as_ref().unwrap();
    world.provision("acme").unwrap();
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    notes.put(Memory::new("before")).unwrap();
    in_fork(|| {
        assert_forked("get", notes.get("before"));
        drop(owned.take());
        let (engine, authority) = Engine::in_memory().unwrap();
        let own = World { engine, authority };
        own.provision("acme").unwrap();
        own.handle("acme", "alice").unwrap().memories("notes").unwrap().put(Memory::new("k")).unwrap();
    });
    assert!(notes.exists("before").unwrap());
}

/// Handlers that the C library calls at a fork are not called then.
#[cfg(target_os = "linux")]
fn a_fork_around_the_c_library_changes_nothing(directory: &Path) {
    let mut owned = Some(Opened::at(directory));
    let operator = owned.as_ref().unwrap().world.operator();
    let before = files(directory);
    // SAFETY: a copy of the process, as `fork` makes one; the child ends in `end_or_wait`.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    end_or_wait(limited(child as libc::pid_t), || {
        let opened = owned.take().unwrap();
        assert_forked("put", opened.notes.put(Memory::new("of the fork")));
        assert_forked("transact", opened.alice.transact(|_| Ok(())));
        assert_forked("suspend", operator.suspend(opened.alice.id()));
        assert_forked("close", opened.world.engine.close());
        drop(opened);
    });
    assert_eq!(files(directory), before);
    drop(operator);
    owned.take().unwrap().goes_on(directory);
}

#[cfg(not(target_os = "linux"))]
fn a_fork_around_the_c_library_changes_nothing(_: &Path) {}
