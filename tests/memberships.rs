//! Users of several tenants: the identity lists them, the caller selects among them, and nothing else is reached.

#[path = "support/tokens.rs"]
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokens::Signer;
use watertight::disk::MemoryDisk;
use watertight::{
    Attestation, Authority, Engine, ErrorKind, Issuer, Jwks, JwtVerifier, Memory, Reason, RootKey, Scopes, TenantId,
    TenantSpec, TestClock, Timestamp, VerifiedIdentity,
};

const ISSUER: &str = "https://login.example.org/";
const NOW: u64 = 1_800_000_000;

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

/// An engine with four tenants, of which the last trusts nobody's tokens.
fn engine() -> (Engine, Authority, Signer) {
    let signer = Signer::ed25519("k", 1);
    let keys = Jwks::from_json(&signer.jwks_json()).unwrap();
    let verifier = JwtVerifier::new(Issuer::new(ISSUER).unwrap(), "api", keys).unwrap().tenants_claim("tenants");
    let clock = TestClock::at(Timestamp::from_seconds(NOW - 100));
    let builder =
        Engine::builder("/memory").root_key(RootKey::generate().unwrap()).verifier(verifier).clock(clock.clone());
    let (engine, authority) = builder.danger().disk(Arc::new(MemoryDisk::new())).open().unwrap();
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    for tenant in ["acme", "globex", "initech"] {
        let spec = TenantSpec::new(tenant).unwrap().trusts(Issuer::authority()).trusts(Issuer::new(ISSUER).unwrap());
        operator.provision(spec).unwrap();
    }
    operator.provision(TenantSpec::new("own").unwrap().trusts(Issuer::authority())).unwrap();
    clock.set(Timestamp::from_seconds(NOW));
    (engine, authority, signer)
}

fn identity(engine: &Engine, signer: &Signer, more: &Value) -> VerifiedIdentity {
    let mut claims = json!({"iss": ISSUER, "aud": "api", "sub": "alice", "iat": NOW - 10, "exp": NOW + 600,
                            "scope": "read write", "groups": ["staff"]});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    engine.verify(&signer.token(&claims)).unwrap()
}

#[test]
fn a_user_selects_among_the_tenants_that_the_token_lists() {
    let (engine, _, signer) = engine();
    let alice = identity(&engine, &signer, &json!({"tenants": ["acme", "globex"]}));
    // The token is for none of them in particular, and nobody guesses.
    let ambiguous = engine.tenant(&alice).unwrap_err();
    assert_eq!(ambiguous.kind(), ErrorKind::InvalidInput);
    let (acme, globex) =
        (engine.tenant_as(&alice, &id("acme")).unwrap(), engine.tenant_as(&alice, &id("globex")).unwrap());
    acme.private("diary").unwrap().put(Memory::new("k").text("of acme")).unwrap();
    globex.private("diary").unwrap().put(Memory::new("k").text("of globex")).unwrap();
    for (handle, text) in [(&acme, "of acme"), (&globex, "of globex")] {
        assert_eq!(handle.private("diary").unwrap().get("k").unwrap().text.as_deref(), Some(text));
        assert_eq!(handle.scopes(), Scopes::READ | Scopes::WRITE);
    }
    // In service and trusting the issuer, but not listed; listed nowhere; not there at all.
    for other in ["initech", "own", "absent"] {
        let refused = engine.tenant_as(&alice, &id(other)).unwrap_err();
        assert_eq!((refused.reason(), refused.to_string()), (&Reason::NotFound, "not found".to_owned()), "{other}");
    }
}

#[test]
fn a_listed_tenant_must_trust_the_issuer_all_the_same() {
    let (engine, _, signer) = engine();
    let alice = identity(&engine, &signer, &json!({"tenants": ["acme", "own", "absent"]}));
    assert!(engine.tenant_as(&alice, &id("acme")).is_ok());
    for listed in ["own", "absent"] {
        assert_eq!(engine.tenant_as(&alice, &id(listed)).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn what_is_said_of_one_tenant_does_not_hold_at_another() {
    let (engine, authority, signer) = engine();
    let each = json!({"tenants": {"acme": ["read"], "globex": ["read", "write", "admin"]}});
    let alice = identity(&engine, &signer, &each);
    let (acme, globex) =
        (engine.tenant_as(&alice, &id("acme")).unwrap(), engine.tenant_as(&alice, &id("globex")).unwrap());
    assert_eq!(acme.scopes(), Scopes::READ);
    assert_eq!(acme.memories("notes").unwrap().put(Memory::new("k")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(acme.usage().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(globex.usage().is_ok());

    // The one that a token names is the one it opens by itself.
    let named = identity(&engine, &signer, &json!({"tenant_id": "globex", "tenants": ["acme", "globex"]}));
    assert_eq!(engine.tenant(&named).unwrap().id(), &id("globex"));
    assert_eq!(engine.tenant_as(&named, &id("acme")).unwrap().id(), &id("acme"));

    let attested = Attestation::new("acme", "bob").unwrap().scopes(Scopes::READ).groups(["staff"]);
    let bob = authority.attest(attested.member_of("globex", Scopes::ALL).unwrap()).unwrap();
    assert_eq!(engine.tenant(&bob).unwrap().scopes(), Scopes::READ);
    assert_eq!(engine.tenant_as(&bob, &id("acme")).unwrap().scopes(), Scopes::READ);
    assert_eq!(engine.tenant_as(&bob, &id("globex")).unwrap().scopes(), Scopes::ALL);
}

#[test]
fn an_identity_for_one_tenant_selects_no_other() {
    let (engine, authority, signer) = engine();
    let token = identity(&engine, &signer, &json!({"tenant_id": "acme"}));
    let attested = authority.attest(Attestation::new("acme", "bob").unwrap().scopes(Scopes::ALL)).unwrap();
    for one in [token, attested] {
        assert_eq!(engine.tenant_as(&one, &id("acme")).unwrap().id(), &id("acme"));
        assert_eq!(engine.tenant_as(&one, &id("globex")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn selecting_asks_for_expiry_and_engine_before_anything_is_told() {
    let (one, authority, _) = engine();
    let (other, _, _) = engine();
    let alice = Attestation::new("acme", "alice").unwrap().lifetime(Duration::from_micros(1));
    let alice = authority.attest(alice).unwrap();
    for tenant in ["acme", "globex", "absent"] {
        let refused = other.tenant_as(&alice, &id(tenant)).unwrap_err();
        assert_eq!(refused.reason(), &Reason::TokenRefused);
    }
    // Attesting somebody else moves the engine's time on by a microsecond.
    authority.attest(Attestation::new("acme", "bob").unwrap()).unwrap();
    for tenant in ["acme", "globex", "absent"] {
        assert_eq!(one.tenant_as(&alice, &id(tenant)).unwrap_err().reason(), &Reason::IdentityExpired);
    }
}

#[test]
fn attested_tenants_are_bounded_and_each_is_given_once() {
    let first = || Attestation::new("t0", "alice").unwrap();
    assert!(first().member_of("t0", Scopes::ALL).is_err());
    assert!(first().member_of("a", Scopes::ALL).unwrap().member_of("a", Scopes::READ).is_err());
    assert!(first().member_of("../a", Scopes::ALL).is_err());
    let all = (1..64).try_fold(first(), |all, number| all.member_of(&format!("t{number}"), Scopes::READ)).unwrap();
    assert_eq!(all.clone().member_of("t64", Scopes::READ).unwrap_err().kind(), ErrorKind::InvalidInput);
    let (_, authority) = Engine::in_memory().unwrap();
    assert_eq!(authority.attest(all).unwrap().memberships().len(), 64);
}
