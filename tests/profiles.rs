//! The tokens of Auth0, Microsoft Entra ID, Amazon Cognito and of issuers with paths of their own: one honest token of
//! each, and its twins that differ in one thing each.

#[path = "support/tokens.rs"]
mod tokens;

use std::sync::Arc;

use serde_json::{Value, json};
use tokens::Signer;
use watertight::disk::MemoryDisk;
use watertight::{
    Authority, Engine, ErrorKind, Issuer, Jwks, JwtVerifier, Reason, RootKey, Scopes, TenantSpec, TestClock, Timestamp,
    TokenClaims,
};

const NOW: u64 = 1_800_000_000;
const CLIENT: &str = "1example23456789";
const API: &str = "https://api.example.org";
const DIRECTORY: &str = "6e74172b-be56-4843-9ff4-e66a39bb12e3";
const OTHER_DIRECTORY: &str = "11111111-2222-4333-8444-555555555555";
const OBJECT: &str = "690222be-ff1a-4d56-abd1-7e4f7d38e474";

fn signer() -> Signer {
    Signer::rs256("k")
}

fn keys() -> Jwks {
    Jwks::from_json(&signer().jwks_json()).unwrap()
}

fn issuer(name: &str) -> Issuer {
    Issuer::new(name).unwrap()
}

fn check(verifier: &JwtVerifier, claims: &Value) -> Option<TokenClaims> {
    match verifier.check(&signer().token(claims), Timestamp::from_seconds(NOW)) {
        Ok(found) => Some(found),
        Err(error) => {
            assert_eq!((error.reason(), error.kind()), (&Reason::TokenRefused, ErrorKind::Unauthenticated));
            None
        }
    }
}

/// Claims with one member replaced, or removed when the value is `None`.
fn but(honest: &Value, name: &str, value: impl Into<Option<Value>>) -> Value {
    let mut claims = honest.clone();
    let members = claims.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.into(), value),
        None => members.remove(name),
    };
    claims
}

#[track_caller]
fn refuses_each(verifier: &JwtVerifier, honest: &Value, cases: Vec<(&str, &str, Option<Value>)>) {
    assert!(check(verifier, honest).is_some(), "the honest token");
    for (attack, name, value) in cases {
        assert!(check(verifier, &but(honest, name, value)).is_none(), "{attack}");
    }
}

fn auth0() -> (JwtVerifier, Value) {
    let verifier = JwtVerifier::auth0(issuer("https://example.eu.auth0.com/"), API, keys()).unwrap();
    let claims = json!({
        "iss": "https://example.eu.auth0.com/", "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": [API, "https://example.eu.auth0.com/userinfo"], "iat": NOW - 10, "exp": NOW + 7_190,
        "azp": "my_client_id", "scope": "openid profile admin", "org_id": "org_9ybsU1dN2dKfDkBi", "org_name": "acme",
        "permissions": ["read", "write"],
    });
    (verifier, claims)
}

#[test]
fn auth0s_organisation_is_the_tenant_and_its_permissions_the_scopes() {
    let (verifier, claims) = auth0();
    let found = check(&verifier, &claims).unwrap();
    assert_eq!(found.tenant().as_str(), "org_9ybsU1dN2dKfDkBi");
    assert_eq!(found.tenant_name(), Some("acme"));
    assert_eq!(found.user().subject(), "auth0|5f7c8ec7c33c6c004bbafe82");
    // What the client asked for in `scope` grants nothing.
    assert_eq!(found.scopes(), Scopes::READ | Scopes::WRITE);
    assert_eq!(check(&verifier, &but(&claims, "permissions", None)).unwrap().scopes(), Scopes::NONE);
    assert_eq!(check(&verifier, &but(&claims, "org_name", None)).unwrap().tenant_name(), None);
    refuses_each(
        &verifier,
        &claims,
        vec![
            ("a personal login, outside every organisation", "org_id", None),
            ("the organisation's name for its id", "org_id", Some(json!(null))),
            ("organisations in an array", "org_id", Some(json!(["org_9ybsU1dN2dKfDkBi"]))),
            ("a name that forges a log line", "org_name", Some(json!("acme\ntenant=other"))),
            ("a name that is a number", "org_name", Some(json!(1))),
            ("a name without end", "org_name", Some(json!("a".repeat(256)))),
            ("permissions that are a number", "permissions", Some(json!(15))),
            ("permissions that are an object", "permissions", Some(json!({"read": true}))),
            ("another domain", "iss", Some(json!("https://evil.eu.auth0.com/"))),
            ("the domain without its slash", "iss", Some(json!("https://example.eu.auth0.com"))),
            ("the user-info endpoint's token", "aud", Some(json!("https://example.eu.auth0.com/userinfo"))),
            ("an id token, for the client", "aud", Some(json!("my_client_id"))),
        ],
    );
    for bad in ["https://example.eu.auth0.com", "http://example.eu.auth0.com/", "example.eu.auth0.com/"] {
        assert!(JwtVerifier::auth0(issuer(bad), API, keys()).is_err(), "{bad}");
    }
}

#[test]
fn granted_words_replace_the_built_in_ones() {
    let (verifier, claims) = auth0();
    let verifier = verifier.grant("read:notes", Scopes::READ).grant("edit:notes", Scopes::READ | Scopes::WRITE);
    let scopes = |words: Value| check(&verifier, &but(&claims, "permissions", words)).unwrap().scopes();
    assert_eq!(scopes(json!(["read:notes"])), Scopes::READ);
    assert_eq!(scopes(json!(["edit:notes", "other"])), Scopes::READ | Scopes::WRITE);
    for nothing in
        [json!(["read", "admin"]), json!(["READ:notes"]), json!(["read:notes "]), json!(["read:note"]), json!([])]
    {
        assert_eq!(scopes(nothing), Scopes::NONE);
    }
}

fn entra_issuer(directory: &str) -> String {
    format!("https://login.microsoftonline.com/{directory}/v2.0")
}

fn entra(directory: &str) -> (JwtVerifier, Value) {
    let verifier = JwtVerifier::entra(issuer(&entra_issuer(directory)), CLIENT, keys()).unwrap();
    let claims = json!({
        "iss": entra_issuer(DIRECTORY), "tid": DIRECTORY, "oid": OBJECT, "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "aud": CLIENT, "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 3_600, "ver": "2.0", "uti": "fqiBqXLPj0eQa82S",
        "roles": ["read", "write"], "groups": ["0f1b5f0e-0d0f-4b0e-8f0d-0d0f4b0e8f0d"], "scp": "access_as_user",
    });
    (verifier, claims)
}

#[test]
fn entras_directory_is_the_tenant_and_its_object_the_user() {
    for directory in [DIRECTORY, "{tenantid}"] {
        let (verifier, claims) = entra(directory);
        let found = check(&verifier, &claims).unwrap();
        assert_eq!(found.tenant().as_str(), DIRECTORY);
        assert_eq!((found.issuer().as_str(), found.user().subject()), (entra_issuer(DIRECTORY).as_str(), OBJECT));
        assert_eq!((found.scopes(), found.groups().len()), (Scopes::READ | Scopes::WRITE, 1));
        assert_eq!(check(&verifier, &but(&claims, "roles", None)).unwrap().scopes(), Scopes::NONE);
        refuses_each(
            &verifier,
            &claims,
            vec![
                ("the directory of another issuer", "tid", Some(json!(OTHER_DIRECTORY))),
                ("the issuer of another directory", "iss", Some(json!(entra_issuer(OTHER_DIRECTORY)))),
                ("no directory", "tid", None),
                ("a directory in an array", "tid", Some(json!([DIRECTORY]))),
                ("a directory in upper case", "tid", Some(json!(DIRECTORY.to_uppercase()))),
                ("a directory in braces", "tid", Some(json!("{tenantid}"))),
                ("the common endpoint as issuer", "iss", Some(json!(entra_issuer("common")))),
                ("the template as issuer", "iss", Some(json!(entra_issuer("{tenantid}")))),
                ("the first version's issuer", "iss", Some(json!(format!("https://sts.windows.net/{DIRECTORY}/")))),
                ("an issuer with more behind it", "iss", Some(json!(format!("{}/", entra_issuer(DIRECTORY))))),
                (
                    "an issuer that ends like ours",
                    "iss",
                    Some(json!(format!("https://evil.example/{}", entra_issuer(DIRECTORY)))),
                ),
                ("no object", "oid", None),
                ("an object that is a name", "oid", Some(json!("alice@example.org"))),
                ("an object that is empty", "oid", Some(json!(""))),
                ("an object in upper case, which would be another user", "oid", Some(json!(OBJECT.to_uppercase()))),
                ("no subject", "sub", None),
                ("an empty subject", "sub", Some(json!(""))),
                ("an id token, for the client", "aud", Some(json!("2example"))),
                ("groups that are elsewhere", "_claim_names", Some(json!({"groups": "src1"}))),
                ("groups of which there are too many", "hasgroups", Some(json!(true))),
                ("claim names that are no object", "_claim_names", Some(json!("groups"))),
                ("roles that are a number", "roles", Some(json!(1))),
            ],
        );
    }
}

#[test]
fn a_directorys_verifier_takes_no_other_directorys_token() {
    let other = |claims: &Value| {
        let claims = but(claims, "iss", json!(entra_issuer(OTHER_DIRECTORY)));
        but(&claims, "tid", json!(OTHER_DIRECTORY))
    };
    let (one, claims) = entra(DIRECTORY);
    assert!(check(&one, &other(&claims)).is_none());
    // An application of many takes both, as users of two issuers.
    let (many, claims) = entra("{tenantid}");
    let (here, there) = (check(&many, &claims).unwrap(), check(&many, &other(&claims)).unwrap());
    assert_eq!(here.user().subject(), there.user().subject());
    assert_ne!(here.user(), there.user());
    assert_ne!(here.tenant(), there.tenant());
}

/// Microsoft's set for all directories has keys of single directories and of consumers' accounts in it.
#[test]
fn a_key_of_one_directory_does_not_sign_for_others() {
    let (_, claims) = entra("{tenantid}");
    for (named, passes) in [
        (json!(entra_issuer("{tenantid}")), true),
        (json!(entra_issuer(DIRECTORY)), true),
        (json!(entra_issuer(OTHER_DIRECTORY)), false),
        (json!(""), false),
    ] {
        let mut key = signer().jwk();
        key["issuer"] = named.clone();
        let keys = Jwks::from_json(&json!({ "keys": [key] }).to_string()).unwrap();
        let verifier = JwtVerifier::entra(issuer(&entra_issuer("{tenantid}")), CLIENT, keys).unwrap();
        assert_eq!(check(&verifier, &claims).is_some(), passes, "{named}");
    }
    let mut key = signer().jwk();
    key["issuer"] = json!(1);
    assert!(Jwks::from_json(&json!({ "keys": [key] }).to_string()).is_err());
}

#[test]
fn entras_issuers_have_one_form() {
    for good in [
        entra_issuer(DIRECTORY),
        entra_issuer("{tenantid}"),
        format!("https://sts.windows.net/{DIRECTORY}/"),
        format!("https://example.ciamlogin.com/{DIRECTORY}/v2.0"),
    ] {
        assert!(JwtVerifier::entra(issuer(&good), CLIENT, keys()).is_ok(), "{good}");
    }
    for bad in [
        entra_issuer("common"),
        entra_issuer("organizations"),
        entra_issuer(""),
        entra_issuer("{tenantId}"),
        entra_issuer(&DIRECTORY.to_uppercase()),
        entra_issuer(&DIRECTORY[1..]),
        entra_issuer(&DIRECTORY.replace('-', "a")),
        format!("http://login.microsoftonline.com/{DIRECTORY}/v2.0"),
        format!("https://login.microsoftonline.com/{DIRECTORY}"),
        format!("https://login.microsoftonline.com/{DIRECTORY}/v1.0"),
        format!("https:///{DIRECTORY}/v2.0"),
        format!("https://a@b/{DIRECTORY}/v2.0"),
    ] {
        assert!(JwtVerifier::entra(issuer(&bad), CLIENT, keys()).is_err(), "{bad}");
    }
}

const POOL: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123";

fn cognito() -> (JwtVerifier, Value) {
    let verifier = JwtVerifier::cognito(issuer(POOL), CLIENT, keys()).unwrap();
    let claims = json!({
        "iss": POOL, "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "client_id": CLIENT, "token_use": "access",
        "scope": "aws.cognito.signin.user.admin notes/read notes/write", "auth_time": NOW - 20, "iat": NOW - 10,
        "exp": NOW + 3_590, "jti": "cccccccc-1111", "username": "alice", "cognito:groups": ["staff"],
        "custom:tenant_id": "acme", "custom:tenant_name": "Acme & Co",
    });
    (verifier.grant("notes/read", Scopes::READ).grant("notes/write", Scopes::WRITE), claims)
}

#[test]
fn cognitos_access_tokens_name_their_client_in_place_of_an_audience() {
    let (verifier, claims) = cognito();
    let found = check(&verifier, &claims).unwrap();
    assert_eq!((found.tenant().as_str(), found.tenant_name()), ("acme", Some("Acme & Co")));
    assert_eq!((found.scopes(), found.groups()), (Scopes::READ | Scopes::WRITE, &["staff".to_owned()][..]));
    assert_eq!(found.token_id(), Some("cccccccc-1111"));
    // Bound to this client as a resource as well.
    assert!(check(&verifier, &but(&claims, "aud", json!(CLIENT))).is_some());
    refuses_each(
        &verifier,
        &claims,
        vec![
            ("an id token", "token_use", Some(json!("id"))),
            ("a refresh token", "token_use", Some(json!("refresh"))),
            ("a token of no use", "token_use", None),
            ("a token of two uses", "token_use", Some(json!(["access"]))),
            ("another client of the pool", "client_id", Some(json!("2example"))),
            ("no client", "client_id", None),
            ("clients in an array", "client_id", Some(json!([CLIENT]))),
            ("a token that is bound to another resource", "aud", Some(json!("https://other.example.org"))),
            ("an audience that is a number", "aud", Some(json!(1))),
            (
                "another pool of the region",
                "iss",
                Some(json!("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Evil00000")),
            ),
            ("a user whose tenant nobody set", "custom:tenant_id", None),
            ("a tenant attribute without its prefix", "custom:tenant_id", Some(json!(null))),
            ("a tenant attribute that is a path", "custom:tenant_id", Some(json!("../acme"))),
        ],
    );
}

#[test]
fn cognitos_id_tokens_have_their_own_verifier() {
    let verifier = JwtVerifier::cognito_id_tokens(issuer(POOL), CLIENT, keys()).unwrap();
    let claims = json!({
        "iss": POOL, "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "aud": CLIENT, "token_use": "id", "iat": NOW - 10,
        "exp": NOW + 3_590, "cognito:username": "alice", "custom:tenant_id": "acme", "email_verified": true,
    });
    let found = check(&verifier, &claims).unwrap();
    assert_eq!((found.tenant().as_str(), found.scopes()), ("acme", Scopes::NONE));
    refuses_each(
        &verifier,
        &claims,
        vec![
            ("an access token", "token_use", Some(json!("access"))),
            ("a token of no use", "token_use", None),
            ("another client", "aud", Some(json!("2example"))),
            ("a client in place of the audience", "aud", None),
        ],
    );
    let (access, _) = cognito();
    assert!(check(&access, &claims).is_none());
}

#[test]
fn user_pools_have_one_form() {
    for good in [POOL, "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_a"] {
        assert!(JwtVerifier::cognito(issuer(good), CLIENT, keys()).is_ok(), "{good}");
    }
    for bad in [
        "https://cognito-idp.eu-west-1.amazonaws.com/us-east-1_AbCdEf123",
        "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_",
        "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1",
        "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a/b",
        "https://cognito-idp.eu-west-1.amazonaws.com.evil.example/eu-west-1_a",
        "https://cognito-idp..amazonaws.com/_a",
        "http://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a",
        "https://example.auth.eu-west-1.amazoncognito.com/eu-west-1_a",
    ] {
        assert!(JwtVerifier::cognito(issuer(bad), CLIENT, keys()).is_err(), "{bad}");
    }
}

#[test]
fn any_path_leads_to_its_own_claim_only() {
    let plain = JwtVerifier::new(issuer("https://login.example.org/"), API, keys()).unwrap();
    let verifier = plain
        .tenant_claim(["app", "org", "id"])
        .tenant_name_claim(["app", "org", "name"])
        .scope_claim(["app", "permissions"])
        .groups_claim(["app", "teams"]);
    let claims = json!({
        "iss": "https://login.example.org/", "sub": "alice", "aud": API, "iat": NOW - 10, "exp": NOW + 600,
        "app": {"org": {"id": "acme", "name": "Acme"}, "permissions": "read delete", "teams": ["a"]},
    });
    let found = check(&verifier, &claims).unwrap();
    assert_eq!((found.tenant().as_str(), found.tenant_name()), ("acme", Some("Acme")));
    assert_eq!((found.scopes(), found.groups()), (Scopes::READ | Scopes::DELETE, &["a".to_owned()][..]));
    refuses_each(
        &verifier,
        &claims,
        vec![
            ("a dotted name for a path", "app", None),
            ("a way that ends in a string", "app", Some(json!({"org": "acme"}))),
            ("a way through an array", "app", Some(json!([{"org": {"id": "acme"}}]))),
            ("an array on the way", "app", Some(json!({"org": [{"id": "acme"}]}))),
            ("null on the way", "app", Some(json!({"org": null}))),
            ("a claim that is an object", "app", Some(json!({"org": {"id": {"id": "acme"}}}))),
            ("the claim at another level", "app", Some(json!({"id": "acme"}))),
        ],
    );
    let mut dotted = but(&claims, "app", None);
    for name in ["app.org.id", "/app/org/id", "app/org/id", "app[org][id]", "id"] {
        dotted[name] = json!("acme");
    }
    assert!(check(&verifier, &dotted).is_none());
}

fn listing() -> (JwtVerifier, Value) {
    let plain = JwtVerifier::new(issuer("https://login.example.org/"), API, keys()).unwrap();
    let claims = json!({
        "iss": "https://login.example.org/", "sub": "alice", "aud": API, "iat": NOW - 10, "exp": NOW + 600,
        "scope": "read write", "groups": ["staff"], "tenants": ["acme", "globex"],
    });
    (plain.tenants_claim("tenants"), claims)
}

fn told(claims: &TokenClaims) -> Vec<(&str, Scopes)> {
    claims.memberships().iter().map(|member| (member.tenant().as_str(), member.scopes())).collect()
}

#[test]
fn a_token_may_list_several_tenants() {
    let (verifier, claims) = listing();
    let both = Scopes::READ | Scopes::WRITE;
    assert_eq!(told(&check(&verifier, &claims).unwrap()), [("acme", both), ("globex", both)]);
    let each = json!({"acme": ["read"], "globex": "delete admin"});
    let found = check(&verifier, &but(&claims, "tenants", each)).unwrap();
    assert_eq!(told(&found), [("acme", Scopes::READ), ("globex", Scopes::DELETE | Scopes::ADMIN)]);
    // One that it names, of those that it lists; or one alone, as ever.
    let named = check(&verifier, &but(&claims, "tenant_id", json!("globex"))).unwrap();
    assert_eq!((named.tenant().as_str(), told(&named).len()), ("globex", 2));
    let alone = check(&verifier, &but(&but(&claims, "tenants", None), "tenant_id", json!("acme"))).unwrap();
    assert_eq!(told(&alone), [("acme", both)]);
    let many = |n: usize| json!((0..n).map(|n| format!("t{n}")).collect::<Vec<_>>());
    assert_eq!(told(&check(&verifier, &but(&claims, "tenants", many(64))).unwrap()).len(), 64);
    refuses_each(
        &verifier,
        &claims,
        vec![
            ("a tenant that it names and does not list", "tenant_id", Some(json!("initech"))),
            ("no tenant at all", "tenants", None),
            ("an empty list", "tenants", Some(json!([]))),
            ("an empty object", "tenants", Some(json!({}))),
            ("a tenant twice", "tenants", Some(json!(["acme", "acme"]))),
            ("a list with a number", "tenants", Some(json!(["acme", 1]))),
            ("a list with a path", "tenants", Some(json!(["acme", "../globex"]))),
            ("a list with a wildcard", "tenants", Some(json!(["*"]))),
            ("a list in a string", "tenants", Some(json!("acme globex"))),
            ("a list without end", "tenants", Some(many(65))),
            ("null", "tenants", Some(json!(null))),
            ("scopes of a tenant that are a number", "tenants", Some(json!({"acme": 15}))),
            ("scopes of a tenant that are true", "tenants", Some(json!({"acme": true}))),
        ],
    );
}

/// An engine in memory with these verifiers.
fn open(verifiers: Vec<JwtVerifier>, operators: Option<JwtVerifier>) -> watertight::Result<(Engine, Authority)> {
    let mut builder = Engine::builder("/memory").root_key(RootKey::generate()?).clock(TestClock::at(at(NOW - 100)));
    for verifier in verifiers {
        builder = builder.verifier(verifier);
    }
    if let Some(verifier) = operators {
        builder = builder.operator_verifier(verifier);
    }
    builder.danger().disk(Arc::new(MemoryDisk::new())).open()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// Each directory is an issuer of its own, so that one speaks for its own tenants only.
#[test]
fn a_directory_opens_the_tenants_that_trust_it() {
    let clock = TestClock::at(at(NOW - 100));
    let (verifier, claims) = entra("{tenantid}");
    let builder = Engine::builder("/memory").root_key(RootKey::generate().unwrap()).clock(clock.clone());
    let (engine, authority) = builder.verifier(verifier).danger().disk(Arc::new(MemoryDisk::new())).open().unwrap();
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    for (directory, trusted) in [(DIRECTORY, DIRECTORY), (OTHER_DIRECTORY, DIRECTORY)] {
        operator.provision(TenantSpec::new(directory).unwrap().trusts(issuer(&entra_issuer(trusted)))).unwrap();
    }
    clock.set(at(NOW));
    let enter = |claims: &Value| engine.tenant(&engine.verify(&signer().token(claims)).unwrap());
    let alice = enter(&claims).unwrap();
    assert_eq!((alice.id().as_str(), alice.user().issuer().as_str()), (DIRECTORY, entra_issuer(DIRECTORY).as_str()));
    // The other directory's tenant does not trust the other directory.
    let claims = but(&but(&claims, "iss", json!(entra_issuer(OTHER_DIRECTORY))), "tid", json!(OTHER_DIRECTORY));
    assert_eq!(enter(&claims).unwrap_err().kind(), ErrorKind::NotFound);
    // A directory's token with another verifier's issuer in it finds no verifier at all.
    for iss in [entra_issuer("common"), entra_issuer("{tenantid}"), format!("https://sts.windows.net/{DIRECTORY}/")] {
        let token = signer().token(&but(&claims, "iss", json!(iss)));
        assert_eq!(engine.verify(&token).unwrap_err().reason(), &Reason::TokenRefused, "{iss}");
    }
}

#[test]
fn two_verifiers_never_speak_for_one_issuer() {
    let entra = |directory| JwtVerifier::entra(issuer(&entra_issuer(directory)), CLIENT, keys()).unwrap();
    let plain = |name: &str| JwtVerifier::new(issuer(name), API, keys()).unwrap();
    let (one, other, all) = (entra(DIRECTORY), entra(OTHER_DIRECTORY), entra("{tenantid}"));
    assert!(open(vec![one.clone(), other.clone(), auth0().0, cognito().0], None).is_ok());
    for pair in [
        [one.clone(), all.clone()],
        [all.clone(), one.clone()],
        [all.clone(), all.clone()],
        [all.clone(), plain(&entra_issuer(DIRECTORY))],
        [plain(&entra_issuer(DIRECTORY)), one.clone()],
        [cognito().0, JwtVerifier::cognito_id_tokens(issuer(POOL), CLIENT, keys()).unwrap()],
    ] {
        assert_eq!(open(pair.into(), None).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn an_operators_verifier_takes_no_tenants_token() {
    let plain = || JwtVerifier::new(issuer("https://login.example.org/"), API, keys()).unwrap();
    let operators = |audience| JwtVerifier::new(issuer("https://login.example.org/"), audience, keys()).unwrap();
    assert!(open(vec![plain()], Some(operators("ops"))).is_ok());
    for (tenants, operators) in [
        (plain(), operators(API)),
        // What names a tenant for one of them does not for the other.
        (plain().tenant_claim(["app", "tenant"]), operators("ops")),
        (plain().tenants_claim("tenants"), operators("ops")),
        (plain(), operators("ops").tenants_claim("tenants")),
    ] {
        assert_eq!(open(vec![tenants], Some(operators)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let nested = |audience| operators(audience).tenant_claim(["app", "tenant"]).tenants_claim("tenants");
    let clock = TestClock::at(at(NOW));
    let builder = Engine::builder("/memory").root_key(RootKey::generate().unwrap()).clock(clock);
    let builder = builder.verifier(nested(API)).operator_verifier(nested("ops"));
    let (engine, _) = builder.danger().disk(Arc::new(MemoryDisk::new())).open().unwrap();
    let claims =
        json!({"iss": "https://login.example.org/", "sub": "root", "aud": "ops", "iat": NOW - 10, "exp": NOW + 600});
    let verify = |claims: &Value| engine.verify_operator(&signer().token(claims));
    verify(&claims).unwrap();
    for (attack, name, value) in [
        ("a tenant", "app", json!({"tenant": "acme"})),
        ("a tenant that is null", "app", json!({"tenant": null})),
        ("something in the way of a tenant", "app", json!("acme")),
        ("a list of tenants", "tenants", json!(["acme"])),
        ("an empty list", "tenants", json!([])),
    ] {
        assert!(verify(&but(&claims, name, value)).is_err(), "{attack}");
    }
    verify(&but(&claims, "app", json!({"other": 1}))).unwrap();
}
