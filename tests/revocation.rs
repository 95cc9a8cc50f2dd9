//! Identities that are ended before their time: at the next operation of live handles, after restarts, and of nobody else.

mod support;
#[path = "support/tokens.rs"]
mod tokens;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::json;
use support::sim_disk::SimDisk;
use support::world::root_key;
use tokens::Signer;
use watertight::{
    ApiKeySpec, Attestation, AuditAction, Authority, Clock, Engine, Error, ErrorKind, Issuer, Jwks, JwtVerifier,
    Memory, NewApiKey, Operator, OperatorAction, Reason, Result, Revocation, Scopes, TenantHandle, TenantId,
    TenantSpec, TestClock, Timestamp, UserId, VerifiedIdentity,
};

const NOW: u64 = 1_800_000_000;
const ONE: &str = "https://one.example.org/";
const TWO: &str = "https://two.example.org/";
const DAY: Duration = Duration::from_secs(86_400);

/// An engine with two tenants, `acme` and `zoo`, which trust two issuers of tokens and the authority.
struct Scene {
    engine: Engine,
    authority: Authority,
    clock: Arc<TestClock>,
    disk: SimDisk,
}

fn signer() -> Signer {
    Signer::ed25519("k", 1)
}

fn issuer(name: &str) -> Issuer {
    Issuer::new(name).unwrap()
}

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

impl Scene {
    fn new() -> Self {
        let scene = Self::open(SimDisk::new(1), TestClock::at(Timestamp::from_seconds(NOW - 100)));
        for tenant in ["acme", "zoo"] {
            let spec = TenantSpec::new(tenant).unwrap().trusts(Issuer::authority());
            scene.operator().provision(spec.trusts(issuer(ONE)).trusts(issuer(TWO))).unwrap();
        }
        scene.clock.set(Timestamp::from_seconds(NOW));
        scene
    }

    fn open(disk: SimDisk, clock: Arc<TestClock>) -> Self {
        let mut builder = Engine::builder(Path::new("/data")).root_key(root_key()).clock(clock.clone());
        for name in [ONE, TWO] {
            let keys = Jwks::from_json(&signer().jwks_json()).unwrap();
            builder = builder.verifier(JwtVerifier::new(issuer(name), "api", keys).unwrap().tenants_claim("tenants"));
        }
        let (engine, authority) = builder.danger().disk(Arc::new(disk.clone())).open().unwrap();
        Self { engine, authority, clock, disk }
    }

    /// What a power cut leaves, opened.
    fn after_a_crash(&self) -> Self {
        Self::open(self.disk.crash(), self.clock.clone())
    }

    fn operator(&self) -> Operator {
        self.engine.operator(&self.authority.attest_operator("ops").unwrap()).unwrap()
    }

    fn admin(&self, tenant: &str) -> TenantHandle {
        self.engine.tenant(&self.attested(tenant, "root")).unwrap()
    }

    fn attested(&self, tenant: &str, user: &str) -> VerifiedIdentity {
        self.authority.attest(Attestation::new(tenant, user).unwrap().scopes(Scopes::ALL).lifetime(DAY)).unwrap()
    }

    /// A user's token for both tenants.
    fn token(&self, iss: &str, user: &str, jti: &str) -> VerifiedIdentity {
        self.token_with(iss, user, jti, "read write")
    }

    fn token_with(&self, iss: &str, user: &str, jti: &str, scopes: &str) -> VerifiedIdentity {
        let at = self.clock.now().as_seconds();
        let claims = json!({"iss": iss, "aud": "api", "sub": user, "tenants": ["acme", "zoo"], "iat": at, "exp": at + 3_600,
                            "jti": jti, "scope": scopes});
        self.engine.verify(&signer().token(&claims)).unwrap()
    }

    fn enter(&self, identity: &VerifiedIdentity, tenant: &str) -> Result<TenantHandle> {
        self.engine.tenant_as(identity, &id(tenant))
    }

    fn key(&self) -> NewApiKey {
        let spec = ApiKeySpec::new("report").unwrap().scopes(Scopes::READ | Scopes::WRITE);
        self.admin("acme").api_keys().create(&spec).unwrap()
    }
}

#[track_caller]
fn is_revoked<T: std::fmt::Debug>(answer: Result<T>) {
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unauthenticated, "the identity was revoked"));
}

/// A handle with whatever could remember that it was let in.
struct Live(TenantHandle, watertight::Memories);

impl Live {
    fn new(handle: TenantHandle) -> Self {
        let notes = handle.memories("notes").unwrap();
        notes.put(Memory::new("k")).unwrap();
        Self(handle, notes)
    }

    #[track_caller]
    fn works(&self) {
        self.0.check(Scopes::READ).unwrap();
        self.1.get("k").unwrap();
    }

    #[track_caller]
    fn is_over(&self) {
        is_revoked(self.0.check(Scopes::READ));
        is_revoked(self.0.clone().namespaces());
        is_revoked(self.1.get("k"));
        is_revoked(self.1.put(Memory::new("k")));
        is_revoked(self.1.iter(watertight::List::new()).next().unwrap());
        is_revoked(self.0.transact(|_| Ok(())));
    }
}

#[test]
fn one_token_is_revoked_by_its_id() {
    let scene = Scene::new();
    let (first, second) = (scene.token(ONE, "alice", "t-1"), scene.token(ONE, "alice", "t-2"));
    let elsewhere = scene.token(TWO, "alice", "t-1");
    let live = |identity, tenant| Live::new(scene.enter(identity, tenant).unwrap());
    let (a, b, c, zoo) = (live(&first, "acme"), live(&second, "acme"), live(&elsewhere, "acme"), live(&first, "zoo"));
    let revocation = Revocation::token(first.user().issuer(), first.token_id().unwrap(), first.expires_at()).unwrap();
    scene.admin("acme").revoke(&revocation).unwrap();
    a.is_over();
    is_revoked(scene.enter(&first, "acme"));
    // The user's other token, the same id of another issuer, and the same token at another tenant.
    [&b, &c, &zoo].into_iter().for_each(Live::works);
    let again = scene.after_a_crash();
    is_revoked(again.enter(&first, "acme"));
    is_revoked(again.enter(&again.token(ONE, "alice", "t-1"), "acme"));
    again.enter(&again.token(ONE, "alice", "t-2"), "acme").unwrap();
}

#[test]
fn a_subject_is_revoked_up_to_now() {
    let scene = Scene::new();
    let (token, elsewhere, other) =
        (scene.token(ONE, "alice", "1"), scene.token(TWO, "alice", "1"), scene.token(ONE, "bob", "1"));
    let attested = scene.attested("acme", "alice");
    let live = |identity, tenant| Live::new(scene.enter(identity, tenant).unwrap());
    let (a, b, c) = (live(&token, "acme"), live(&elsewhere, "acme"), live(&other, "acme"));
    let (d, zoo) = (live(&attested, "acme"), live(&token, "zoo"));
    scene.admin("acme").revoke(&Revocation::subject(token.user())).unwrap();
    a.is_over();
    // The subject of another issuer is another user.
    [&b, &c, &d, &zoo].into_iter().for_each(Live::works);
    is_revoked(scene.enter(&token, "acme"));
    // Within the leeway a new token cannot be told from an old one, later it can.
    is_revoked(scene.enter(&scene.token(ONE, "alice", "2"), "acme"));
    scene.clock.advance(Duration::from_secs(7));
    scene.enter(&scene.token(ONE, "alice", "3"), "acme").unwrap();
    let again = scene.after_a_crash();
    is_revoked(again.enter(&token, "acme"));
    again.clock.advance(Duration::from_secs(7));
    again.enter(&again.token(ONE, "alice", "4"), "acme").unwrap();

    // Attested identities are told apart exactly.
    scene.admin("acme").revoke(&Revocation::subject(attested.user())).unwrap();
    d.is_over();
    Live::new(scene.engine.tenant(&scene.attested("acme", "alice")).unwrap()).works();
}

#[test]
fn a_login_of_the_application_is_revoked_by_its_session() {
    let scene = Scene::new();
    let login = |session: &str| {
        let alice = Attestation::new("acme", "alice").unwrap().scopes(Scopes::ALL).session(session).unwrap();
        scene.authority.attest(alice).unwrap()
    };
    let (first, second) = (login("phone"), login("laptop"));
    let (a, b) = (Live::new(scene.engine.tenant(&first).unwrap()), Live::new(scene.engine.tenant(&second).unwrap()));
    let phone = Revocation::token(&Issuer::authority(), "phone", first.expires_at()).unwrap();
    scene.admin("acme").revoke(&phone).unwrap();
    a.is_over();
    b.works();
    for bad in ["", "a b", "a\n", "ü", &"a".repeat(256)] {
        assert!(Revocation::token(&Issuer::authority(), bad, first.expires_at()).is_err());
        assert!(Attestation::new("acme", "alice").unwrap().session(bad).is_err());
    }
}

/// Somebody who is shut out must not come back by a key that it made while it was in.
#[test]
fn the_keys_that_a_revoked_user_made_end_with_it() {
    for by_operator in [false, true] {
        let scene = Scene::new();
        let enter =
            |iss, jti, tenant| scene.enter(&scene.token_with(iss, "mallory", jti, "read write admin"), tenant).unwrap();
        let (mallory, admin) = (enter(ONE, "1", "acme"), scene.admin("acme"));
        let spec = ApiKeySpec::new("report").unwrap().scopes(Scopes::READ | Scopes::WRITE);
        let (theirs, ours) = (mallory.api_keys().create(&spec).unwrap(), admin.api_keys().create(&spec).unwrap());
        // Of the same name at another issuer, and at another tenant.
        let same_name = enter(TWO, "2", "acme");
        let elsewhere = enter(ONE, "3", "zoo");
        let others = [ours, same_name.api_keys().create(&spec).unwrap(), elsewhere.api_keys().create(&spec).unwrap()];
        let identity = scene.engine.verify(theirs.expose()).unwrap();
        let live = Live::new(scene.engine.tenant(&identity).unwrap());
        // Ending one token ends that token alone.
        let token = Revocation::token(&issuer(ONE), "1", Timestamp::from_seconds(NOW + 1_000)).unwrap();
        scene.operator().revoke(&id("acme"), &token).unwrap();
        scene.engine.tenant(&identity).unwrap();
        let what = Revocation::subject(mallory.user());
        if by_operator { scene.operator().revoke(&id("acme"), &what) } else { admin.revoke(&what) }.unwrap();
        live.is_over();
        is_revoked(scene.engine.tenant(&identity));
        assert_eq!(scene.engine.verify(theirs.expose()).unwrap_err().reason(), &Reason::TokenRefused);
        let makers: Vec<_> = admin.api_keys().list().unwrap().into_iter().map(|key| key.created_by).collect();
        assert_eq!(makers, [admin.user().clone(), same_name.user().clone()]);
        let again = scene.after_a_crash();
        assert!(again.engine.verify(theirs.expose()).is_err());
        for key in &others {
            scene.engine.tenant(&scene.engine.verify(key.expose()).unwrap()).unwrap();
            again.engine.tenant(&again.engine.verify(key.expose()).unwrap()).unwrap();
        }
        // What the user makes after coming back is as good as the user is.
        scene.clock.advance(Duration::from_secs(60));
        let back = enter(ONE, "4", "acme");
        let key = back.api_keys().create(&spec).unwrap();
        scene.engine.tenant(&scene.engine.verify(key.expose()).unwrap()).unwrap();
    }
}

#[test]
fn everybody_is_revoked_the_admin_and_the_keys_included() {
    let scene = Scene::new();
    let (token, key) = (scene.token(ONE, "alice", "1"), scene.key());
    let keys_identity = scene.engine.verify(key.expose()).unwrap();
    let lives = [
        Live::new(scene.enter(&token, "acme").unwrap()),
        Live::new(scene.engine.tenant(&keys_identity).unwrap()),
        Live::new(scene.admin("acme")),
    ];
    let zoo = Live::new(scene.enter(&token, "zoo").unwrap());
    lives[2].0.revoke(&Revocation::everyone()).unwrap();
    lives.iter().for_each(Live::is_over);
    zoo.works();
    is_revoked(scene.enter(&token, "acme"));
    is_revoked(scene.engine.tenant(&keys_identity));
    assert_eq!(scene.engine.verify(key.expose()).unwrap_err().reason(), &Reason::TokenRefused);
    assert!(scene.admin("acme").api_keys().list().unwrap().is_empty());
    let again = scene.after_a_crash();
    is_revoked(again.enter(&token, "acme"));
    again.admin("acme");
}

#[test]
fn an_issuer_that_a_tenant_trusts_no_longer_is_out_at_once() {
    let scene = Scene::new();
    let (one, two) = (scene.token(ONE, "alice", "1"), scene.token(TWO, "alice", "1"));
    let (a, b) = (Live::new(scene.enter(&one, "acme").unwrap()), Live::new(scene.enter(&two, "acme").unwrap()));
    let zoo = Live::new(scene.enter(&one, "zoo").unwrap());
    scene.operator().set_issuers(&id("acme"), [issuer(TWO)]).unwrap();
    assert_eq!(a.1.get("k").unwrap_err(), Error::from(Reason::NotFound));
    assert_eq!(scene.enter(&one, "acme").unwrap_err(), Error::from(Reason::NotFound));
    [&b, &zoo].into_iter().for_each(Live::works);
    let again = scene.after_a_crash();
    assert_eq!(again.operator().inspect(&id("acme")).unwrap().issuers, [issuer(TWO)]);
    assert!(again.enter(&one, "acme").is_err());

    let many = (0..65).map(|n| issuer(&format!("https://{n}.example.org/")));
    assert_eq!(scene.operator().set_issuers(&id("acme"), many).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(scene.operator().set_issuers(&id("absent"), []).unwrap_err().kind(), ErrorKind::NotFound);
    b.works();
}

#[test]
fn operators_revoke_as_admins_do_and_it_is_in_their_trail() {
    let scene = Scene::new();
    let token = scene.token(ONE, "alice", "1");
    let live = Live::new(scene.enter(&token, "acme").unwrap());
    scene.operator().revoke(&id("acme"), &Revocation::subject(token.user())).unwrap();
    live.is_over();
    let last = scene.operator().audit(1, 100).unwrap().pop().unwrap();
    assert_eq!(
        (last.action, last.operator.as_deref(), last.tenant),
        (OperatorAction::Revoke, Some("ops"), Some(id("acme")))
    );
    scene.operator().verify_audit().unwrap();
    let absent = scene.operator().revoke(&id("absent"), &Revocation::everyone()).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);

    let admin = scene.admin("acme");
    admin.revoke(&Revocation::token(&issuer(ONE), "t-9", token.expires_at()).unwrap()).unwrap();
    let entries = admin.audit().entries(1, 100).unwrap();
    let told = entries.iter().find(|entry| entry.action == AuditAction::Revoke).unwrap();
    assert_eq!(told.key.as_deref(), Some("token t-9 of https://one.example.org/"));
}

#[test]
fn a_tenant_that_is_made_again_has_nobody_revoked() {
    let scene = Scene::new();
    let alice = UserId::new(issuer(ONE), "alice").unwrap();
    let (acme, admin) = (id("acme"), scene.admin("acme"));
    for what in [
        Revocation::subject(&alice),
        Revocation::token(&issuer(ONE), "later", Timestamp::from_seconds(NOW + 3_600)).unwrap(),
    ] {
        admin.revoke(&what).unwrap();
    }
    scene.operator().purge(&acme).unwrap();
    scene.operator().provision(TenantSpec::new("acme").unwrap().trusts(issuer(ONE))).unwrap();
    scene.clock.advance(Duration::from_secs(7));
    scene.enter(&scene.token(ONE, "alice", "later"), "acme").unwrap();
    // The handle from before can revoke nothing of the new one.
    assert_eq!(admin.revoke(&Revocation::everyone()).unwrap_err().kind(), ErrorKind::NotFound);
    scene.enter(&scene.token(ONE, "alice", "later"), "acme").unwrap();
}

/// A token that is revoked stays so as long as any verifier could accept it.
#[test]
fn a_revocation_lasts_as_long_as_what_it_revokes() {
    let scene = Scene::new();
    let token = scene.token(ONE, "alice", "t-1");
    let by_id = Revocation::token(&issuer(ONE), "t-1", token.expires_at()).unwrap();
    scene.admin("acme").revoke(&by_id).unwrap();
    let sweep = |scene: &Scene| {
        // Each revocation clears away what is due.
        let other = UserId::new(issuer(TWO), "nobody").unwrap();
        scene.operator().revoke(&id("zoo"), &Revocation::subject(&other)).unwrap();
    };
    scene.clock.set(token.expires_at().before(Duration::from_secs(1)));
    sweep(&scene);
    is_revoked(scene.enter(&token, "acme"));
    scene.clock.set(token.expires_at());
    sweep(&scene);
    assert_eq!(scene.enter(&token, "acme").unwrap_err().reason(), &Reason::IdentityExpired);
    is_revoked(scene.enter(&scene.token(ONE, "alice", "t-1"), "acme"));
    // A week later the id is forgotten: whoever issues it once more means another token.
    scene.clock.advance(7 * DAY + Duration::from_secs(60));
    sweep(&scene);
    scene.enter(&scene.token(ONE, "alice", "t-1"), "acme").unwrap();
}

#[test]
fn only_an_admin_revokes() {
    let scene = Scene::new();
    let token = scene.token(ONE, "alice", "1");
    let live = Live::new(scene.enter(&token, "acme").unwrap());
    let own = Revocation::subject(token.user());
    assert_eq!(live.0.revoke(&own).unwrap_err().kind(), ErrorKind::NotFound);
    live.works();
    let admin = scene.admin("acme");
    admin.revoke(&own).unwrap();
    live.is_over();
    // A handle's own debug text names no file and no more of the identity than before.
    let printed = format!("{admin:?} {:?}", live.1);
    assert!(!printed.contains("/data") && !printed.contains("token_id"), "{printed}");
}

/// A revoked identity learns no more than an expired one, not even that its tenant is suspended.
#[test]
fn whoever_was_revoked_learns_nothing_of_the_tenants_state() {
    let scene = Scene::new();
    let (token, other) = (scene.token(ONE, "alice", "1"), scene.token(ONE, "bob", "1"));
    let live = Live::new(scene.enter(&token, "acme").unwrap());
    scene.operator().revoke(&id("acme"), &Revocation::subject(token.user())).unwrap();
    scene.operator().suspend(&id("acme")).unwrap();
    live.is_over();
    is_revoked(scene.enter(&token, "acme"));
    assert_eq!(scene.enter(&other, "acme").unwrap_err().reason(), &Reason::TenantSuspended);
    // Who is revoked while the tenant is suspended stays so when it is resumed.
    scene.operator().revoke(&id("acme"), &Revocation::subject(other.user())).unwrap();
    scene.operator().resume(&id("acme")).unwrap();
    is_revoked(scene.enter(&other, "acme"));
    live.is_over();
}

/// A catalog that cannot be asked lets nobody pass who has to be asked about.
#[test]
fn without_an_answer_nobody_passes() {
    let scene = Scene::new();
    let token = scene.token(ONE, "alice", "1");
    let live = Live::new(scene.enter(&token, "acme").unwrap());
    let admin = scene.admin("acme");
    // The commit fails where it may or may not be durable.
    scene.disk.fail_sync("catalog", 0);
    let outcome = admin.revoke(&Revocation::subject(token.user()));
    assert!(outcome.is_err());
    let now = live.1.get("k");
    let after = scene.after_a_crash().enter(&token, "acme");
    // Live handles say the same as the catalog does, or that they cannot tell.
    assert!(now.is_err() || after.is_ok(), "{now:?} {after:?}");
}

/// A change that waits for its turn while its user is revoked is asked once more, and an operator does not wait for it.
#[test]
fn whoever_waits_for_a_turn_is_asked_again() {
    let scene = Scene::new();
    let token = scene.token(ONE, "alice", "1");
    let (live, admin) = (Live::new(scene.enter(&token, "acme").unwrap()), scene.admin("acme"));
    let (entered, is_in) = mpsc::channel();
    let (release, released) = mpsc::channel();
    std::thread::scope(|threads| {
        let slow = admin.clone();
        threads.spawn(move || {
            slow.transact(|t| {
                t.memories("notes")?.put(Memory::new("slow"))?;
                entered.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
        });
        is_in.recv().unwrap();
        // One leads and waits for the writer, the other one waits for the leader.
        let waiting: Vec<_> = (0..2).map(|_| threads.spawn(|| live.1.put(Memory::new("late")))).collect();
        while admin.stats().unwrap().waiting_changes == 0 {
            std::thread::yield_now();
        }
        scene.operator().revoke(&id("acme"), &Revocation::subject(token.user())).unwrap();
        release.send(()).unwrap();
        waiting.into_iter().for_each(|put| is_revoked(put.join().unwrap()));
    });
    let notes = admin.memories("notes").unwrap();
    assert!(notes.exists("slow").unwrap() && !notes.exists("late").unwrap());
}

/// What is ended while 16 threads are busy with it.
#[derive(Clone, Copy, Debug)]
enum End {
    Token,
    Subject,
    Everyone,
    ApiKey,
    Issuer,
}

fn end_against_busy_threads(end: End) {
    let scene = Scene::new();
    let (token, key) = (scene.token(ONE, "alice", "t-1"), scene.key());
    let identity = if let End::ApiKey = end { scene.engine.verify(key.expose()).unwrap() } else { token };
    let admin = scene.admin("acme");
    let handle = scene.enter(&identity, "acme").unwrap();
    handle.memories("notes").unwrap().put(Memory::new("k")).unwrap();
    let (ended, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        for number in 0..16 {
            let (scene, identity, handle, ended, done) = (&scene, &identity, &handle, &ended, &done);
            threads.spawn(move || {
                let notes = handle.memories("notes").unwrap();
                let mut refused = 0;
                // A few rounds more, after the first refusal, for whoever is let in again by mistake.
                for round in 0.. {
                    let began_after = ended.load(Ordering::SeqCst);
                    let answer = match (number + round) % 4 {
                        0 => notes.put(Memory::new(format!("{number}"))).map(|_| ()),
                        1 => notes.get("k").map(|_| ()),
                        2 => {
                            handle.transact(|t| t.memories("notes")?.put(Memory::new(format!("{number}"))).map(|_| ()))
                        }
                        _ => scene.enter(identity, "acme").map(|_| ()),
                    };
                    match answer {
                        Ok(()) => {
                            assert!(!began_after, "{end:?}: round {round} of thread {number} began after the end");
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) if matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::NotFound) => {
                            refused += 1;
                        }
                        Err(error) => panic!("{end:?}: {error}"),
                    }
                    if began_after && refused > 20 {
                        return;
                    }
                }
            });
        }
        while done.load(Ordering::SeqCst) < 200 {
            std::thread::yield_now();
        }
        match end {
            End::Token => {
                let it = Revocation::token(&issuer(ONE), "t-1", identity.expires_at()).unwrap();
                admin.revoke(&it).unwrap();
            }
            End::Subject => admin.revoke(&Revocation::subject(identity.user())).unwrap(),
            End::Everyone => scene.operator().revoke(&id("acme"), &Revocation::everyone()).unwrap(),
            End::ApiKey => admin.api_keys().revoke(key.info.id).unwrap(),
            End::Issuer => scene.operator().set_issuers(&id("acme"), [issuer(TWO)]).unwrap(),
        }
        ended.store(true, Ordering::SeqCst);
    });
}

macro_rules! against_16_threads {
    ($($name:ident: $end:ident;)*) => {$(
        #[test]
        fn $name() {
            end_against_busy_threads(End::$end);
        }
    )*};
}
against_16_threads! {
    no_operation_of_a_token_begins_after_it_was_revoked: Token;
    no_operation_of_a_subject_begins_after_it_was_revoked: Subject;
    no_operation_of_a_tenant_begins_after_everybody_was_revoked: Everyone;
    no_operation_of_an_api_key_begins_after_it_was_revoked: ApiKey;
    no_operation_of_an_issuer_begins_after_it_is_trusted_no_longer: Issuer;
}

/// Neither does a key that somebody makes meanwhile outlive the end of everybody.
#[test]
fn no_key_is_made_by_whoever_was_revoked_meanwhile() {
    for _ in 0..10 {
        let scene = Scene::new();
        let maker = scene.admin("acme");
        let spec = ApiKeySpec::new("report").unwrap().scopes(Scopes::READ);
        let keys = std::thread::scope(|threads| {
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    let (keys, spec) = (maker.api_keys(), &spec);
                    threads.spawn(move || std::iter::from_fn(|| keys.create(spec).ok()).collect::<Vec<_>>())
                })
                .collect();
            scene.operator().revoke(&id("acme"), &Revocation::everyone()).unwrap();
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect::<Vec<_>>()
        });
        for key in keys {
            assert!(scene.engine.verify(key.expose()).is_err());
        }
        assert!(scene.admin("acme").api_keys().list().unwrap().is_empty());
    }
}

/// Power loss at every write of the disk: what was acknowledged holds, and what was under way holds whole or not at all.
#[test]
fn keys_and_revocations_survive_a_crash_at_any_moment() {
    let scene = Scene::new();
    let bearer = |user: &str, jti: &str| {
        let claims = json!({"iss": ONE, "aud": "api", "sub": user, "tenants": ["acme"], "iat": NOW, "exp": NOW + 3_600,
                            "jti": jti, "scope": "read"});
        signer().token(&claims)
    };
    let (alice, bob) = (bearer("alice", "t-1"), bearer("bob", "t-2"));
    let done = Arc::new(AtomicU64::new(0));
    let moments = Arc::new(Mutex::new(Vec::new()));
    {
        let (done, moments) = (done.clone(), moments.clone());
        scene.disk.on_mutation(Some(Box::new(move |_| {
            moments.lock().unwrap().push(done.load(Ordering::SeqCst));
            true
        })));
    }
    let admin = scene.admin("acme");
    let spec = ApiKeySpec::new("report").unwrap().scopes(Scopes::READ);
    let next = || done.fetch_add(1, Ordering::SeqCst);
    let first = admin.api_keys().create(&spec).unwrap();
    next();
    admin.revoke(&Revocation::subject(&UserId::new(issuer(ONE), "alice").unwrap())).unwrap();
    next();
    let second = admin.api_keys().create(&spec).unwrap();
    next();
    admin.api_keys().revoke(first.info.id).unwrap();
    next();
    admin.revoke(&Revocation::token(&issuer(ONE), "t-2", Timestamp::from_seconds(NOW + 3_600)).unwrap()).unwrap();
    next();
    scene.operator().revoke(&id("acme"), &Revocation::everyone()).unwrap();
    next();
    scene.disk.on_mutation(None);

    // Who is welcome after so many steps: both keys, alice, bob.
    let welcome = |steps| [(1..=3).contains(&steps), (3..=5).contains(&steps), steps < 2, steps < 5];
    let images = scene.disk.take_images();
    let moments = moments.lock().unwrap();
    assert!(images.len() == moments.len() && images.len() > 50, "{} images", images.len());
    assert_eq!((moments.first(), moments.last()), (Some(&0), Some(&5)));
    let mut seen = [false; 7];
    for (image, steps) in images.into_iter().zip(moments.iter().copied()) {
        let found = Scene::open(image, scene.clock.clone());
        let enters = |text: &str| found.engine.verify(text).and_then(|it| found.enter(&it, "acme")).is_ok();
        let now = [enters(first.expose()), enters(second.expose()), enters(&alice), enters(&bob)];
        let holds = (steps..=steps + 1).find(|steps| welcome(*steps) == now);
        let holds = holds.unwrap_or_else(|| panic!("{now:?} after {steps} steps"));
        seen[usize::try_from(holds).unwrap()] = true;
    }
    assert_eq!(seen, [true; 7], "every state was met");
}
