//! Credentials: what a user puts, that user gets back and nobody else; versions, expiry, templates, and no copy where
//! none belongs.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::{
    AuditAction, Credential, Credentials, Engine, ErrorKind, Reason, Result, Scopes, TestClock, Timestamp, limits,
};

const HOUR: Duration = Duration::from_secs(3_600);

struct Scene {
    world: World,
    clock: Arc<TestClock>,
    disk: SimDisk,
}

impl Scene {
    fn new() -> Self {
        let (clock, disk) = (TestClock::at(Timestamp::from_seconds(1_800_000_000)), SimDisk::new(1));
        let world = World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap();
        world.provision("acme").unwrap();
        Self { world, clock, disk }
    }

    fn of(&self, user: &str) -> Credentials {
        self.world.handle("acme", user).unwrap().credentials()
    }
}

fn secret(credentials: &Credentials, name: &str) -> Result<Vec<u8>> {
    credentials.with_secret(name, <[u8]>::to_vec)
}

fn previous(credentials: &Credentials, name: &str) -> Result<Vec<u8>> {
    credentials.with_previous(name, <[u8]>::to_vec)
}

fn kind<T>(answer: Result<T>) -> ErrorKind {
    answer.err().expect("a refusal").kind()
}

#[test]
fn what_was_put_comes_back_byte_for_byte_and_after_reopening() {
    let Scene { world, clock, disk } = Scene::new();
    let all_bytes: Vec<u8> = (0..=255).collect();
    let largest = vec![7; limits::CREDENTIAL_BYTES_MAX];
    let alice = world.handle("acme", "alice").unwrap().credentials();
    alice.put("BYTES", &Credential::new(all_bytes.clone()).metadata("what", "all")).unwrap();
    alice.put("LARGE", &Credential::new(largest.clone())).unwrap();
    alice.put("_", &Credential::new("x")).unwrap();
    for _ in 0..2 {
        assert_eq!(secret(&alice, "BYTES").unwrap(), all_bytes);
    }
    world.engine.close().unwrap();
    let world = World::with_clock(Path::new("/data"), Arc::new(disk), clock).unwrap();
    let alice = world.handle("acme", "alice").unwrap().credentials();
    assert_eq!(secret(&alice, "BYTES").unwrap(), all_bytes);
    assert_eq!(secret(&alice, "LARGE").unwrap(), largest);
    let known = alice.list().unwrap();
    let told: Vec<_> = known.iter().map(|info| (info.name.as_str(), info.version, info.uses)).collect();
    assert_eq!(told, [("BYTES", 1, 3), ("LARGE", 1, 1), ("_", 1, 0)]);
    assert_eq!(known[0].metadata["what"], "all");
    assert!(known[0].last_used_at.is_some() && known[2].last_used_at.is_none());
}

#[test]
fn versions_follow_each_other_and_the_one_before_is_kept_as_long_as_was_said() {
    let scene = Scene::new();
    let alice = scene.of("alice");
    assert_eq!(alice.put("T", &Credential::new("one")).unwrap(), 1);
    assert_eq!(kind(previous(&alice, "T")), ErrorKind::NotFound);
    assert_eq!(alice.rotate("T", &Credential::new("two"), HOUR).unwrap(), 2);
    assert_eq!((secret(&alice, "T").unwrap(), previous(&alice, "T").unwrap()), (b"two".to_vec(), b"one".to_vec()));
    // Of two rotations in a row the last but one goes.
    assert_eq!(alice.rotate("T", &Credential::new("three"), HOUR).unwrap(), 3);
    assert_eq!(previous(&alice, "T").unwrap(), b"two");
    let until = alice.list().unwrap()[0].previous_until.unwrap();
    scene.clock.set(Timestamp::from_micros(until.as_micros() - 1_000_000));
    assert_eq!(previous(&alice, "T").unwrap(), b"two");
    scene.clock.set(until);
    let alice = scene.of("alice");
    assert_eq!(kind(previous(&alice, "T")), ErrorKind::NotFound);
    assert_eq!(alice.list().unwrap()[0].previous_until, None);
    assert!(!alice.confirm("T").unwrap(), "it was gone already");
    assert_eq!(secret(&alice, "T").unwrap(), b"three");

    alice.rotate("T", &Credential::new("four"), HOUR).unwrap();
    assert!(alice.confirm("T").unwrap());
    assert!(!alice.confirm("T").unwrap());
    assert_eq!(kind(previous(&alice, "T")), ErrorKind::NotFound);
    // A put replaces all there was.
    alice.rotate("T", &Credential::new("five"), HOUR).unwrap();
    assert_eq!(alice.put("T", &Credential::new("six")).unwrap(), 6);
    assert_eq!(kind(previous(&alice, "T")), ErrorKind::NotFound);
    alice.delete("T").unwrap();
    for answer in [secret(&alice, "T"), previous(&alice, "T")] {
        assert_eq!(kind(answer), ErrorKind::NotFound);
    }
    assert_eq!(kind(alice.rotate("T", &Credential::new("x"), HOUR)), ErrorKind::NotFound);
    assert_eq!(kind(alice.confirm("T")), ErrorKind::NotFound);
    assert_eq!(alice.put("T", &Credential::new("anew")).unwrap(), 1);
}

#[test]
fn what_has_expired_is_gone_everywhere_and_its_place_is_given_back() {
    let scene = Scene::new();
    let alice = scene.of("alice");
    alice.put("T", &Credential::new("old").expires_after(HOUR)).unwrap();
    alice.rotate("T", &Credential::new("new").expires_after(HOUR), 2 * HOUR).unwrap();
    alice.put("STAYS", &Credential::new("x")).unwrap();
    // Times of changes run a little ahead of a clock that stands still.
    scene.clock.advance(HOUR + Duration::from_secs(1));
    let alice = scene.of("alice");
    assert_eq!(alice.list().unwrap().len(), 1);
    for answer in [secret(&alice, "T").map(|_| ()), previous(&alice, "T").map(|_| ()), alice.delete("T")] {
        assert_eq!(kind(answer), ErrorKind::NotFound);
    }
    assert_eq!(kind(alice.resolve("${{ user.credentials.T }}")), ErrorKind::NotFound);
    assert_eq!(kind(alice.rotate("T", &Credential::new("x"), HOUR)), ErrorKind::NotFound);
    assert_eq!(alice.put("T", &Credential::new("anew")).unwrap(), 1);
    assert_eq!(secret(&alice, "T").unwrap(), b"anew");
    let now = Timestamp::from_seconds(1_000);
    assert_eq!(kind(alice.put("T", &Credential::new("x").expires_at(now))), ErrorKind::InvalidInput);
    assert_eq!(secret(&alice, "T").unwrap(), b"anew", "what is refused changes nothing");
}

#[test]
fn a_user_has_at_most_a_thousand_and_does_not_count_for_another() {
    let scene = Scene::new();
    let (alice, bob) = (scene.of("alice"), scene.of("bob"));
    let name = |number: usize| format!("N{number:04}");
    for number in 0..limits::CREDENTIALS_MAX {
        let credential = Credential::new("x");
        let credential = if number == 0 { credential.expires_after(HOUR) } else { credential };
        alice.put(&name(number), &credential).unwrap();
    }
    let refused = alice.put("MORE", &Credential::new("x")).unwrap_err();
    let full = Reason::Full { what: "credentials of one user", limit: 1_000 };
    assert_eq!((refused.kind(), refused.reason()), (ErrorKind::Limit, &full));
    alice.put(&name(1), &Credential::new("another")).unwrap();
    bob.put("MORE", &Credential::new("x")).unwrap();
    // Times of changes run a little ahead of a clock that stands still.
    scene.clock.advance(HOUR + Duration::from_secs(1));
    let alice = scene.of("alice");
    alice.put("MORE", &Credential::new("x")).unwrap();
    assert_eq!(alice.list().unwrap().len(), 1_000);
}

#[test]
fn names_and_sizes_are_bounded_in_every_operation() {
    let scene = Scene::new();
    let alice = scene.of("alice");
    let fine = || Credential::new("x");
    for name in ["", "2", "a b", "a.b", "ä", &"n".repeat(65)] {
        for answer in [
            alice.put(name, &fine()).map(|_| ()),
            alice.rotate(name, &fine(), HOUR).map(|_| ()),
            alice.confirm(name).map(|_| ()),
            alice.delete(name),
            secret(&alice, name).map(|_| ()),
            previous(&alice, name).map(|_| ()),
        ] {
            assert_eq!(kind(answer), ErrorKind::InvalidInput, "{name:?}");
        }
    }
    alice.put("T", &fine()).unwrap();
    for overlap in [Duration::ZERO, limits::CREDENTIAL_OVERLAP_MAX + HOUR] {
        assert_eq!(kind(alice.rotate("T", &fine(), overlap)), ErrorKind::InvalidInput);
    }
    let large = alice.put("T", &Credential::new(vec![0; 65_537])).unwrap_err();
    assert_eq!(*large.reason(), Reason::TooLarge { what: "credential", limit: 65_536, actual: 65_537 });
    assert_eq!(kind(alice.put("T", &Credential::new(""))), ErrorKind::InvalidInput);
    assert_eq!(alice.list().unwrap()[0].version, 1);
}

#[test]
fn templates_use_all_their_names_or_none_and_count_each() {
    let scene = Scene::new();
    let (alice, bob) = (scene.of("alice"), scene.of("bob"));
    alice.put("A", &Credential::new("1")).unwrap();
    alice.put("B", &Credential::new("${{ user.credentials.A }}")).unwrap();
    alice.put("BYTES", &Credential::new(vec![0xff])).unwrap();
    bob.put("BOBS", &Credential::new("bob's")).unwrap();
    let resolved = alice.resolve("${{ user.credentials.A }}${{ user.credentials.B }}${{user.credentials.A}}").unwrap();
    assert_eq!(resolved.expose(), "1${{ user.credentials.A }}1");
    let uses = || alice.list().unwrap().iter().map(|info| info.uses).collect::<Vec<_>>();
    assert_eq!(uses(), [2, 1, 0]);
    for (template, expected) in [
        ("${{ user.credentials.A }}${{ user.credentials.NONE }}", ErrorKind::NotFound),
        ("${{ user.credentials.A }}${{ user.credentials.BOBS }}", ErrorKind::NotFound),
        ("${{ user.credentials.A }}${{ user.credentials.A", ErrorKind::InvalidInput),
        ("${{ user.credentials.A }}${{ bob.credentials.BOBS }}", ErrorKind::InvalidInput),
    ] {
        assert_eq!(kind(alice.resolve(template)), expected, "{template}");
        assert_eq!(kind(alice.resolve_env([("X", template)])), expected, "{template}");
    }
    assert_eq!(uses(), [2, 1, 0], "what is refused is not a use");
    assert_eq!(kind(alice.resolve("${{ user.credentials.BYTES }}")), ErrorKind::InvalidInput);
    let many = "${{ user.credentials.A }}".repeat(200);
    assert_eq!(kind(alice.resolve_env([("X", &many), ("Y", &many)])), ErrorKind::InvalidInput);
}

#[test]
fn only_what_a_process_can_be_given_is_an_environment() {
    let scene = Scene::new();
    let alice = scene.of("alice");
    alice.put("A", &Credential::new("1")).unwrap();
    alice.put("NUL", &Credential::new("a\0b")).unwrap();
    let uses = || alice.list().unwrap().iter().map(|info| info.uses).collect::<Vec<_>>();
    for name in ["", "=", "A=B", "A=", "=A", "A\0", "\0"] {
        let variables = [("GOOD", "${{ user.credentials.A }}"), (name, "${{ user.credentials.A }}")];
        assert_eq!(kind(alice.resolve_env(variables)), ErrorKind::InvalidInput, "{name:?}");
    }
    assert_eq!(uses(), [0, 0], "what is refused is not a use");
    for value in ["a\0b", "${{ user.credentials.NUL }}"] {
        let refused = alice.resolve_env([("GOOD", value)]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{value:?}");
        assert!(!refused.to_string().contains('\0'));
    }
    // A text that is no variable may have it, and a name may have any other character.
    assert_eq!(alice.resolve("${{ user.credentials.NUL }}").unwrap().expose(), "a\0b");
    let odd = alice.resolve_env([("Größe (1)".to_owned(), "1=${{ user.credentials.A }}")]).unwrap();
    assert_eq!(odd["Größe (1)"].expose(), "1=1");
}

/// Absent, of another user, and forbidden: one error.
#[test]
fn nobody_learns_whether_a_name_of_another_user_exists() {
    let scene = Scene::new();
    scene.of("alice").put("HERS", &Credential::new("x")).unwrap();
    let bob = scene.of("bob");
    let identity = scene.world.identity("acme", "bob", Scopes::NONE);
    let powerless = scene.world.engine.tenant(&identity).unwrap().credentials();
    let told = |credentials: &Credentials, name: &str| {
        let answers = [
            secret(credentials, name).map(|_| ()),
            previous(credentials, name).map(|_| ()),
            credentials.confirm(name).map(|_| ()),
            credentials.rotate(name, &Credential::new("x"), HOUR).map(|_| ()),
            credentials.resolve(&format!("${{{{ user.credentials.{name} }}}}")).map(|_| ()),
            credentials.delete(name),
        ];
        answers.map(|answer| answer.map_err(|error| format!("{error} {error:?}")))
    };
    assert_eq!(told(&bob, "HERS"), told(&bob, "NONE"));
    assert_eq!(told(&bob, "HERS"), told(&powerless, "HERS"));
}

#[test]
fn every_change_and_use_is_in_the_trail_which_tells_others_no_name() {
    let scene = Scene::new();
    let alice = scene.of("alice");
    alice.put("T", &Credential::new("x")).unwrap();
    alice.rotate("T", &Credential::new("y"), HOUR).unwrap();
    alice.with_secret("T", |_| ()).unwrap();
    alice.confirm("T").unwrap();
    alice.delete("T").unwrap();
    let trail = |user: &str| scene.world.handle("acme", user).unwrap().audit().entries(1, 100).unwrap();
    let actions: Vec<_> = trail("alice").into_iter().map(|entry| (entry.action, entry.key)).collect();
    let named = |action| (action, Some("T".to_owned()));
    assert_eq!(
        actions,
        [
            named(AuditAction::PutCredential),
            named(AuditAction::RotateCredential),
            named(AuditAction::UseCredential),
            named(AuditAction::ConfirmCredential),
            named(AuditAction::DeleteCredential),
        ]
    );
    assert!(trail("root").iter().all(|entry| entry.private && entry.key.is_none()));
}

/// The secret that is looked for must be found where it does lie open, or the search shows nothing.
#[test]
fn a_secret_is_nowhere_on_disk_and_in_nothing_that_is_printed() {
    const CANARY: &str = "canary-0f3b6c1e-of-the-vault";
    for plaintext in [false, true] {
        let disk = SimDisk::new(1);
        let builder = Engine::builder("/data").root_key(root_key()).danger().disk(Arc::new(disk.clone()));
        let opened = if plaintext { builder.danger().plaintext_files().open() } else { builder.open() };
        let (engine, authority) = opened.unwrap();
        let world = World { engine, authority };
        world.provision("acme").unwrap();
        let handle = world.handle("acme", "alice").unwrap();
        let vault = handle.credentials();
        let given = Credential::new(CANARY).metadata("open", "metadata-lies-open");
        let mut printed = format!("{given:?} {vault:?} {handle:?} {:?}", world.engine);
        vault.put("T", &given).unwrap();
        vault
            .rotate("T", &Credential::new(format!("{CANARY}-two")).metadata("open", "metadata-lies-open"), HOUR)
            .unwrap();
        printed += &format!("{:?} {:?}", vault.list(), handle.audit().entries(1, 10));
        printed += &format!("{:?}", vault.resolve("x ${{ user.credentials.T }}"));
        printed += &format!("{:?}", vault.resolve("${{ user.credentials.T }} ${{ user.credentials.U }}"));
        assert!(!printed.contains(CANARY), "{printed}");
        let found = |text: &str| {
            let files = disk.files().into_iter().filter_map(|path| disk.bytes(path));
            files.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        };
        // Pages in the open show what is beside the secret; the envelope holds whatever the pages do.
        assert_eq!(found("metadata-lies-open"), plaintext);
        assert!(!found(CANARY));
        vault.delete("T").unwrap();
        world.engine.close().unwrap();
        assert!(!found(CANARY));
    }
}
