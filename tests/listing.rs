//! A list that is read one by one: what was read before is not given out when reading is allowed no longer.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::world::World;
use watertight::disk::MemoryDisk;
use watertight::{
    Attenuation, List, Listing, Memory, Policy, Principal, Reason, Revocation, Role, Scopes, TenantHandle, TestClock,
    Timestamp,
};

struct Scene {
    world: World,
    clock: Arc<TestClock>,
    alice: TenantHandle,
    bob: TenantHandle,
}

impl Scene {
    fn new() -> Self {
        let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
        let world = World::with_clock(Path::new("/data"), Arc::new(MemoryDisk::new()), clock.clone()).unwrap();
        world.provision("acme").unwrap();
        let [alice, bob] = ["alice", "bob"].map(|user| world.handle("acme", user).unwrap());
        let notes = alice.memories("notes").unwrap();
        notes.put_many((0..20).map(|number| Memory::new(format!("{number}"))).collect()).unwrap();
        Self { world, clock, alice, bob }
    }

    /// Bob's list, of which a whole page is read already.
    fn begun(&self) -> Listing {
        let mut listing = self.bob.memories("notes").unwrap().iter(List::new().limit(10));
        assert!(listing.next().unwrap().is_ok());
        listing
    }
}

type End = fn(&Scene);

const ENDS: [(&str, End, Reason); 7] = [
    ("suspended", |s| s.world.operator().suspend(s.bob.id()).unwrap(), Reason::TenantSuspended),
    ("purged", |s| drop(s.world.operator().purge(s.bob.id()).unwrap()), Reason::NotFound),
    ("revoked", |s| s.alice.revoke(&Revocation::subject(s.bob.user())).unwrap(), Reason::IdentityRevoked),
    ("withdrawn", |s| s.bob.clone().withdraw(), Reason::HandleRevoked),
    ("expired", |s| s.clock.advance(Duration::from_secs(7_200)), Reason::IdentityExpired),
    (
        "forbidden",
        |s| {
            let alice = Principal::user(s.alice.user().clone());
            let role = Role::new("other").unwrap().allow(Scopes::READ, "other").unwrap();
            let policy = Policy::new().role(role).unwrap().assign(alice, "owner").unwrap();
            s.alice.set_policy(&policy.assign(Principal::Everyone, "other").unwrap()).unwrap();
        },
        Reason::NotFound,
    ),
    ("closed", |s| assert!(s.world.engine.close().unwrap().is_clean()), Reason::Closed),
];

#[test]
fn a_list_ends_with_one_error_when_reading_is_allowed_no_longer() {
    for (name, end, reason) in ENDS {
        let scene = Scene::new();
        let mut listing = scene.begun();
        end(&scene);
        let refused = listing.next().unwrap().unwrap_err();
        assert_eq!(*refused.reason(), reason, "{name}");
        assert!(listing.next().is_none() && listing.next().is_none(), "{name}: it stays ended");
    }
}

#[test]
fn a_list_goes_on_in_a_tenant_that_was_resumed_before_anybody_asked() {
    let scene = Scene::new();
    let listing = scene.begun();
    scene.world.operator().suspend(scene.bob.id()).unwrap();
    scene.world.operator().resume(scene.bob.id()).unwrap();
    assert_eq!(listing.filter(|memory| memory.is_ok()).count(), 19);
}

#[test]
fn only_the_pages_of_a_list_count_as_operations() {
    let scene = Scene::new();
    let two = scene.bob.attenuate(&Attenuation::new().operations(2)).unwrap();
    let listed = two.memories("notes").unwrap().iter(List::new().limit(10)).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(listed.len(), 20);
    assert_eq!(two.whoami().unwrap().operations_left, Some(0));
}
