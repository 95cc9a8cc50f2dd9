//! Names, labels, groups and reasons are parts of lines: in a log, a trail or a printed receipt they look like what they are.

mod support;
#[path = "support/tokens.rs"]
mod tokens;

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use support::world::{World, root_key};
use tokens::Signer;
use watertight::disk::MemoryDisk;
use watertight::{
    ApiKeySpec, Attestation, Clock, Engine, ErrorKind, Impersonation, Issuer, Jwks, JwtVerifier, Memory,
    NamespaceSettings, Policy, Principal, Result, Role, Scopes, SystemClock, TenantId, TenantSpec, UserId, policies,
};

/// What would forge a line, or hide in one.
const MISLEADING: [&str; 14] = [
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\u{1b}[2K",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{202e}",
    "\u{2067}",
    "\u{200f}",
    "\u{61c}",
    "\u{200b}",
];

fn world() -> World {
    let world = World::open(Path::new("/data"), Arc::new(MemoryDisk::new())).unwrap();
    world.provision("acme").unwrap();
    world
}

fn user(name: &str) -> UserId {
    UserId::new(Issuer::authority(), name).unwrap()
}

#[test]
fn no_name_or_reason_has_what_would_forge_a_line() {
    let world = world();
    let (operator, alice) = (world.operator(), world.handle("acme", "alice").unwrap());
    let acme = || TenantId::new("acme").unwrap();
    let attest = |group: &str| world.authority.attest(Attestation::new("acme", "bob")?.groups(["staff", group]));
    let impersonate = |reason: &str| operator.impersonate(&Impersonation::new(acme(), user("alice"), reason));
    let in_group = |group: &str| Impersonation::new(acme(), user("alice"), "ticket").groups([group]);
    let assigned = |name: &str| {
        let group = Principal::Group { issuer: Issuer::authority(), name: name.to_owned() };
        Policy::new().assign(group, "reader")
    };
    type Named<'a> = (&'a str, &'a dyn Fn(&str) -> Result<()>);
    let named: [Named<'_>; 14] = [
        ("operator", &|name| world.authority.attest_operator(name).map(|_| ())),
        ("reason", &|reason| impersonate(reason).map(|_| ())),
        ("group of an impersonation", &|group| operator.impersonate(&in_group(group)).map(|_| ())),
        ("attested group", &|group| attest(group).map(|_| ())),
        ("group of a policy", &|group| Principal::group(Issuer::authority(), group).map(|_| ())),
        ("group put together", &|group| assigned(group).map(|_| ())),
        ("group that is read", &|group| format!("group:{group} of https://a/").parse::<Principal>().map(|_| ())),
        ("label", &|label| ApiKeySpec::new(label).map(|_| ())),
        ("role", &|role| Role::new(role).map(|_| ())),
        ("action", &|action| Role::new("r")?.action(action).map(|_| ())),
        ("plan", &|plan| operator.provision(TenantSpec::new("zoo")?.plan(plan)).map(|_| ())),
        ("model", &|model| alice.memories("made")?.create(&NamespaceSettings::new().model(model)).map(|_| ())),
        ("model of a vector", &|model| {
            alice.memories("made")?.put(Memory::new("k").vector(vec![1.0]).model(model)).map(|_| ())
        }),
        ("session", &|session| Attestation::new("acme", "bob")?.session(session).map(|_| ())),
    ];
    for (what, give) in named {
        for bad in MISLEADING {
            for text in [format!("a{bad}b"), format!("{bad}ab"), format!("ab{bad}")] {
                let refused = give(&text).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{what} {text:?}");
                assert!(!refused.to_string().contains(bad), "{what}: the message repeats it");
            }
        }
    }
    assert_eq!(operator.audit(1, 100).unwrap().len(), 1, "nothing but the provisioning is on record");
    assert_eq!(alice.audit().entries(1, 100).unwrap().len(), 0);
    // Texts of any language are good.
    for good in ["ops@example.org", "Größe", "نص عربي", "می\u{200c}خواهم", "日本語", "👩\u{200d}🚀 team"]
    {
        for (what, give) in named.iter().filter(|(what, _)| !["role", "action", "session", "plan"].contains(what)) {
            // A namespace is made once, and has one model.
            let outcome = give(good);
            let is_other = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict);
            let is_model = what.starts_with("model");
            assert!(
                outcome.is_ok() || is_model && (is_other || good != "ops@example.org"),
                "{what} {good}: {outcome:?}"
            );
        }
    }
}

#[test]
fn names_of_groups_and_operators_are_bounded_and_not_empty() {
    let world = world();
    let attest = |group: &str| world.authority.attest(Attestation::new("acme", "bob").unwrap().groups([group]));
    let look = |group: &str| {
        let acme = TenantId::new("acme").unwrap();
        world.operator().impersonate(&Impersonation::new(acme, user("alice"), "ticket").groups([group]))
    };
    for bad in ["".to_owned(), "g".repeat(256)] {
        assert_eq!(attest(&bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(look(&bad).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert!(attest(&"g".repeat(255)).is_ok() && look(&"g".repeat(255)).is_ok());
    for bad in ["".to_owned(), "o".repeat(257)] {
        assert_eq!(world.authority.attest_operator(&bad).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert!(world.authority.attest_operator(&"o".repeat(256)).is_ok());
}

/// The group that is left out may be the one that a rule denies.
#[test]
fn a_token_with_such_a_group_is_refused_and_the_group_not_left_out() {
    let signer = Signer::ed25519("key", 7);
    let issuer = Issuer::new("https://login.example.org/").unwrap();
    let verifier = JwtVerifier::new(issuer, "api", Jwks::from_json(&signer.jwks_json()).unwrap()).unwrap();
    let builder = Engine::builder("/data").root_key(root_key()).verifier(verifier).danger();
    let (engine, _) = builder.disk(Arc::new(MemoryDisk::new())).open().unwrap();
    let now = SystemClock.now().as_micros() / 1_000_000;
    let token = |group: &str| {
        signer.token(&json!({
            "iss": "https://login.example.org/", "aud": "api", "sub": "alice", "tenant_id": "acme",
            "iat": now, "exp": now + 600, "groups": ["staff", group],
        }))
    };
    assert_eq!(engine.verify(&token("Größe 5")).unwrap().groups(), ["staff", "Größe 5"]);
    for bad in MISLEADING.iter().map(|bad| format!("a{bad}b")).chain([String::new()]) {
        assert_eq!(engine.verify(&token(&bad)).unwrap_err().kind(), ErrorKind::Unauthenticated, "{bad:?}");
    }
}

/// What an earlier release has stored is read, printed escaped, and need not go before the policy can be changed.
#[test]
fn a_policy_with_such_a_group_from_before_still_serves() {
    let good = Principal::group(Issuer::authority(), "staff.night").unwrap();
    let policy = Policy::new().assign(good, "reader").unwrap();
    let policy = policy.assign(Principal::user(user("alice")), "owner").unwrap();
    let policy = policies::successor(None, &policy, &user("alice"), &[]).unwrap();
    let mut record = policies::to_record(&policy).unwrap();
    let at = record.windows(11).position(|bytes| bytes == b"staff.night").unwrap();
    record[at + 5] = b'\n';
    let stored = policies::from_record(&record).unwrap();
    let group = stored.assignments().map(|(to, _)| to.to_string()).find(|to| to.starts_with("group")).unwrap();
    assert_eq!(group, "group:staff\\u{a}night of watertight:authority");
    assert_eq!(policies::allowed(&stored, &user("bob"), &["staff\nnight".to_owned()], None), Scopes::READ);
    let changed = stored.clone().assign(Principal::user(user("bob")), "member").unwrap();
    assert!(policies::successor(Some(&stored), &changed, &user("alice"), &[]).is_ok());
    // It is not newly given by way of such a record either.
    assert_eq!(
        policies::successor(None, &with_version_0(&stored), &user("alice"), &[]).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

/// The same policy as one that was made from none.
fn with_version_0(policy: &Policy) -> Policy {
    let mut record = policies::to_record(policy).unwrap();
    // Three bytes of the envelope, then the version.
    assert_eq!(record[3], 1);
    record[3] = 0;
    policies::from_record(&record).unwrap()
}
