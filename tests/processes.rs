//! Two processes and one directory: the second is told, and a killed one loses nothing that it acknowledged.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use support::filled::Rng;
use support::world::World;
use watertight::disk::SystemDisk;
use watertight::{List, Memory, Reason};

const DIRECTORY: &str = "WATERTIGHT_TEST_DIRECTORY";
const ROUND: &str = "WATERTIGHT_TEST_ROUND";

fn text(key: &str) -> String {
    key.repeat(1 + key.len() * 7 % 90)
}

/// Not a test of its own: the body of the child process. Without the variable it does nothing.
#[test]
fn child_entry() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let round = std::env::var(ROUND).unwrap();
    let world = match World::open(Path::new(&directory), Arc::new(SystemDisk)) {
        Ok(world) => world,
        Err(error) => {
            println!("\nrefused {error:?}");
            return;
        }
    };
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    println!("\nopen");
    for n in 0.. {
        let key = format!("round {round} row {n}");
        notes.put(Memory::new(&key).text(text(&key)).vector(vec![1.0, n as f32])).unwrap();
        // The line is out before the next put: what stands in it was acknowledged.
        let mut out = std::io::stdout().lock();
        writeln!(out, "put {key}").unwrap();
        out.flush().unwrap();
    }
}

fn spawn(directory: &Path, round: u64) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_entry", "--nocapture", "--test-threads", "1"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// The child's whole lines; the kill may have cut off the last one, which then says nothing.
fn lines(mut out: BufReader<ChildStdout>) -> impl Iterator<Item = String> {
    std::iter::from_fn(move || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line.strip_suffix('\n').map(str::to_owned)
    })
}

fn contents(path: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { contents(&path, into) } else { drop(into.insert(path.clone(), fs::read(&path).unwrap())) }
    }
}

fn all_files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    contents(path, &mut files);
    files
}

fn provisioned() -> (tempfile::TempDir, PathBuf) {
    let outside = tempfile::tempdir().unwrap();
    let data = outside.path().join("data");
    World::at(&data).provision("acme").unwrap();
    (outside, data)
}

#[test]
fn a_second_engine_in_the_same_process_is_refused_and_changes_nothing() {
    let (_outside, data) = provisioned();
    let first = World::at(&data);
    let notes = first.handle("acme", "alice").unwrap().memories("notes").unwrap();
    notes.put(Memory::new("k").text("t")).unwrap();
    let before = all_files(&data);
    let refused = World::open(&data, Arc::new(SystemDisk)).map(|_| ()).unwrap_err();
    assert_eq!(*refused.reason(), Reason::InUse);
    assert_eq!(all_files(&data), before);
    notes.put(Memory::new("k2").text("t")).unwrap();
    drop(first);
    // A handle keeps the engine open, and with it the lock.
    assert_eq!(*World::open(&data, Arc::new(SystemDisk)).map(|_| ()).unwrap_err().reason(), Reason::InUse);
    drop(notes);
    let again = World::at(&data);
    assert_eq!(again.handle("acme", "alice").unwrap().usage().unwrap().memories, 2);
    again.engine.close().unwrap();
    // Closed engines have let go, also while their last handle lives.
    World::open(&data, Arc::new(SystemDisk)).unwrap();
}

#[test]
fn a_second_process_is_refused_and_changes_nothing() {
    let (_outside, data) = provisioned();
    let first = World::at(&data);
    let notes = first.handle("acme", "alice").unwrap().memories("notes").unwrap();
    notes.put(Memory::new("k").text("t")).unwrap();
    let before = all_files(&data);
    let (mut child, out) = spawn(&data, 0);
    let said = lines(out).find(|line| line.starts_with("refused") || line == "open").unwrap();
    // One that was let in would write for ever.
    let _ = child.kill();
    child.wait().unwrap();
    assert!(said.contains("InUse"), "{said}");
    assert_eq!(all_files(&data), before);
    notes.put(Memory::new("k2").text("t")).unwrap();
}

/// The names in a directory lead there, and can be taken away or exchanged. The directory itself is locked.
#[cfg(unix)]
#[test]
fn a_second_engine_is_refused_by_whatever_name_and_whatever_has_become_of_the_files() {
    use std::os::unix::fs::symlink;

    let (outside, data) = provisioned();
    let (renamed, link) = (outside.path().join("renamed"), outside.path().join("link"));
    symlink(&data, &link).unwrap();
    let is_refused = |path: &Path| {
        let refused = World::open(path, Arc::new(SystemDisk)).map(|_| ()).unwrap_err();
        assert_eq!(*refused.reason(), Reason::InUse, "{path:?}");
        let (mut child, out) = spawn(path, 0);
        let said = lines(out).find(|line| line.starts_with("refused") || line == "open").unwrap();
        let _ = child.kill();
        child.wait().unwrap();
        assert!(said.contains("InUse"), "{path:?}: {said}");
    };
    let first = World::at(&data);
    let notes = first.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let replace = |name: &str, at: &Path| {
        let copy = outside.path().join("copy");
        fs::copy(at.join(name), &copy).unwrap();
        move_file(&copy, &at.join(name));
    };
    for path in [data.join("."), link.join(".")] {
        is_refused(&path);
    }
    // Neither what is locked nor what is open has its name any more.
    replace("LOCK", &data);
    is_refused(&data);
    replace("catalog.redb", &data);
    is_refused(&data);
    move_file(&data, &renamed);
    is_refused(&renamed);
    notes.put(Memory::new("k").text("t")).unwrap();
    first.engine.close().unwrap();
    // Closed engines have let go of it, also while a handle lives.
    World::at(&renamed).handle("acme", "alice").unwrap().memories("notes").unwrap().get("k").unwrap();
}

#[expect(clippy::disallowed_methods, reason = "this is who exchanges the files, not the engine")]
#[cfg(unix)]
fn move_file(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

#[test]
fn a_process_killed_while_writing_loses_nothing_it_acknowledged() {
    const SEED: u64 = 7;
    let (_outside, data) = provisioned();
    let mut rng = Rng(SEED);
    let mut acknowledged = Vec::new();
    for round in 0..24 {
        let context = format!("seed {SEED}, round {round}");
        let (mut child, out) = spawn(&data, round);
        let mut lines = lines(out);
        assert!(lines.by_ref().any(|line| line == "open"), "{context}: the child did not open");
        // While it writes, nobody else gets in.
        let refused = World::open(&data, Arc::new(SystemDisk)).map(|_| ()).unwrap_err();
        assert_eq!(*refused.reason(), Reason::InUse, "{context}");
        let count = rng.below(30) as usize;
        let mut put = lines.by_ref().take(count).collect::<Vec<_>>();
        child.kill().unwrap();
        child.wait().unwrap();
        put.extend(lines);
        let keys: Vec<_> = put.iter().filter_map(|line| line.strip_prefix("put ")).map(str::to_owned).collect();
        assert!(keys.len() >= count, "{context}: {put:?}");
        acknowledged.extend(keys);

        let world = World::at(&data);
        let handle = world.handle("acme", "alice").unwrap_or_else(|error| panic!("{context}: {error}"));
        let notes = handle.memories("notes").unwrap();
        for key in &acknowledged {
            let found = notes.get(key).unwrap_or_else(|error| panic!("{context}: {key} is lost: {error}"));
            assert_eq!(found.text.as_deref(), Some(text(key).as_str()), "{context}");
        }
        // At most one more for each kill: the put that was under way.
        let usage = handle.usage().unwrap();
        let extra = usage.memories - acknowledged.len() as u64;
        assert!(extra <= round + 1, "{context}: {extra} rows that nobody acknowledged");
        let (mut listed, mut list) = (0, List::new().limit(1_000));
        loop {
            let page = notes.list(&list).unwrap();
            listed += page.memories.len() as u64;
            assert!(page.memories.iter().all(|memory| memory.text.as_deref() == Some(&text(&memory.key))), "{context}");
            match page.next {
                Some(next) => list = List::new().limit(1_000).after(next),
                None => break,
            }
        }
        assert_eq!(listed, usage.memories, "{context}");
        handle.audit().verify().unwrap_or_else(|error| panic!("{context}: {error}"));
    }
}
