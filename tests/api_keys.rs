//! API keys: shown once, narrow, of one life of one tenant, and ended at once.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::{
    ApiKeyId, ApiKeySpec, AuditAction, AuditOutcome, Clock, Engine, Error, ErrorKind, Issuer, Memory, NewApiKey,
    Reason, Result, Scopes, TenantHandle, TenantId, TestClock, Timestamp, UserId,
};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

struct Scene {
    world: World,
    clock: Arc<TestClock>,
    disk: SimDisk,
}

impl Scene {
    fn new() -> Self {
        let (disk, clock) = (SimDisk::new(1), TestClock::at(Timestamp::from_seconds(1_800_000_000)));
        let scene = Self::open(disk, clock);
        for tenant in ["acme", "zoo"] {
            scene.world.provision(tenant).unwrap();
        }
        scene
    }

    fn open(disk: SimDisk, clock: Arc<TestClock>) -> Self {
        let world = World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap();
        Self { world, clock, disk }
    }

    /// What a power cut leaves, opened.
    fn after_a_crash(&self) -> Self {
        Self::open(self.disk.crash(), self.clock.clone())
    }

    fn admin(&self, tenant: &str) -> TenantHandle {
        self.world.handle(tenant, "root").unwrap()
    }

    fn enter(&self, text: &str) -> Result<TenantHandle> {
        self.world.engine.tenant(&self.world.engine.verify(text)?)
    }

    #[track_caller]
    fn refuses(&self, text: &str) {
        let error = self.enter(text).unwrap_err();
        assert_eq!((error.reason(), error.to_string().as_str()), (&Reason::TokenRefused, "the token was not accepted"));
    }
}

fn spec(scopes: Scopes) -> ApiKeySpec {
    ApiKeySpec::new("report").unwrap().scopes(scopes)
}

fn create(handle: &TenantHandle, scopes: Scopes) -> NewApiKey {
    handle.api_keys().create(&spec(scopes)).unwrap()
}

fn every_set_of_scopes() -> impl Iterator<Item = Scopes> {
    (0..16).map(|bits| {
        let all = [Scopes::READ, Scopes::WRITE, Scopes::DELETE, Scopes::ADMIN];
        all.into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).fold(Scopes::NONE, |all, (_, one)| all | one)
    })
}

#[test]
fn a_key_opens_its_tenant_with_its_scopes() {
    let scene = Scene::new();
    let admin = scene.admin("acme");
    let key = create(&admin, Scopes::READ | Scopes::WRITE);
    let identity = scene.world.engine.verify(key.expose()).unwrap();
    assert_eq!((identity.tenant().as_str(), identity.scopes()), ("acme", Scopes::READ | Scopes::WRITE));
    assert_eq!((identity.groups(), identity.memberships().len()), (&[][..], 1));
    assert_eq!((identity.issued_at(), identity.expires_at()), (key.info.created_at, key.info.expires_at));
    let notes = scene.enter(key.expose()).unwrap().memories("notes").unwrap();
    notes.put(Memory::new("k")).unwrap();
    assert!(notes.exists("k").unwrap());
    assert_eq!(notes.delete("k").unwrap_err().kind(), ErrorKind::NotFound);
    let zoo = TenantId::new("zoo").unwrap();
    assert_eq!(scene.world.engine.tenant_as(&identity, &zoo).unwrap_err().kind(), ErrorKind::NotFound);
}

/// What scanners for leaked secrets are told.
#[test]
fn a_key_has_a_form_that_scanners_recognise() {
    let scene = Scene::new();
    let admin = scene.admin("acme");
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let key = create(&admin, Scopes::NONE);
        let text = key.expose();
        let parts: Vec<_> = text.split('_').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 16, 72]);
        assert!(parts[0] == "wt" && parts[1..].concat().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        assert_eq!(parts[1], key.info.id.to_string());
        let (signed, checksum) = text.split_at(text.len() - 8);
        let hash = digest(&SHA256, format!("watertight API key{signed}").as_bytes());
        assert_eq!(checksum, hash.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        assert!(seen.insert(parts[1].to_owned()) && seen.insert(parts[2].to_owned()));
    }
}

#[test]
fn a_key_is_kept_nowhere() {
    let disk = SimDisk::new(1);
    let builder = Engine::builder("/data").root_key(root_key()).danger().plaintext_files();
    let (engine, authority) = builder.danger().disk(Arc::new(disk.clone())).open().unwrap();
    let world = World { engine, authority };
    world.provision("acme").unwrap();
    let admin = world.handle("acme", "root").unwrap();
    let key = create(&admin, Scopes::READ);
    world.engine.tenant(&world.engine.verify(key.expose()).unwrap()).unwrap();
    world.engine.close().unwrap();
    let secret = &key.expose()[20..84];
    let raw: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&secret[2 * at..2 * at + 2], 16).unwrap()).collect();
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let files: Vec<_> = disk.files().into_iter().map(|path| disk.bytes(path).unwrap()).collect();
    assert!(files.iter().any(|bytes| has(bytes, b"report")), "the files are readable");
    for bytes in files {
        assert!(!has(&bytes, secret.as_bytes()) && !has(&bytes, &raw));
    }
    let printed = format!("{key:?}");
    assert!(printed.contains("report") && !printed.contains(secret));
}

#[test]
fn a_key_is_never_wider_than_its_maker() {
    let scene = Scene::new();
    for makers in every_set_of_scopes() {
        let maker = scene.world.engine.tenant(&scene.world.identity("acme", "alice", makers)).unwrap();
        for keys in every_set_of_scopes() {
            let made = maker.api_keys().create(&spec(keys));
            if makers.contains(Scopes::ADMIN) && makers.contains(keys) {
                assert_eq!(scene.enter(made.unwrap().expose()).unwrap().scopes(), keys);
            } else {
                assert_eq!(made.unwrap_err(), Error::from(Reason::NotFound), "{makers} made {keys}");
            }
        }
    }
    // Each of the other three scopes is nobody's, the maker's alone, or both's; `admin` is the maker's, or both's.
    assert_eq!(scene.admin("acme").api_keys().list().unwrap().len(), 2 * 3 * 3 * 3);
}

/// A stolen key must not outlive its own revocation through keys that it made.
#[test]
fn a_key_makes_no_keys() {
    let scene = Scene::new();
    let key = create(&scene.admin("acme"), Scopes::ALL);
    let thief = scene.enter(key.expose()).unwrap();
    assert_eq!(thief.api_keys().create(&spec(Scopes::NONE)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(thief.api_keys().list().unwrap().len(), 1);
}

#[test]
fn a_key_is_a_user_of_its_own() {
    let scene = Scene::new();
    let admin = scene.admin("acme");
    let (one, two) = (create(&admin, Scopes::ALL), create(&admin, Scopes::ALL));
    let (a, b) = (scene.enter(one.expose()).unwrap(), scene.enter(two.expose()).unwrap());
    assert_ne!(a.user(), b.user());
    // A user of the application whose name is that of the key is another one.
    let same_name = scene.world.handle("acme", a.user().subject()).unwrap();
    assert_eq!(same_name.user().subject(), a.user().subject());
    assert_ne!(same_name.user(), a.user());
    for (number, handle) in [&admin, &a, &b, &same_name].into_iter().enumerate() {
        let diary = handle.private("diary").unwrap();
        assert!(!diary.exists("k").unwrap());
        diary.put(Memory::new("k").text(number.to_string())).unwrap();
    }
    for (number, handle) in [&admin, &a, &b, &same_name].into_iter().enumerate() {
        assert_eq!(handle.private("diary").unwrap().get("k").unwrap().text, Some(number.to_string()));
    }
}

/// Keys belong to the incarnation that made them, whatever issuers the tenant trusts.
#[test]
fn no_issuer_of_tokens_can_speak_for_keys() {
    let scene = Scene::new();
    let key = create(&scene.admin("acme"), Scopes::READ);
    let acme = TenantId::new("acme").unwrap();
    scene.world.operator().set_issuers(&acme, []).unwrap();
    assert!(scene.enter(key.expose()).is_ok());
    scene.world.operator().set_issuers(&acme, [Issuer::new("watertight:api-keys").unwrap()]).unwrap();
    assert!(scene.enter(key.expose()).is_ok());
    assert_eq!(scene.world.handle("acme", "root").unwrap_err().kind(), ErrorKind::NotFound);
    let zoo = TenantId::new("zoo").unwrap();
    scene.world.operator().set_issuers(&zoo, [Issuer::new("watertight:api-keys").unwrap()]).unwrap();
    assert_eq!(scene.enter(key.expose()).unwrap().id(), &acme);
}

#[test]
fn a_revoked_key_is_refused_for_ever_and_its_handles_with_it() {
    let scene = Scene::new();
    let admin = scene.admin("acme");
    let (key, other) = (create(&admin, Scopes::READ), create(&admin, Scopes::READ));
    let (identity, live) = (scene.world.engine.verify(key.expose()).unwrap(), scene.enter(key.expose()).unwrap());
    let notes = live.memories("notes").unwrap();
    let untouched = scene.enter(other.expose()).unwrap();
    admin.api_keys().revoke(key.info.id).unwrap();
    assert_eq!(notes.exists("k").unwrap_err().reason(), &Reason::IdentityRevoked);
    assert_eq!(live.clone().namespaces().unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert_eq!(scene.world.engine.tenant(&identity).unwrap_err().reason(), &Reason::IdentityRevoked);
    scene.refuses(key.expose());
    untouched.namespaces().unwrap();
    admin.usage().unwrap();
    let again = scene.after_a_crash();
    again.refuses(key.expose());
    again.enter(other.expose()).unwrap();
    let listed = again.admin("acme").api_keys().list().unwrap();
    assert_eq!(listed.iter().map(|key| key.id).collect::<Vec<_>>(), [other.info.id]);
}

#[test]
fn a_key_expires_by_the_engines_clock() {
    let scene = Scene::new();
    let admin_keys = scene.admin("acme").api_keys();
    let key = admin_keys.create(&spec(Scopes::READ).lifetime(DAY).unwrap()).unwrap();
    let live = scene.enter(key.expose()).unwrap();
    scene.clock.set(key.info.expires_at.before(Duration::from_micros(1)));
    live.namespaces().unwrap();
    scene.clock.set(key.info.expires_at);
    assert_eq!(live.namespaces().unwrap_err().reason(), &Reason::IdentityExpired);
    scene.refuses(key.expose());
    // A clock that is put back does not revive it.
    scene.clock.set(key.info.created_at);
    scene.refuses(key.expose());
    scene.after_a_crash().refuses(key.expose());
    let by_default = create(&scene.admin("acme"), Scopes::READ).info;
    assert_eq!(by_default.expires_at, by_default.created_at.after(90 * DAY));
    assert!(spec(Scopes::READ).lifetime(366 * DAY).is_ok());
    for bad in [Duration::ZERO, 366 * DAY + Duration::from_secs(1), Duration::MAX] {
        assert_eq!(spec(Scopes::READ).lifetime(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_key_opens_one_life_of_its_tenants_name() {
    let scene = Scene::new();
    let key = create(&scene.admin("acme"), Scopes::ALL);
    let (identity, live) = (scene.world.engine.verify(key.expose()).unwrap(), scene.enter(key.expose()).unwrap());
    let acme = TenantId::new("acme").unwrap();
    scene.world.operator().suspend(&acme).unwrap();
    assert_eq!(scene.enter(key.expose()).unwrap_err().kind(), ErrorKind::Unavailable);
    scene.world.operator().resume(&acme).unwrap();
    live.namespaces().unwrap();
    scene.world.operator().purge(&acme).unwrap();
    scene.refuses(key.expose());
    scene.world.provision("acme").unwrap();
    scene.refuses(key.expose());
    assert_eq!(scene.world.engine.tenant(&identity).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(live.namespaces().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(scene.admin("acme").api_keys().list().unwrap().is_empty());
}

#[test]
fn a_tenant_lists_and_revokes_its_own_keys_only() {
    let scene = Scene::new();
    let (acme, zoo) = (scene.admin("acme"), scene.admin("zoo"));
    let (ours, theirs) = (create(&acme, Scopes::READ), create(&zoo, Scopes::READ));
    assert_eq!(acme.api_keys().list().unwrap(), std::slice::from_ref(&ours.info));
    let absent: ApiKeyId = "0123456789abcdef".parse().unwrap();
    let before = zoo.api_keys().list().unwrap();
    for id in [theirs.info.id, absent] {
        assert_eq!(acme.api_keys().revoke(id).unwrap_err(), Error::from(Reason::NotFound));
    }
    assert_eq!(zoo.api_keys().list().unwrap(), before);
    scene.enter(theirs.expose()).unwrap();
    // The trail of acme has nothing of what it could not do.
    let entries = acme.audit().entries(1, 100).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.action).collect::<Vec<_>>(), [AuditAction::CreateApiKey]);
}

#[test]
fn every_deviation_of_a_key_is_one_error() {
    let scene = Scene::new();
    let admin = scene.admin("acme");
    let (key, other) = (create(&admin, Scopes::READ), create(&scene.admin("zoo"), Scopes::READ));
    let text = key.expose();
    let with_checksum = |signed: &str| {
        let hash = digest(&SHA256, format!("watertight API key{signed}").as_bytes());
        signed.to_owned() + &hash.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let (id, secret) = (&text[3..19], &text[20..84]);
    assert_eq!(with_checksum(&text[..84]), text);
    let other_secret = &other.expose()[20..84];
    let flipped = |part: &str| {
        let last = if part.ends_with('0') { '1' } else { '0' };
        format!("{}{last}", &part[..part.len() - 1])
    };
    scene.enter(text).unwrap();
    for (attack, bad) in [
        ("a guess of the secret", with_checksum(&format!("wt_{id}_{}", "0".repeat(64)))),
        ("one digit of the secret", with_checksum(&format!("wt_{id}_{}", flipped(secret)))),
        ("one digit of the id", with_checksum(&format!("wt_{}_{secret}", flipped(id)))),
        ("another key's secret", with_checksum(&format!("wt_{id}_{other_secret}"))),
        ("another key's id", with_checksum(&format!("wt_{}_{secret}", other.info.id))),
        ("an id that nobody has", with_checksum(&format!("wt_{}_{secret}", "f".repeat(16)))),
        ("a wrong checksum", flipped(text)),
        ("no checksum", text[..84].to_owned()),
        ("cut short", text[..text.len() - 1].to_owned()),
        ("one digit more", format!("{text}0")),
        ("upper case", text.to_uppercase()),
        ("upper case of the digits", format!("wt_{}", text[3..].to_uppercase())),
        ("a space before", format!(" {text}")),
        ("a line break behind", format!("{text}\n")),
        ("with its scheme", format!("Bearer {text}")),
        ("another beginning", format!("sk_{}", &text[3..])),
        ("two underscores", text.replacen('_', "__", 1)),
        ("the id alone", format!("wt_{id}")),
        ("the id and nothing", format!("wt_{id}_")),
        ("nothing", "wt_".to_owned()),
        ("twice", format!("{text}{text}")),
        ("with a NUL", format!("{}\0", &text[..text.len() - 1])),
        ("not ASCII", format!("{}é", &text[..text.len() - 2])),
        ("huge", format!("wt_{}", "a".repeat(1 << 20))),
        ("as a token", format!("{text}.{text}.{text}")),
    ] {
        let error = scene.enter(&bad).expect_err(attack);
        assert_eq!(error, scene.enter("not.a.token").unwrap_err(), "{attack}");
    }
    scene.enter(text).unwrap();
}

#[test]
fn the_last_use_is_kept_once_an_hour_and_at_close() {
    let scene = Scene::new();
    let admin = scene.admin("acme");
    let (used, unused) = (create(&admin, Scopes::READ), create(&admin, Scopes::READ));
    let last = |scene: &Scene| {
        let listed = scene.admin("acme").api_keys().list().unwrap();
        assert_eq!(listed.iter().map(|key| key.id).collect::<Vec<_>>(), [used.info.id, unused.info.id]);
        assert_eq!(listed[1].last_used_at, None);
        listed[0].last_used_at
    };
    assert_eq!(last(&scene), None);
    let start = scene.clock.as_ref().now();
    let syncs = scene.disk.syncs();
    for _ in 0..1_000 {
        scene.enter(used.expose()).unwrap();
    }
    assert_eq!(scene.disk.syncs(), syncs, "a use is no commit");
    assert!(last(&scene) >= Some(start));
    assert_eq!(last(&scene.after_a_crash()), None, "and a crash may lose it");

    scene.clock.advance(HOUR);
    scene.world.engine.verify(used.expose()).unwrap();
    let kept = last(&scene);
    assert!(kept >= Some(start.after(HOUR)));
    assert_eq!(last(&scene.after_a_crash()), kept);

    scene.clock.advance(Duration::from_secs(60));
    scene.enter(used.expose()).unwrap();
    let newest = last(&scene);
    assert!(newest > kept);
    scene.world.engine.close().unwrap();
    assert_eq!(last(&scene.after_a_crash()), newest);
    // A key that does not verify is not used.
    let mut forged = used.expose()[..84].to_owned();
    forged.replace_range(83..84, if forged.ends_with('0') { "1" } else { "0" });
    let again = scene.after_a_crash();
    again.refuses(&forged);
    assert_eq!(last(&again), newest);
}

#[test]
fn a_tenant_has_a_thousand_keys_and_expired_ones_make_room() {
    let scene = Scene::new();
    let admin = scene.admin("acme");
    let short = spec(Scopes::READ).lifetime(DAY).unwrap();
    let long = admin.api_keys().create(&spec(Scopes::READ)).unwrap();
    for _ in 1..1_000 {
        admin.api_keys().create(&short).unwrap();
    }
    let full = admin.api_keys().create(&short).unwrap_err();
    assert_eq!((full.kind(), full.reason()), (ErrorKind::Limit, &Reason::Full { what: "API keys", limit: 1_000 }));
    create(&scene.admin("zoo"), Scopes::READ);
    scene.clock.advance(2 * DAY);
    let admin = scene.admin("acme");
    assert_eq!(admin.api_keys().list().unwrap().len(), 1_000);
    let new = admin.api_keys().create(&short).unwrap();
    let listed: Vec<_> = admin.api_keys().list().unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(listed, [long.info.id, new.info.id]);
}

#[test]
fn making_and_ending_a_key_is_in_the_tenants_trail() {
    let scene = Scene::new();
    let admin = scene.admin("acme");
    let key = create(&admin, Scopes::READ);
    admin.api_keys().revoke(key.info.id).unwrap();
    let entries = admin.audit().entries(1, 10).unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.action, entry.outcome, entry.key.clone().unwrap())).collect();
    let (id, announced) = (key.info.id.to_string(), AuditOutcome::Announced);
    assert_eq!(told, [(AuditAction::CreateApiKey, announced, id.clone()), (AuditAction::RevokeApiKey, announced, id)]);
    let root = UserId::new(Issuer::authority(), "root").unwrap();
    assert!(entries.iter().all(|entry| entry.user.as_ref() == Some(&root)));
    admin.audit().verify().unwrap();
}

#[test]
fn labels_are_short_and_printable() {
    for bad in ["", "a\nb", "\0", &"a".repeat(129)] {
        assert_eq!(ApiKeySpec::new(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
    }
    assert!(ApiKeySpec::new(&"ü".repeat(64)).is_ok());
    for bad in
        ["", "0", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdeg", " 123456789abcdef"]
    {
        assert!(bad.parse::<ApiKeyId>().is_err(), "{bad:?}");
    }
}
