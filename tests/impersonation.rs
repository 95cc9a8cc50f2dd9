//! Operators who act for users: said, bounded, on record, and never with a secret.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Action, ApiKeySpec, Attenuation, AuditAction, AuditOutcome, Credential, ErrorKind, Impersonation, Issuer, Memory,
    OperatorAction, Policy, Principal, Reason, Recall, Refusal, Result, Scopes, TenantHandle, TenantId, TenantSpec,
    TestClock, Timestamp, UserId,
};

const HOUR: Duration = Duration::from_secs(3_600);

struct Scene {
    world: World,
    clock: Arc<TestClock>,
    acme: TenantId,
}

impl Scene {
    /// Alice is an owner by the operator's word, and has a secret, a memory and a private one.
    fn new() -> Self {
        let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
        let world = World::with_clock(Path::new("/data"), Arc::new(SimDisk::new(1)), clock.clone()).unwrap();
        let spec = TenantSpec::new("acme").unwrap().trusts(Issuer::authority()).owner(user("alice"));
        let acme = world.operator().provision(spec).unwrap().tenant;
        let scene = Self { world, clock, acme };
        let alice = scene.alice();
        alice.credentials().put("TOKEN", &Credential::new("the secret")).unwrap();
        alice.memories("notes").unwrap().put(Memory::new("k").text("shared").vector(vec![1.0, 0.0])).unwrap();
        alice.private("diary").unwrap().put(Memory::new("k").text("private")).unwrap();
        scene
    }

    fn alice(&self) -> TenantHandle {
        self.world.handle("acme", "alice").unwrap()
    }

    fn look(&self) -> Impersonation {
        Impersonation::new(self.acme.clone(), user("alice"), "ticket 4711")
    }

    fn enter(&self, how: &Impersonation) -> Result<TenantHandle> {
        let identity = self.world.operator().impersonate(how)?;
        assert_eq!(identity.operator(), Some("ops"));
        self.world.engine.tenant(&identity)
    }
}

fn user(name: &str) -> UserId {
    UserId::new(Issuer::authority(), name).unwrap()
}

fn is_refused<T: std::fmt::Debug>(answer: Result<T>) -> bool {
    answer.is_err_and(|error| *error.reason() == Reason::NotFound)
}

#[test]
fn an_impersonation_reads_unless_more_was_asked_for() {
    let scene = Scene::new();
    let as_alice = scene.enter(&scene.look()).unwrap();
    let notes = as_alice.memories("notes").unwrap();
    assert_eq!(notes.get("k").unwrap().text.as_deref(), Some("shared"));
    assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap().len(), 1);
    // It is the owner that is acted for; that gives no more than was asked.
    assert!(is_refused(notes.put(Memory::new("l"))) && is_refused(notes.delete("k")) && is_refused(as_alice.usage()));
    let writer = scene.enter(&scene.look().scopes(Scopes::READ | Scopes::WRITE)).unwrap();
    writer.memories("notes").unwrap().put(Memory::new("by the operator")).unwrap();
    assert!(is_refused(writer.memories("notes").unwrap().delete("k")));
    let me = writer.whoami().unwrap();
    assert_eq!((me.user, me.operator.as_deref()), (user("alice"), Some("ops")));
    assert_eq!(me.scopes, Scopes::READ | Scopes::WRITE);
}

#[test]
fn it_never_has_credentials_actions_or_a_life_of_its_own() {
    let scene = Scene::new();
    let alice = scene.alice();
    alice.set_policy(&Policy::new().detached_jobs(HOUR).unwrap()).unwrap();
    alice.require(Action::app("deploy")).unwrap();
    let as_alice = scene.enter(&scene.look().scopes(Scopes::ALL)).unwrap();
    let children = as_alice.attenuate(&Attenuation::new().credentials().action("deploy").unwrap()).unwrap();
    for handle in [&as_alice, &children] {
        let credentials = handle.credentials();
        assert!(
            is_refused(credentials.with_secret("TOKEN", |_| ()))
                && is_refused(credentials.with_previous("TOKEN", |_| ()))
        );
        assert!(is_refused(credentials.resolve("${{ user.credentials.TOKEN }}").map(|_| ())));
        assert!(is_refused(credentials.resolve_env([("A", "${{ user.credentials.TOKEN }}")]).map(|_| ())));
        assert!(is_refused(credentials.put("TOKEN", &Credential::new("mine"))) && is_refused(credentials.list()));
        assert!(is_refused(credentials.rotate("TOKEN", &Credential::new("mine"), HOUR)));
        assert!(is_refused(credentials.delete("TOKEN")) && is_refused(credentials.confirm("TOKEN")));
        assert!(is_refused(handle.require(Action::app("deploy"))));
        assert!(is_refused(handle.detach(HOUR)));
    }
    assert_eq!(alice.credentials().with_secret("TOKEN", <[u8]>::to_vec).unwrap(), b"the secret");
    let entries = alice.audit().entries(1, 1_000).unwrap();
    let why = |entry: &watertight::AuditEntry| match entry.outcome {
        AuditOutcome::Refused { why, .. } => Some((why, entry.operator.clone())),
        _ => None,
    };
    let refused: Vec<_> = entries.iter().filter_map(why).collect();
    assert!(!refused.is_empty());
    assert!(
        refused.iter().all(|(why, by)| *why == Refusal::Impersonated && by.as_deref() == Some("ops")),
        "{refused:?}"
    );
}

/// A key would outlive the operator's leave to act for the user.
#[test]
fn an_operator_who_acts_for_a_user_makes_no_keys() {
    let scene = Scene::new();
    let spec = ApiKeySpec::new("report").unwrap().scopes(Scopes::READ);
    let as_alice = scene.enter(&scene.look().scopes(Scopes::ALL)).unwrap();
    assert!(as_alice.usage().is_ok(), "it has the scope");
    assert!(is_refused(as_alice.api_keys().create(&spec)));
    let narrower = as_alice.attenuate(&Attenuation::new().lifetime(HOUR)).unwrap();
    assert!(is_refused(narrower.api_keys().create(&spec)));
    let alice = scene.alice();
    assert!(alice.api_keys().list().unwrap().is_empty());
    alice.api_keys().create(&spec).unwrap();
}

#[test]
fn both_are_named_wherever_something_is_done() {
    let scene = Scene::new();
    let alice = scene.alice();
    let before = alice.audit().verify().unwrap().entries;
    let as_alice = scene.enter(&scene.look().scopes(Scopes::ALL)).unwrap();
    let notes = as_alice.memories("notes").unwrap();
    notes.put(Memory::new("l")).unwrap();
    as_alice.attenuate(&Attenuation::new()).unwrap().private("diary").unwrap().delete("k").unwrap();
    as_alice.transact(|t| t.memories("notes")?.delete("l")).unwrap();
    notes.rename("old-notes").unwrap();
    as_alice.memories("old-notes").unwrap().put(Memory::new("n")).unwrap();
    let entries = alice.audit().entries(before + 1, 100).unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry.action).collect();
    let expected = [
        AuditAction::Impersonate,
        AuditAction::Put,
        AuditAction::Delete,
        AuditAction::Delete,
        AuditAction::RenameNamespace,
        AuditAction::Put,
    ];
    assert_eq!(actions, expected);
    for entry in &entries {
        assert_eq!((entry.user.as_ref(), entry.operator.as_deref()), (Some(&user("alice")), Some("ops")));
    }
    assert_eq!(entries[0].key.as_deref(), Some("ticket 4711"));
    // What alice does herself names nobody else.
    alice.memories("notes").unwrap().put(Memory::new("m")).unwrap();
    assert_eq!(alice.audit().entries(before + 7, 1).unwrap()[0].operator, None);

    let trail = scene.world.operator().audit(1, 100).unwrap();
    let said = trail.iter().find(|entry| entry.action == OperatorAction::Impersonate).unwrap();
    assert_eq!((said.operator.as_deref(), said.user.as_ref()), (Some("ops"), Some(&user("alice"))));
    assert_eq!((said.reason.as_deref(), said.tenant.as_ref()), (Some("ticket 4711"), Some(&scene.acme)));
    scene.world.operator().verify_audit().unwrap();
}

#[test]
fn it_ends_after_an_hour_at_the_latest_and_with_its_tenant() {
    let scene = Scene::new();
    for (life, accepted) in [(Duration::ZERO, false), (HOUR, true), (HOUR + Duration::from_micros(1), false)] {
        let made = scene.world.operator().impersonate(&scene.look().lifetime(life));
        assert_eq!(made.is_ok(), accepted, "{life:?}");
        assert!(made.err().is_none_or(|error| error.kind() == ErrorKind::InvalidInput));
    }
    let as_alice = scene.enter(&scene.look().lifetime(HOUR)).unwrap();
    let identity = scene.world.operator().impersonate(&scene.look().lifetime(HOUR)).unwrap();
    let suspended = scene.world.operator().suspend(&scene.acme);
    assert_eq!(as_alice.memories("notes").unwrap().get("k").unwrap_err().kind(), ErrorKind::Unavailable);
    suspended.and_then(|()| scene.world.operator().resume(&scene.acme)).unwrap();
    // Its stamp is a little ahead of a clock that stands still.
    scene.clock.advance(HOUR + Duration::from_millis(1));
    let expired = as_alice.memories("notes").unwrap().get("k").unwrap_err();
    assert_eq!(*expired.reason(), Reason::IdentityExpired);
    // Made again under the same name it is another tenant.
    let young = scene.world.operator().impersonate(&scene.look()).unwrap();
    scene.world.operator().purge(&scene.acme).unwrap();
    scene.world.provision("acme").unwrap();
    assert!(is_refused(scene.world.engine.tenant(&young)));
    assert_eq!(scene.world.engine.tenant(&identity).unwrap_err().kind(), ErrorKind::Unauthenticated);
}

#[test]
fn it_needs_a_reason_a_tenant_and_a_user_whose_issuer_is_trusted() {
    let scene = Scene::new();
    let operator = scene.world.operator();
    for reason in ["", " \n", &"a".repeat(257)] {
        let how = Impersonation::new(scene.acme.clone(), user("alice"), reason);
        assert_eq!(operator.impersonate(&how).unwrap_err().kind(), ErrorKind::InvalidInput, "{reason:?}");
    }
    let nowhere = Impersonation::new(TenantId::new("nowhere").unwrap(), user("alice"), "ticket");
    assert!(is_refused(operator.impersonate(&nowhere)));
    let stranger = UserId::new(Issuer::new("https://login.example.org/").unwrap(), "alice").unwrap();
    assert!(is_refused(scene.enter(&Impersonation::new(scene.acme.clone(), stranger, "ticket"))));
    let before = operator.audit(1, 100).unwrap().len();
    scene.clock.advance(24 * HOUR);
    assert_eq!(operator.impersonate(&scene.look()).unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert_eq!(scene.world.operator().audit(1, 100).unwrap().len(), before);
}

#[test]
fn the_policy_grants_the_operator_no_more_than_the_user() {
    let scene = Scene::new();
    let alice = scene.alice();
    let staff = Principal::group(Issuer::authority(), "staff").unwrap();
    alice.set_policy(&Policy::new().assign(staff, "member").unwrap()).unwrap();
    let bob = Impersonation::new(scene.acme.clone(), user("bob"), "ticket").scopes(Scopes::ALL);
    // Bob has no role, and the tenant is not opened for who may do nothing.
    assert!(is_refused(scene.enter(&bob)));
    let as_bob = scene.enter(&bob.groups(["staff"])).unwrap();
    as_bob.memories("notes").unwrap().put(Memory::new("l")).unwrap();
    assert!(is_refused(as_bob.usage()) && is_refused(as_bob.audit().entries(1, 10)));
    assert!(is_refused(as_bob.private("diary").unwrap().get("k")));
}
