//! What the feature `testing` gives to the tests of applications.

use std::sync::Arc;
use std::time::Duration;

use watertight::testing::{TestEngine, TestIssuer};
use watertight::{
    Clock, ErrorKind, HashingEmbedder, Issuer, Memory, NamespaceSettings, Recall, Scopes, TenantId, UserId,
};

#[test]
fn attested_users_and_bearers_of_tokens_are_different_users_of_one_tenant() {
    let test = TestEngine::new().unwrap();
    test.provision("acme").unwrap();
    let attested = test.handle("acme", "alice", Scopes::ALL).unwrap();
    let token = test.token("acme", "alice", Scopes::READ | Scopes::WRITE).unwrap();
    let bearer = test.engine().tenant(&test.engine().verify(&token).unwrap()).unwrap();
    assert_ne!(attested.user(), bearer.user());
    assert_eq!(bearer.scopes(), Scopes::READ | Scopes::WRITE);
    attested.private("diary").unwrap().put(Memory::new("k")).unwrap();
    assert!(!bearer.private("diary").unwrap().exists("k").unwrap());
    bearer.memories("notes").unwrap().put(Memory::new("k")).unwrap();
    assert!(attested.memories("notes").unwrap().exists("k").unwrap());
}

#[test]
fn tokens_expire_by_the_clock_of_the_test() {
    let test = TestEngine::new().unwrap();
    test.provision("acme").unwrap();
    let token = test.token("acme", "alice", Scopes::READ).unwrap();
    let handle = test.engine().tenant(&test.engine().verify(&token).unwrap()).unwrap();
    test.clock().advance(Duration::from_secs(2 * 3_600));
    assert_eq!(test.engine().verify(&token).unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert_eq!(handle.usage().unwrap_err().kind(), ErrorKind::Unauthenticated);
}

#[test]
fn nothing_of_one_test_engine_is_good_for_another() {
    let (one, two) = (TestEngine::new().unwrap(), TestEngine::new().unwrap());
    for test in [&one, &two] {
        test.provision("acme").unwrap();
    }
    let identity = one.identity("acme", "alice", Scopes::ALL).unwrap();
    assert_eq!(two.engine().tenant(&identity).unwrap_err().kind(), ErrorKind::Unauthenticated);
    let token = one.token("acme", "alice", Scopes::ALL).unwrap();
    assert_eq!(two.engine().verify(&token).unwrap_err().kind(), ErrorKind::Unauthenticated);
}

#[test]
fn it_takes_what_a_builder_takes() {
    let embedder = Arc::new(HashingEmbedder::new(64).unwrap());
    let test = TestEngine::with(|builder| builder.embedder(embedder).tenant_cache_bytes(1 << 20)).unwrap();
    test.provision("acme").unwrap();
    let notes = test.handle("acme", "alice", Scopes::ALL).unwrap().memories("notes").unwrap();
    notes.create(&NamespaceSettings::new().model("watertight-hashing-1-64")).unwrap();
    notes.put(Memory::new("k").text("the red car")).unwrap();
    assert_eq!(notes.recall(&Recall::about("a red car")).unwrap()[0].memory.key, "k");
}

#[test]
fn an_issuer_signs_for_its_own_users_only() {
    let issuer = TestIssuer::new(Issuer::new("https://one.test/").unwrap(), "api").unwrap();
    let stranger = UserId::new(Issuer::new("https://two.test/").unwrap(), "alice").unwrap();
    let (tenant, now) = (TenantId::new("acme").unwrap(), TestEngine::new().unwrap().clock().now());
    let refused = issuer.token(&tenant, &stranger, Scopes::ALL, now, Duration::from_secs(60)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(!format!("{issuer:?}").contains("key"), "{issuer:?}");
}
