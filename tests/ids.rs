//! Hostile names from end to end: what is refused leaves no trace, and what is accepted shares nothing with
//! another name and never becomes part of a path.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Attestation, CompoundId, ErrorKind, Issuer, List, Memories, Memory, Namespace, Recall, TenantId, TenantSpec, UserId,
};

/// Accepted, however they look: they are names, not paths.
fn accepted_tenants() -> Vec<String> {
    let names = [
        ".",
        "..",
        "...",
        "acme",
        "acme-evil",
        "Acme",
        "ACME",
        "acme.",
        ".acme",
        "a",
        "b",
        "x",
        "-rf",
        "@",
        "_",
        "FORMAT",
        "LOCK",
        "catalog.redb",
        "keys",
        "tenants",
        "engine.1.key",
        "CON",
        "nul.txt",
        "user@example.org",
        "00000000000000000000000000000000",
    ];
    names.iter().map(|name| (*name).to_owned()).chain([("t".repeat(128))]).collect()
}

fn refused_tenants() -> Vec<String> {
    let names = [
        "",
        "/",
        "a/b",
        "../acme",
        "a\\b",
        "C:\\",
        "a\0b",
        "\0",
        "acme\0",
        "%2e%2e",
        "a%00",
        "a b",
        " acme",
        "acme ",
        "acme\n",
        "a:b",
        "a|b",
        "a*",
        "~",
        "$HOME",
        "аcme",
        "ａcme",
        "acmé",
        "acme\u{301}",
        "a\u{200b}cme",
        "\u{202e}emca",
        "\u{feff}acme",
        "ⅰ",
        "ſ",
        "\u{2024}\u{2024}",
    ];
    names.iter().map(|name| (*name).to_owned()).chain(["t".repeat(129), "t".repeat(1 << 16)]).collect()
}

fn accepted_subjects() -> Vec<String> {
    let names =
        ["b", "b:c", "c", "a:b", "x:a:b", "alice", "Alice", "alice/../bob", "auth0|5f", "%2e", "..", "\\", "\""];
    names.iter().map(|name| (*name).to_owned()).chain(["s".repeat(254), "s".repeat(255)]).collect()
}

const ACCEPTED_NAMESPACES: [&str; 6] = ["b", "c", "c.", "c-c", "cc", "0"];

fn accepted_keys() -> Vec<String> {
    let keys = [
        "k",
        "k\0",
        "k\0\0",
        "\0",
        "\0k",
        "K",
        "k ",
        " k",
        " ",
        "\n",
        "k\n",
        "../",
        "../../catalog.redb",
        "/",
        "%2e%2e",
        "b:c",
        "é",
        "e\u{301}",
        "а",
        "a",
        "\u{202e}k",
        "\u{feff}k",
        "\u{10ffff}",
        "🦀",
        "\u{7f}",
    ];
    keys.iter().map(|key| (*key).to_owned()).chain(["k".repeat(511), "k".repeat(512), "é".repeat(256)]).collect()
}

fn on_simulated_disk() -> World {
    World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap()
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        }
    }
}

#[test]
fn refused_names_are_refused_at_every_door() {
    let world = on_simulated_disk();
    for name in refused_tenants() {
        for answer in [
            TenantId::new(&name).map(|_| ()),
            name.parse::<TenantId>().map(|_| ()),
            TenantSpec::new(&name).map(|_| ()),
            Attestation::new(&name, "alice").map(|_| ()),
            world.provision(&name),
        ] {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        }
    }
    assert_eq!(world.operator().list(None, 10).unwrap(), []);
    let long = "s".repeat(256);
    for subject in ["", " ", "a b", "a\0", "a\n", "é", "аlice", "\u{200b}", "\u{7f}", &long, &"s".repeat(1 << 16)] {
        assert_eq!(Attestation::new("acme", subject).unwrap_err().kind(), ErrorKind::InvalidInput, "{subject:?}");
        assert_eq!(UserId::new(Issuer::authority(), subject).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Issuer::new(subject).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    world.provision("acme").unwrap();
    let tenant = world.handle("acme", "alice").unwrap();
    let long = "n".repeat(65);
    for name in [
        "",
        "A",
        "Notes",
        ".",
        "..",
        ".a",
        "-a",
        "_a",
        "a/b",
        "../a",
        "a:b",
        "a\0",
        "a b",
        "a\n",
        "é",
        "а",
        "a%2e",
        &long,
        &"n".repeat(1 << 16),
    ] {
        for answer in
            [tenant.memories(name).map(|_| ()), tenant.private(name).map(|_| ()), Namespace::new(name).map(|_| ())]
        {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        }
    }
    let notes = tenant.memories("notes").unwrap();
    for key in [String::new(), "k".repeat(513), "é".repeat(257), "k".repeat(1 << 16)] {
        assert_eq!(notes.put(Memory::new(&key)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(notes.get(&key).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(notes.delete(&key).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(tenant.usage().unwrap(), watertight::Usage::default());
}

#[test]
fn the_issuer_of_the_authority_is_a_name_of_its_own() {
    assert!(Issuer::authority().is_authority());
    for near in ["watertight", "Watertight:authority", "watertight:authority/", "watertight:Authority"] {
        assert!(!Issuer::new(near).unwrap().is_authority());
    }
}

/// Every row says where it was put; whoever reads it there must find exactly that.
#[test]
fn accepted_names_never_share_a_row_or_an_audit_entry() {
    let world = on_simulated_disk();
    let tenants = ["a", "x", "..", "acme", "acme-evil", "Acme"];
    let all = accepted_subjects();
    let (namespaces, keys) = (ACCEPTED_NAMESPACES, accepted_keys());
    // Each tenant gets three users and two namespaces, rotated, so that every name meets every kind of neighbour.
    let users = |tenant: usize| (0..3).map(move |n| (tenant * 2 + n * 5) % 15).map(|at| all[at].clone());
    let mut expected: BTreeMap<(usize, String, String, bool), BTreeMap<String, String>> = BTreeMap::new();
    for (number, tenant) in tenants.iter().enumerate() {
        world.provision(tenant).unwrap();
        for user in users(number) {
            let handle = world.handle(tenant, &user).unwrap();
            for namespace in [namespaces[number], namespaces[(number + 1) % namespaces.len()]] {
                let areas = [(true, handle.private(namespace).unwrap()), (false, handle.memories(namespace).unwrap())];
                for (private, memories) in areas {
                    // The shared rows are of the last who puts them.
                    let owner = if private { user.clone() } else { String::new() };
                    for (at, key) in keys.iter().enumerate().filter(|(at, _)| (at + number) % 2 == 0 || private) {
                        let text = format!("{tenant} / {user} / {namespace} / {private} / {key}");
                        let vector = vec![1.0, at as f32 + 1.0];
                        memories.put(Memory::new(key).text(&text).vector(vector)).unwrap();
                        let place = (number, owner.clone(), namespace.to_owned(), private);
                        expected.entry(place).or_default().insert(key.clone(), text);
                    }
                }
            }
        }
    }
    let read = |memories: &Memories| -> BTreeMap<String, String> {
        let page = memories.list(&List::new().limit(1_000)).unwrap();
        let listed: BTreeMap<_, _> =
            page.memories.into_iter().map(|memory| (memory.key, memory.text.unwrap())).collect();
        let hits = memories.recall(&Recall::vector(&[1.0, 1.0]).top(1_000)).unwrap();
        let recalled: BTreeMap<_, _> = hits.into_iter().map(|hit| (hit.memory.key, hit.memory.text.unwrap())).collect();
        assert_eq!(listed, recalled);
        for (key, text) in &listed {
            assert_eq!(memories.get(key).unwrap().text.as_ref(), Some(text));
        }
        listed
    };
    for ((number, user, namespace, private), rows) in &expected {
        let anybody = users(*number).next().unwrap();
        let handle = world.handle(tenants[*number], if *private { user } else { &anybody }).unwrap();
        let memories = if *private { handle.private(namespace) } else { handle.memories(namespace) }.unwrap();
        assert_eq!(&read(&memories), rows, "{} {user} {namespace}", tenants[*number]);
        for key in keys.iter().filter(|key| !rows.contains_key(*key)) {
            assert_eq!(memories.get(key).unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
    for (number, tenant) in tenants.iter().enumerate() {
        let handle = world.handle(tenant, "admin").unwrap();
        let audit = handle.audit();
        let entries = audit.entries(1, 1_000).unwrap();
        assert_eq!(audit.verify().unwrap().entries, entries.len() as u64);
        assert!(entries.iter().all(|entry| entry.private == entry.key.is_none()), "another user's key is told");
        // Each user's own private entries, as that user reads them.
        let told: BTreeSet<_> = users(number)
            .flat_map(|user| world.handle(tenant, &user).unwrap().audit().entries(1, 1_000).unwrap())
            .filter(|entry| entry.private)
            .filter_map(|entry| Some((entry.user?.subject().to_owned(), entry.namespace?.to_string(), entry.key?)))
            .collect();
        let here = expected.iter().filter(|((other, _, _, private), _)| *other == number && *private);
        let done: BTreeSet<_> = here
            .flat_map(|((_, user, namespace, _), rows)| {
                rows.keys().map(|key| (user.clone(), namespace.clone(), key.clone()))
            })
            .collect();
        assert_eq!(told, done, "{tenant}");
        let usage = handle.usage().unwrap();
        let rows: usize = expected.iter().filter(|((other, ..), _)| *other == number).map(|(_, rows)| rows.len()).sum();
        assert_eq!(usage.memories, rows as u64);
    }
}

#[test]
fn joined_names_do_not_meet() {
    let world = on_simulated_disk();
    world.provision("a").unwrap();
    world.provision("x").unwrap();
    // Each of these is `a:b:c:k` or `a:b:c`, if somebody joined the parts.
    let places =
        [("a", "b:c", "k", ""), ("a", "b", "c", ""), ("a", "b", "k", "c"), ("x", "a:b", "c", ""), ("a", "c", "b", "")];
    let area = |(tenant, user, namespace, _): (&str, &str, &str, &str)| {
        world.handle(tenant, user).unwrap().private(namespace).unwrap()
    };
    for (number, place) in places.into_iter().enumerate() {
        area(place).put(Memory::new(format!("k{}", place.3)).text(number.to_string())).unwrap();
    }
    for (number, place) in places.into_iter().enumerate() {
        let found = area(place).list(&List::new()).unwrap().memories;
        let texts: Vec<_> = found.iter().map(|memory| memory.text.clone().unwrap()).collect();
        assert_eq!(texts, [number.to_string()], "{place:?}");
    }
}

#[test]
fn deleting_one_of_a_pair_leaves_the_other() {
    let world = on_simulated_disk();
    world.provision("acme").unwrap();
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let pairs = [("k", "k\0"), ("k\0", "k\0\0"), ("é", "e\u{301}"), ("a", "а"), ("K", "k"), ("k", "k ")];
    for (a, b) in pairs {
        for (gone, kept) in [(a, b), (b, a)] {
            notes.put(Memory::new(gone).text("gone")).unwrap();
            notes.put(Memory::new(kept).text("kept")).unwrap();
            notes.delete(gone).unwrap();
            assert_eq!(notes.get(gone).unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(notes.get(kept).unwrap().text.as_deref(), Some("kept"));
            notes.delete(kept).unwrap();
        }
    }
    assert_eq!(world.handle("acme", "alice").unwrap().usage().unwrap().memories, 0);
}

#[test]
fn purging_a_name_leaves_its_neighbours() {
    let world = on_simulated_disk();
    for name in accepted_tenants() {
        world.provision(&name).unwrap();
        world.handle(&name, "alice").unwrap().memories("notes").unwrap().put(Memory::new("k").text(&name)).unwrap();
    }
    let purged = ["acme", "..", "a", "catalog.redb", "keys"];
    for name in purged {
        world.operator().purge(&TenantId::new(name).unwrap()).unwrap();
    }
    for name in accepted_tenants() {
        let handle = world.handle(&name, "alice");
        if purged.contains(&name.as_str()) {
            assert_eq!(handle.unwrap_err().kind(), ErrorKind::NotFound);
        } else {
            let found = handle.unwrap().memories("notes").unwrap().get("k").unwrap();
            assert_eq!(found.text, Some(name));
        }
    }
}

#[test]
fn nothing_a_caller_chose_is_in_a_path_or_readable_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let world = World::at(&data);
    let names = accepted_tenants();
    for (number, name) in names.iter().enumerate() {
        world.provision(name).unwrap();
        let subjects = accepted_subjects();
        let handle = world.handle(name, &subjects[number % subjects.len()]).unwrap();
        let namespace = ACCEPTED_NAMESPACES[number % ACCEPTED_NAMESPACES.len()];
        let memories = if number % 2 == 0 { handle.private(namespace) } else { handle.memories(namespace) }.unwrap();
        for key in ["../../escape", "/etc/passwd", "chosen-key", "nul\0"] {
            memories.put(Memory::new(key).text("chosen-text").metadata("chosen-name", "chosen-value")).unwrap();
        }
    }
    let infos = world.operator().list(None, 1_000).unwrap();
    let incarnations: Vec<_> = infos.iter().map(|info| info.incarnation.to_string()).collect();
    assert_eq!(incarnations.iter().collect::<BTreeSet<_>>().len(), names.len());
    drop(world);

    // Every path is made of fixed words and random incarnations, and each tenant has its own two files.
    let mut expected: BTreeSet<PathBuf> = ["FORMAT", "LOCK", "catalog.redb", "keys", "keys/engine.1.key", "tenants"]
        .into_iter()
        .map(PathBuf::from)
        .collect();
    for incarnation in &incarnations {
        assert!(incarnation.len() == 32 && incarnation.bytes().all(|b| b.is_ascii_hexdigit()));
        let fan_out = &incarnation[..2];
        expected.extend([
            format!("keys/{fan_out}").into(),
            format!("keys/{fan_out}/{incarnation}.1.key").into(),
            format!("tenants/{fan_out}").into(),
            format!("tenants/{fan_out}/{incarnation}").into(),
            format!("tenants/{fan_out}/{incarnation}/data.1.redb").into(),
        ]);
    }
    let mut found = Vec::new();
    walk(&data, &mut found);
    let relative: BTreeSet<_> = found.iter().map(|path| path.strip_prefix(&data).unwrap().to_owned()).collect();
    assert_eq!(relative, expected);
    // Nothing got out of the directory either.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    let chosen = ["acme", "user@example.org", "alice", "auth0|5f", "chosen-", "escape", "passwd"];
    for path in found.iter().filter(|path| path.is_file()) {
        let bytes = fs::read(path).unwrap();
        for word in chosen {
            let there = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!there, "{word} is readable in {}", path.display());
        }
    }
}

/// Whatever two pairs are, their texts differ, and each text is read as its own pair.
#[test]
fn compound_ids_print_and_parse_without_ambiguity() {
    let mut printed = BTreeMap::new();
    let subjects = accepted_subjects().into_iter().chain([":", "::", "a:b", ":alice", "acme:alice"].map(str::to_owned));
    let subjects: BTreeSet<_> = subjects.collect();
    for tenant in accepted_tenants() {
        for subject in &subjects {
            let id = CompoundId::new(&TenantId::new(&tenant).unwrap(), subject).unwrap();
            let text = id.to_string();
            assert_eq!(text, format!("{tenant}:{subject}"));
            assert_eq!(text.parse::<CompoundId>().unwrap(), id);
            assert_eq!((id.tenant().as_str(), id.subject()), (tenant.as_str(), subject.as_str()));
            assert_eq!(printed.insert(text, (tenant.clone(), subject.clone())), None);
        }
    }
    for bad in [
        "",
        ":",
        "acme",
        "acme:",
        ":alice",
        "acme/evil:alice",
        "acme:alice\n",
        " acme:alice",
        "acme :alice",
        "аcme:alice",
    ] {
        assert_eq!(bad.parse::<CompoundId>().unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
    }
    assert!(format!("acme:{}", "a".repeat(256)).parse::<CompoundId>().is_err());
    assert!(format!("{}:alice", "a".repeat(129)).parse::<CompoundId>().is_err());
}
