//! Erasing a user: what belonged to it is gone and nothing else is, the trail stays whole, and receipts say what was
//! destroyed.

mod support;

use std::path::Path;
use std::sync::Arc;

use support::filled::DATA;
use support::household::{CANARY, SHARED, go_on, household, id, secrets, settle};
use support::seen::told;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Actor, AuditAction, Authored, Credential, Destroyed, ErrorKind, List, Memory, Recall, Receipt, Scopes, Selection,
    TenantHandle, Usage,
};

fn open(disk: &SimDisk) -> World {
    World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap()
}

fn scene() -> (SimDisk, World) {
    let disk = SimDisk::new(3);
    let world = open(&disk);
    settle(&world, "acme");
    settle(&world, "zoo");
    (disk, world)
}

fn enter(world: &World, user: &str) -> TenantHandle {
    world.handle("acme", user).unwrap()
}

/// Alice alone, who has done nothing but what she did beside bob.
fn usage_of_alice_alone(authored: Authored) -> Usage {
    let (_, world) = scene();
    let (alice, bob) = (enter(&world, "alice"), enter(&world, "bob"));
    for namespace in bob.namespaces().unwrap().into_iter().filter(|info| info.private) {
        bob.private(namespace.namespace.as_str()).unwrap().delete_namespace().unwrap();
    }
    if authored == Authored::Goes {
        let notes = bob.memories("notes").unwrap();
        (0..SHARED).for_each(|number| notes.delete(&format!("bob {number}")).unwrap());
    }
    while alice.sweep().unwrap().more {}
    let mut usage = alice.usage().unwrap();
    usage.users -= 1;
    usage
}

#[test]
fn what_belongs_to_a_user_goes_and_nothing_else() {
    for authored in [Authored::Stays, Authored::Goes] {
        let (disk, world) = scene();
        let (alice, bob) = (enter(&world, "alice"), enter(&world, "bob"));
        let (zoo, mine) = (household(&world, "zoo"), secrets(&alice));
        let diary = alice.private("diary").unwrap().list(&List::new()).unwrap().memories;
        let entries = alice.audit().entries(1, 1_000).unwrap();
        let done = alice.erase_user(bob.user(), authored, go_on).unwrap();
        let gone = &done.erased;
        let shared = if authored == Authored::Goes { SHARED as u64 } else { 0 };
        assert_eq!((gone.user.clone(), gone.namespaces, gone.memories), (bob.user().clone(), 1, 4));
        assert_eq!((gone.credentials, gone.idempotency_keys, gone.authored), (2, 1, shared));
        let facts = world.operator().verify_receipt(&done.receipt).unwrap();
        assert_eq!((facts.destroyed, facts.by), (Destroyed::User(gone.clone()), Actor::User(alice.user().clone())));

        // Once in the live engine and once after a crash.
        let again = open(&disk.crash());
        for world in [&world, &again] {
            let (alice, bob) = (enter(world, "alice"), enter(world, "bob"));
            assert_eq!(alice.usage().unwrap(), usage_of_alice_alone(authored));
            assert!(bob.credentials().list().unwrap().is_empty());
            assert_eq!(bob.namespaces().unwrap().iter().filter(|info| info.private).count(), 0);
            assert!(!bob.private("diary").unwrap().exists("once").unwrap());
            let notes = alice.memories("notes").unwrap();
            let left = notes.list(&List::new().limit(100)).unwrap().memories;
            assert_eq!(left.len() as u64, 2 * SHARED as u64 - shared);
            assert_eq!(notes.count(&Selection::all()).unwrap(), left.len() as u64);
            let hits = notes.recall(&Recall::vector(&[1.0, 3.0, 2.0]).top(100)).unwrap();
            assert_eq!(hits.len(), left.len());
            for memory in &left {
                let is_bobs = memory.key.starts_with("bob");
                assert_eq!(memory.author.issuer().is_erased(), is_bobs, "{}", memory.key);
                assert!(is_bobs || memory.author == *alice.user());
            }
            let told_of_bob = format!("{}{}", told(&alice), told(&bob)).contains(CANARY);
            assert_eq!(told_of_bob, authored == Authored::Stays, "his words in what stays, and nowhere else");

            // What alice has is as it was, and the trail goes on.
            assert_eq!(alice.private("diary").unwrap().list(&List::new()).unwrap().memories, diary);
            let now = alice.audit().entries(1, 1_000).unwrap();
            assert_eq!(now[..entries.len()], entries[..]);
            assert!(
                now.iter()
                    .any(|entry| entry.action == AuditAction::EraseUser && entry.user.as_ref() == Some(alice.user()))
            );
            alice.audit().verify().unwrap();
        }
        assert_eq!(secrets(&alice), mine);
        assert_eq!(household(&world, "zoo"), zoo);
        drop((alice, bob));
    }
}

/// The trail says who did what and when; what was private is named to nobody any more, not even under the same name.
#[test]
fn the_trail_keeps_who_and_what_but_not_what_was_private() {
    let (_, world) = scene();
    let (alice, bob) = (enter(&world, "alice"), enter(&world, "bob"));
    let private = |handle: &TenantHandle| {
        let entries = handle.audit().entries(1, 1_000).unwrap().into_iter();
        entries.filter(|entry| entry.private && entry.user.as_ref() == Some(handle.user())).collect::<Vec<_>>()
    };
    let (before, hers) = (private(&bob), private(&alice));
    let named = |entry: &watertight::AuditEntry| entry.key.is_some() || entry.namespace.is_some();
    assert!(before.len() > 8 && before.iter().all(named) && hers.iter().all(named));
    alice.erase_user(bob.user(), Authored::Stays, go_on).unwrap();
    let after = private(&bob);
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.at, before.action, &before.user), (after.at, after.action, &after.user));
        assert!(after.key.is_none() && after.namespace.is_none() && after.renamed_to.is_none());
    }
    assert_eq!(private(&alice), hers);
    bob.audit().verify().unwrap();
}

#[test]
fn who_comes_back_begins_anew() {
    let (_, world) = scene();
    let (alice, bob) = (enter(&world, "alice"), enter(&world, "bob"));
    // Handles from before, with all that they remember.
    let (diary, notes) = (bob.private("diary").unwrap(), bob.memories("notes").unwrap());
    diary.recall(&Recall::vector(&[1.0, 0.0, 2.0])).unwrap();
    alice.erase_user(bob.user(), Authored::Stays, go_on).unwrap();
    assert!(diary.recall(&Recall::vector(&[1.0, 0.0, 2.0])).unwrap().is_empty());
    assert_eq!(diary.get("once").unwrap_err().kind(), ErrorKind::NotFound);
    // The key was his; it is nobody's now.
    let once = diary.once(CANARY).unwrap();
    assert!(once.put(Memory::new("new").vector(vec![1.0, 2.0])).unwrap().created);
    assert_eq!(diary.list(&List::new()).unwrap().memories.len(), 1);
    assert_eq!(bob.credentials().put("TOKEN", &Credential::new("new")).unwrap(), 1);
    notes.put(Memory::new("bob again")).unwrap();
    let by_bob = Selection::all().author(bob.user().clone());
    assert_eq!(notes.count(&by_bob).unwrap(), 1);
    assert_eq!(*notes.get("bob again").unwrap().author.subject(), *bob.user().subject());
    assert!(notes.get("bob 1").unwrap().author.issuer().is_erased());
    // And is erased once more, under another number.
    let first = notes.get("bob 1").unwrap().author;
    assert_eq!(notes.count(&Selection::all().author(first.clone())).unwrap(), SHARED as u64);
    let again = alice.erase_user(bob.user(), Authored::Stays, go_on).unwrap().erased;
    assert_eq!((again.namespaces, again.memories, again.credentials), (1, 1, 1));
    assert_ne!(notes.get("bob again").unwrap().author, first);
    assert_eq!(notes.get("bob 1").unwrap().author, first);
    // What stayed the first time can still go.
    let users = alice.usage().unwrap().users;
    assert_eq!(alice.erase_user(&first, Authored::Goes, go_on).unwrap().erased.authored, SHARED as u64);
    assert_eq!((notes.count(&Selection::all().author(first)).unwrap(), alice.usage().unwrap().users), (0, users));
    alice.audit().verify().unwrap();
}

#[test]
fn a_user_who_has_written_nothing_leaves_nothing() {
    let (_, world) = scene();
    let alice = enter(&world, "alice");
    let before = household(&world, "acme");
    let carol = enter(&world, "carol");
    for _ in 0..2 {
        let gone = alice.erase_user(carol.user(), Authored::Goes, go_on).unwrap().erased;
        assert_eq!((gone.namespaces, gone.memories, gone.credentials), (0, 0, 0));
        assert_eq!((gone.idempotency_keys, gone.authored), (0, 0));
    }
    let entry = "EraseUser Some(\"alice\") None false None\n";
    assert_eq!(household(&world, "acme").replace(entry, ""), before.replace(entry, ""));
}

#[test]
fn an_admin_may_erase_itself_and_nobody_without_the_scope_anybody() {
    let (_, world) = scene();
    let alice = enter(&world, "alice");
    for scopes in [Scopes::NONE, Scopes::READ | Scopes::WRITE | Scopes::DELETE] {
        let other = world.engine.tenant(&world.identity("acme", "alice", scopes)).unwrap();
        let refused = other.erase_user(alice.user(), Authored::Goes, |_| panic!("it began")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
    }
    let gone = alice.erase_user(alice.user(), Authored::Goes, go_on).unwrap().erased;
    assert_eq!((gone.memories, gone.authored), (4, SHARED as u64 + 1));
    assert!(alice.memories("other").unwrap().list(&List::new()).unwrap().memories.is_empty());
    alice.audit().verify().unwrap();
}

/// Followers of a feed are told what went.
#[test]
fn the_feed_tells_what_was_erased_elsewhere() {
    let (_, world) = scene();
    let (alice, bob) = (enter(&world, "alice"), enter(&world, "bob"));
    let notes = alice.memories("notes").unwrap();
    alice.erase_user(bob.user(), Authored::Goes, go_on).unwrap();
    let page = notes.changes(None, 1_000).unwrap();
    let told = format!("{:?}", page.events);
    assert!(told.contains("alice 1") && !told.contains(CANARY));
    notes.put(Memory::new("later")).unwrap();
    let page = notes.changes(Some(&page.next), 1_000).unwrap();
    assert_eq!(page.events.len(), 1);
}

#[test]
fn receipts_are_genuine_or_refused() {
    let (disk, world) = scene();
    let operator = world.operator();
    let incarnation = operator.inspect(&id("zoo")).unwrap().incarnation;
    let rekeyed = operator.rekey(&id("zoo"), go_on).unwrap();
    let purged = operator.purge(&id("zoo")).unwrap();
    let facts = operator.verify_receipt(&purged).unwrap();
    assert_eq!((&facts.destroyed, facts.last_epoch.to_string().as_str()), (&Destroyed::Tenant, "2"));
    assert_eq!(facts.at, operator.tombstone(incarnation).unwrap().purged_at);
    assert!(facts.to_string().contains("operator \"ops\"") && facts.to_string().ends_with(Receipt::DOES_NOT_PROVE));
    assert_eq!(operator.verify_receipt(&operator.receipt(incarnation).unwrap()).unwrap(), facts);

    let text = purged.as_str();
    for at in 0..text.len() {
        for other in ['A', 'B', '-', '!'] {
            let mut forged = text.to_owned();
            forged.replace_range(at..=at, &other.to_string());
            if forged != text {
                let refused = operator.verify_receipt(&Receipt::from_text(forged)).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{other} at {at}");
            }
        }
        assert!(operator.verify_receipt(&Receipt::from_text(&text[..at])).is_err());
    }
    let long = Receipt::from_text("A".repeat(1 << 20));
    assert_eq!(operator.verify_receipt(&long).unwrap_err().kind(), ErrorKind::InvalidInput);

    // Another engine has issued nothing of this; the same one knows it again.
    let other = open(&SimDisk::new(9));
    assert_eq!(other.operator().verify_receipt(&purged).unwrap_err().kind(), ErrorKind::InvalidInput);
    drop((operator, world));
    let world = open(&disk.crash());
    assert_eq!(world.operator().verify_receipt(&purged).unwrap(), facts);
    assert_eq!(world.operator().verify_receipt(&rekeyed).unwrap().destroyed, Destroyed::FormerKey);
    assert_eq!(world.operator().receipt(incarnation).unwrap(), purged);
}

/// Whoever orders a purge stands in its receipt, also when another one, or the engine, had to finish it.
#[test]
fn a_receipt_names_who_gave_the_order() {
    let (disk, world) = scene();
    let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation;
    // The keys are gone when the directory cannot be changed any more.
    disk.fail_name("data.1.redb", 0);
    world.operator().purge(&id("acme")).unwrap_err();
    let image = disk.crash();
    let late = world.engine.operator(&world.authority.attest_operator("late").unwrap()).unwrap();
    let receipt = late.purge(&id("acme")).unwrap();
    assert_eq!(late.verify_receipt(&receipt).unwrap().by, Actor::Operator("ops".into()));
    let world = open(&image);
    let receipt = world.operator().receipt(incarnation).unwrap();
    assert_eq!(world.operator().verify_receipt(&receipt).unwrap().by, Actor::Operator("ops".into()));
}
