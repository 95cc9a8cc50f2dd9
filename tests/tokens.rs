//! Every rule of signed tokens, by tokens that break one rule each and are honest otherwise.

#[path = "support/tokens.rs"]
mod tokens;

use std::time::Duration;

use serde_json::{Value, json};
use tokens::{Signer, base64};
use watertight::{ErrorKind, Issuer, Jwks, JwtVerifier, Reason, Scopes, Timestamp};

const ISSUER: &str = "https://login.example.org/";
const AUDIENCE: &str = "https://api.example.org";
const NOW: u64 = 1_800_000_000;

fn verifier(keys: &str) -> JwtVerifier {
    JwtVerifier::new(Issuer::new(ISSUER).unwrap(), AUDIENCE, Jwks::from_json(keys).unwrap()).unwrap()
}

fn honest() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "auth0|alice", "tenant_id": "acme",
           "iat": NOW - 10, "exp": NOW + 600, "scope": "openid read write", "groups": ["staff", "on call"], "jti": "t-1"})
}

/// The honest claims with one member replaced, or removed when the value is `None`.
fn but(name: &str, value: impl Into<Option<Value>>) -> Value {
    let mut claims = honest();
    let members = claims.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.into(), value),
        None => members.remove(name),
    };
    claims
}

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

fn accepts(verifier: &JwtVerifier, token: &str) -> bool {
    match verifier.check(token, now()) {
        Ok(_) => true,
        Err(error) => {
            // One public error for all of it.
            assert_eq!(error.reason(), &Reason::TokenRefused);
            assert_eq!(error.kind(), ErrorKind::Unauthenticated);
            assert_eq!(error.to_string(), "the token was not accepted");
            false
        }
    }
}

#[test]
fn honest_tokens_of_all_three_algorithms_are_accepted() {
    for signer in [Signer::ed25519("k", 1), Signer::es256("k"), Signer::rs256("k")] {
        let claims = verifier(&signer.jwks_json()).check(&signer.token(&honest()), now()).unwrap();
        assert_eq!(claims.issuer().as_str(), ISSUER);
        assert_eq!(claims.tenant().as_str(), "acme");
        assert_eq!((claims.user().issuer().as_str(), claims.user().subject()), (ISSUER, "auth0|alice"));
        assert_eq!(claims.groups(), ["staff", "on call"]);
        assert_eq!(claims.scopes(), Scopes::READ | Scopes::WRITE);
        assert_eq!(claims.issued_at(), Timestamp::from_seconds(NOW - 10));
        assert_eq!(claims.expires_at(), Timestamp::from_seconds(NOW + 605));
        assert_eq!(claims.token_id(), Some("t-1"));
    }
}

#[test]
fn every_size_of_rsa_key_is_accepted() {
    for signer in Signer::longer_rs256("k") {
        assert!(accepts(&verifier(&signer.jwks_json()), &signer.token(&honest())), "{}", signer.jwk()["n"]);
    }
    // Signed once; the private key is gone.
    let (keys, token) = (include_str!("fixtures/rsa8192.jwks.json"), include_str!("fixtures/rsa8192.token"));
    assert!(accepts(&verifier(keys), token));
    assert!(!accepts(&verifier(&Signer::rs256("k").jwks_json()), token), "another key of this id");
}

#[test]
fn what_the_rules_allow_is_accepted() {
    let signer = Signer::ed25519("k", 1);
    let verifier = verifier(&signer.jwks_json());
    for (name, claims) in [
        ("audience in an array", but("aud", json!(["other", AUDIENCE]))),
        ("no scope", but("scope", None)),
        ("scopes in an array", but("scope", json!(["read"]))),
        ("no groups", but("groups", None)),
        ("no token id", but("jti", None)),
        ("not before now", but("nbf", json!(NOW))),
        ("not before, within the leeway", but("nbf", json!(NOW + 5))),
        ("issued within the leeway", but("iat", json!(NOW + 5))),
        ("expired within the leeway", but("exp", json!(NOW - 4))),
        ("the longest life", but("exp", json!(NOW - 10 + 86_400))),
        ("an unknown claim", but("extra", json!({"a": [1, 2.5, null]}))),
    ] {
        assert!(accepts(&verifier, &signer.token(&claims)), "{name}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
        let header = json!({"alg": "EdDSA", "kid": "k", "typ": typ});
        assert!(accepts(&verifier, &signer.sign(&header.to_string(), &honest().to_string())), "{typ}");
    }
    // Pointers to keys are no reason to refuse: they are never followed.
    let header = json!({"alg": "EdDSA", "kid": "k", "jku": "https://evil.example/", "x5u": "x", "x5t": "x", "x5c": []});
    assert!(accepts(&verifier, &signer.sign(&header.to_string(), &honest().to_string())));
}

#[test]
fn bad_claims_are_refused() {
    let signer = Signer::ed25519("k", 1);
    let verifier = verifier(&signer.jwks_json());
    let mut cases = vec![
        ("iss of another", but("iss", json!("https://evil.example/"))),
        ("iss without its slash", but("iss", json!("https://login.example.org"))),
        ("iss in another case", but("iss", json!("HTTPS://login.example.org/"))),
        ("iss in an array", but("iss", json!([ISSUER]))),
        ("aud of another", but("aud", json!("https://other.example.org"))),
        ("aud as a prefix of ours", but("aud", json!("https://api.example"))),
        ("aud with ours as a prefix", but("aud", json!("https://api.example.org.evil.example"))),
        ("aud array without ours", but("aud", json!(["a", "b"]))),
        ("aud array empty", but("aud", json!([]))),
        ("aud array mixed", but("aud", json!([AUDIENCE, 1]))),
        ("aud array nested", but("aud", json!([[AUDIENCE]]))),
        ("aud as an object", but("aud", json!({AUDIENCE: true}))),
        ("sub empty", but("sub", json!(""))),
        ("sub a number", but("sub", json!(7))),
        ("sub with a line break", but("sub", json!("alice\nadmin"))),
        ("sub with a space", but("sub", json!("alice bob"))),
        ("sub not ASCII", but("sub", json!("аlice"))),
        ("sub too long", but("sub", json!("a".repeat(256)))),
        ("tenant an array", but("tenant_id", json!(["acme"]))),
        ("tenant an object", but("tenant_id", json!({"id": "acme"}))),
        ("tenant a number", but("tenant_id", json!(1))),
        ("tenant null", but("tenant_id", json!(null))),
        ("tenant empty", but("tenant_id", json!(""))),
        ("tenant a path", but("tenant_id", json!("../acme"))),
        ("tenant with a user", but("tenant_id", json!("acme:alice"))),
        ("tenant a wildcard", but("tenant_id", json!("*"))),
        ("tenant with a NUL", but("tenant_id", json!("acme\u{0}"))),
        ("tenant too long", but("tenant_id", json!("a".repeat(129)))),
        ("exp a string", but("exp", json!((NOW + 600).to_string()))),
        ("exp a float", but("exp", json!(NOW as f64 + 600.5))),
        ("exp negative", but("exp", json!(-1))),
        ("exp u64 max", but("exp", json!(u64::MAX))),
        ("exp in milliseconds", but("exp", json!((NOW + 600) * 1_000))),
        ("exp null", but("exp", json!(null))),
        ("exp an array", but("exp", json!([NOW + 600]))),
        ("expired beyond the leeway", but("exp", json!(NOW - 5))),
        ("exp zero", but("exp", json!(0))),
        ("iat in the future", but("iat", json!(NOW + 6))),
        ("iat a string", but("iat", json!("1"))),
        ("iat a float", but("iat", json!(NOW as f64 - 0.5))),
        ("iat after exp", {
            let mut claims = but("iat", json!(NOW + 3));
            claims["exp"] = json!(NOW + 2);
            claims
        }),
        ("iat equal to exp", {
            let mut claims = but("iat", json!(NOW));
            claims["exp"] = json!(NOW);
            claims
        }),
        ("nbf in the future", but("nbf", json!(NOW + 6))),
        ("nbf a string", but("nbf", json!("0"))),
        ("nbf negative", but("nbf", json!(-1))),
        ("nbf null", but("nbf", json!(null))),
        ("life too long", but("exp", json!(NOW - 10 + 86_401))),
        ("life without end", but("exp", json!(253_402_300_799_u64))),
        ("scope a number", but("scope", json!(15))),
        ("scope mixed", but("scope", json!(["read", 1]))),
        ("groups a string", but("groups", json!("staff"))),
        ("groups mixed", but("groups", json!(["staff", 1]))),
        ("groups an object", but("groups", json!({"0": "staff"}))),
        ("group empty", but("groups", json!([""]))),
        ("group with a line break", but("groups", json!(["a\nb"]))),
        ("groups too many", but("groups", json!(vec!["g"; 129]))),
        ("jti a number", but("jti", json!(1))),
        ("jti empty", but("jti", json!(""))),
        ("jti too long", but("jti", json!("a".repeat(256)))),
    ];
    for required in ["iss", "aud", "sub", "tenant_id", "iat", "exp"] {
        cases.push((required, but(required, None)));
    }
    for (name, claims) in cases {
        assert!(!accepts(&verifier, &signer.token(&claims)), "{name}");
    }
}

#[test]
fn bad_json_is_refused_though_it_is_signed() {
    let signer = Signer::ed25519("k", 1);
    let verifier = verifier(&signer.jwks_json());
    let (header, claims) = (signer.header().to_string(), honest().to_string());
    let with = |member: &str| format!("{{{member},{}", &claims[1..]);
    assert!(accepts(&verifier, &signer.sign(&header, &with("\"x\":1"))));
    for (name, claims) in [
        ("duplicate exp", with("\"exp\":9999999999")),
        ("duplicate tenant", with("\"tenant_id\":\"acme\"")),
        ("duplicate tenant, escaped", with("\"tenant\\u005fid\":\"other\"")),
        ("duplicate nested", with("\"x\":{\"a\":1,\"a\":2}")),
        ("duplicate nested in an array", with("\"x\":[[{\"a\":1,\"a\":1}]]")),
        ("exp beyond u64", claims.replace(&(NOW + 600).to_string(), "18446744073709551616")),
        ("exp with an exponent", claims.replace(&(NOW + 600).to_string(), "18e8")),
        ("nested too deep", with(&format!("\"x\":{}{}", "[".repeat(16), "]".repeat(16)))),
        ("nested far too deep", with(&format!("\"x\":{}{}", "[".repeat(1_000), "]".repeat(1_000)))),
        ("trailing data", format!("{claims}{claims}")),
        ("trailing NUL", format!("{claims}\0")),
        ("byte order mark", format!("\u{feff}{claims}")),
        ("an array", format!("[{claims}]")),
        ("a string", json!(claims).to_string()),
        ("null", "null".into()),
        ("nothing", String::new()),
        ("cut short", claims[..claims.len() - 1].into()),
    ] {
        assert!(!accepts(&verifier, &signer.sign(&header, &claims)), "{name}");
    }
    let not_utf8 = base64(&[b"{\"x\":\"\xff\",", &claims.as_bytes()[1..]].concat());
    assert!(!accepts(&verifier, &signer.sign_parts(&base64(header.as_bytes()), &not_utf8)));
    let twice = format!("{{\"kid\":\"k\",{}", &header[1..]);
    assert!(!accepts(&verifier, &signer.sign(&twice, &claims)), "duplicate kid in the header");
    let twice = format!("{{\"alg\":\"none\",{}", &header[1..]);
    assert!(!accepts(&verifier, &signer.sign(&twice, &claims)), "duplicate alg in the header");
}

#[test]
fn bad_headers_are_refused_though_they_are_signed() {
    let signer = Signer::ed25519("k", 1);
    let verifier = verifier(&signer.jwks_json());
    let attacker = Signer::ed25519("k", 9);
    for (name, header) in [
        ("alg none", json!({"alg": "none", "kid": "k"})),
        ("alg None", json!({"alg": "None", "kid": "k"})),
        ("alg in lower case", json!({"alg": "eddsa", "kid": "k"})),
        ("alg empty", json!({"alg": "", "kid": "k"})),
        ("alg missing", json!({"kid": "k"})),
        ("alg null", json!({"alg": null, "kid": "k"})),
        ("alg an array", json!({"alg": ["EdDSA"], "kid": "k"})),
        ("alg of another key type", json!({"alg": "ES256", "kid": "k"})),
        ("alg symmetric", json!({"alg": "HS256", "kid": "k"})),
        ("kid missing", json!({"alg": "EdDSA"})),
        ("kid empty", json!({"alg": "EdDSA", "kid": ""})),
        ("kid a number", json!({"alg": "EdDSA", "kid": 1})),
        ("kid null", json!({"alg": "EdDSA", "kid": null})),
        ("kid unknown", json!({"alg": "EdDSA", "kid": "other"})),
        ("kid in another case", json!({"alg": "EdDSA", "kid": "K"})),
        ("kid with a space", json!({"alg": "EdDSA", "kid": "k "})),
        ("kid with a NUL", json!({"alg": "EdDSA", "kid": "k\u{0}"})),
        ("kid a path", json!({"alg": "EdDSA", "kid": "../../dev/null"})),
        ("kid an SQL injection", json!({"alg": "EdDSA", "kid": "x' UNION SELECT 'key"})),
        ("kid too long", json!({"alg": "EdDSA", "kid": "k".repeat(129)})),
        ("crit empty", json!({"alg": "EdDSA", "kid": "k", "crit": []})),
        ("crit known", json!({"alg": "EdDSA", "kid": "k", "crit": ["exp"]})),
        ("crit unknown", json!({"alg": "EdDSA", "kid": "k", "crit": ["x"], "x": 1})),
        ("crit null", json!({"alg": "EdDSA", "kid": "k", "crit": null})),
        ("b64 false", json!({"alg": "EdDSA", "kid": "k", "b64": false})),
        ("b64 true", json!({"alg": "EdDSA", "kid": "k", "b64": true})),
        ("typ of a logout token", json!({"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"})),
        ("typ empty", json!({"alg": "EdDSA", "kid": "k", "typ": ""})),
        ("typ an array", json!({"alg": "EdDSA", "kid": "k", "typ": ["JWT"]})),
        ("typ null", json!({"alg": "EdDSA", "kid": "k", "typ": null})),
        ("typ prefixed twice", json!({"alg": "EdDSA", "kid": "k", "typ": "application/application/jwt"})),
    ] {
        assert!(!accepts(&verifier, &signer.sign(&header.to_string(), &honest().to_string())), "{name}");
    }
    for pointer in ["jwk", "jku", "x5u", "x5c", "x5t"] {
        let value = if pointer == "jwk" { attacker.jwk() } else { json!("https://evil.example/keys") };
        let header = json!({"alg": "EdDSA", "kid": "k", pointer: value});
        assert!(!accepts(&verifier, &attacker.sign(&header.to_string(), &honest().to_string())), "{pointer}");
    }
}

#[test]
fn forged_signatures_are_refused() {
    for signer in [Signer::ed25519("k", 1), Signer::es256("k"), Signer::rs256("k")] {
        let verifier = verifier(&signer.jwks_json());
        let token = signer.token(&honest());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let bytes = signer.signature(signed.as_bytes());
        let mut flipped = bytes.clone();
        flipped[7] ^= 1;
        let other = signer.token(&but("tenant_id", json!("other")));
        let (other_signed, _) = other.rsplit_once('.').unwrap();
        for (name, forged) in [
            ("no signature", format!("{signed}.")),
            ("all zero, psychic (r = s = 0)", format!("{signed}.{}", base64(&vec![0; bytes.len()]))),
            ("all ones", format!("{signed}.{}", base64(&vec![0xff; bytes.len()]))),
            ("one bit flipped", format!("{signed}.{}", base64(&flipped))),
            ("cut short", format!("{signed}.{}", base64(&bytes[1..]))),
            ("one byte more", format!("{signed}.{}", base64(&[&bytes[..], &[0]].concat()))),
            ("of other claims", format!("{other_signed}.{signature}")),
        ] {
            assert!(!accepts(&verifier, &forged), "{name} {}", signer.algorithm());
        }
    }
    // A DER signature where the fixed form belongs.
    let signer = Signer::es256("k");
    let token = signer.token(&honest());
    let (signed, _) = token.rsplit_once('.').unwrap();
    let fixed = signer.signature(signed.as_bytes());
    let der = [&[0x30, 0x44, 2, 0x20], &fixed[..32], &[2, 0x20], &fixed[32..]].concat();
    assert!(!accepts(&verifier(&signer.jwks_json()), &format!("{signed}.{}", base64(&der))), "DER");
}

#[test]
fn a_public_key_is_never_a_secret() {
    for signer in [Signer::ed25519("k", 1), Signer::es256("k"), Signer::rs256("k")] {
        let jwks = signer.jwks_json();
        let member = if signer.algorithm() == "RS256" { "n" } else { "x" };
        let public = signer.jwk()[member].as_str().unwrap().to_owned();
        let header = base64(json!({"alg": "HS256", "kid": "k"}).to_string().as_bytes());
        let signed = format!("{header}.{}", base64(honest().to_string().as_bytes()));
        for secret in [public.as_bytes(), jwks.as_bytes(), b""] {
            let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), signed.as_bytes());
            let token = format!("{signed}.{}", base64(tag.as_ref()));
            assert!(!accepts(&verifier(&jwks), &token), "{}", signer.algorithm());
        }
    }
}

#[test]
fn keys_of_a_set_are_not_mixed_up() {
    let (one, two) = (Signer::ed25519("one", 1), Signer::es256("two"));
    let keys = json!({"keys": [one.jwk(), two.jwk()]}).to_string();
    let verifier = verifier(&keys);
    let claims = honest().to_string();
    assert!(accepts(&verifier, &one.token(&honest())) && accepts(&verifier, &two.token(&honest())));
    let crossed = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid}).to_string();
    assert!(!accepts(&verifier, &one.sign(&crossed("EdDSA", "two"), &claims)), "the other's kid");
    assert!(!accepts(&verifier, &one.sign(&crossed("ES256", "one"), &claims)), "the other's alg");
    assert!(!accepts(&verifier, &one.sign(&crossed("ES256", "two"), &claims)), "the other's kid and alg");
}

#[test]
fn bad_encodings_are_refused() {
    let signer = Signer::ed25519("k", 1);
    let verifier = verifier(&signer.jwks_json());
    let token = signer.token(&honest());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    assert!(accepts(&verifier, &token));
    // 64 bytes leave four unused bits in the last character; set one of them.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.iter().position(|c| c == signature.as_bytes().last().unwrap()).unwrap();
    let stray = format!("{}{}", &signature[..signature.len() - 1], char::from(alphabet[last | 1]));
    assert_ne!(stray, signature);
    // Signed over a payload whose encoding has stray bits: 1 byte more or less until the last group is partial.
    let mut text = honest().to_string();
    while text.len() % 3 != 1 {
        text.insert(1, ' ');
    }
    assert!(accepts(&verifier, &signer.sign(&signer.header().to_string(), &text)));
    let mut stray_payload = base64(text.as_bytes());
    let end = stray_payload.pop().unwrap();
    stray_payload.push(char::from(alphabet[alphabet.iter().position(|c| char::from(*c) == end).unwrap() | 1]));
    // A payload that needs the 63rd and 64th character, in the wrong alphabet and in the right one.
    let claims = format!("{{\"x\":\"\u{fff}\u{3f}\u{3f}\u{3e}\",{}", &honest().to_string()[1..]);
    let right = base64(claims.as_bytes());
    let standard = right.replace('-', "+").replace('_', "/");
    assert_ne!(right, standard);
    assert!(accepts(&verifier, &signer.sign_parts(header, &right)));
    for (name, bad) in [
        ("empty", String::new()),
        ("dots only", "..".into()),
        ("one part", header.into()),
        ("two parts", format!("{header}.{payload}")),
        ("a dot more behind", format!("{token}.")),
        ("a dot more before", format!(".{token}")),
        ("four parts", format!("{token}.{signature}")),
        ("five parts, as JWE", format!("{token}.a.b")),
        ("empty payload", signer.sign_parts(header, "")),
        ("empty header", signer.sign_parts("", payload)),
        ("padded signature", format!("{token}==")),
        ("padded payload", signer.sign_parts(header, &format!("{payload}="))),
        ("padded header", signer.sign_parts(&format!("{header}="), payload)),
        ("stray bits in the signature", format!("{header}.{payload}.{stray}")),
        ("stray bits in the payload", signer.sign_parts(header, &stray_payload)),
        ("standard alphabet", signer.sign_parts(header, &standard)),
        ("leading space", format!(" {token}")),
        ("trailing space", format!("{token} ")),
        ("trailing line break", format!("{token}\n")),
        ("line break inside", signer.sign_parts(header, &format!("{}\n{}", &payload[..8], &payload[8..]))),
        ("NUL behind", format!("{token}\0")),
        ("with its scheme", format!("Bearer {token}")),
        ("not ASCII", format!("{token}é")),
        ("not encoded", format!("{}.{}.{signature}", signer.header(), honest())),
        ("JSON serialisation", json!({"protected": header, "payload": payload, "signature": signature}).to_string()),
    ] {
        assert!(!accepts(&verifier, &bad), "{name}");
    }
}

#[test]
fn a_token_has_at_most_8_kib() {
    let signer = Signer::ed25519("k", 1);
    let verifier = verifier(&signer.jwks_json());
    let sized = |n: usize| signer.token(&but("pad", json!("a".repeat(n))));
    let base = sized(0).len();
    let mut fits = (8_192 - base) * 3 / 4;
    while sized(fits + 1).len() <= 8_192 {
        fits += 1;
    }
    assert!(accepts(&verifier, &sized(fits)), "{} bytes", sized(fits).len());
    assert!(!accepts(&verifier, &sized(fits + 1)));
    assert!(!accepts(&verifier, &sized(1 << 20)));
}

#[test]
fn settings_change_what_they_name() {
    let signer = Signer::ed25519("k", 1);
    let plain = verifier(&signer.jwks_json());
    let mut claims = but("tenant_id", None);
    claims["custom:tenant_id"] = json!("globex");
    claims["scp"] = json!(["read"]);
    claims["roles"] = json!(["r"]);
    assert!(!accepts(&plain, &signer.token(&claims)));
    let cognito = plain.clone().tenant_claim("custom:tenant_id").scope_claim("scp").groups_claim("roles");
    let found = cognito.check(&signer.token(&claims), now()).unwrap();
    assert_eq!((found.tenant().as_str(), found.scopes()), ("globex", Scopes::READ));
    assert_eq!(found.groups(), ["r"]);
    assert!(!accepts(&plain, &signer.token(&claims)), "a clone's settings are its own");
    // A dot is not a path; an array of names is.
    let nested = json!({"org": {"id": "acme"}});
    let mut claims = but("tenant_id", None);
    claims["app"] = nested;
    assert!(!accepts(&plain.clone().tenant_claim("app.org.id"), &signer.token(&claims)));
    assert!(accepts(&plain.clone().tenant_claim(["app", "org", "id"]), &signer.token(&claims)));
    claims["app.org.id"] = json!("globex");
    let found = plain.clone().tenant_claim("app.org.id").check(&signer.token(&claims), now()).unwrap();
    assert_eq!(found.tenant().as_str(), "globex");

    assert!(plain.clone().leeway(30).is_ok());
    assert_eq!(plain.clone().leeway(31).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(plain.clone().leeway(u64::MAX).is_err());
    let late = signer.token(&but("exp", json!(NOW)));
    assert!(accepts(&plain, &late));
    assert!(!accepts(&plain.clone().leeway(0).unwrap(), &late));

    let short = plain.clone().max_lifetime(Duration::from_secs(610)).unwrap();
    assert!(accepts(&short, &signer.token(&honest())));
    assert!(!accepts(&short, &signer.token(&but("exp", json!(NOW + 601)))));
    let month = Duration::from_secs(31 * 86_400);
    assert!(plain.clone().max_lifetime(month).is_ok());
    assert!(plain.clone().max_lifetime(month + Duration::from_secs(1)).is_err());

    let access_only = plain.clone().token_type("at+jwt");
    assert!(!accepts(&access_only, &signer.token(&honest())), "typ JWT");
    let untyped = json!({"alg": "EdDSA", "kid": "k"}).to_string();
    assert!(!accepts(&access_only, &signer.sign(&untyped, &honest().to_string())), "typ absent");
    let typed = json!({"alg": "EdDSA", "kid": "k", "typ": "application/AT+jwt"}).to_string();
    assert!(accepts(&access_only, &signer.sign(&typed, &honest().to_string())));

    let keys = || Jwks::from_json(&signer.jwks_json()).unwrap();
    for own in ["watertight:authority", "watertight:api-keys", "watertight:"] {
        assert!(JwtVerifier::new(Issuer::new(own).unwrap(), AUDIENCE, keys()).is_err(), "{own}");
    }
    assert!(JwtVerifier::new(Issuer::new(ISSUER).unwrap(), "", keys()).is_err());
    assert!(JwtVerifier::new(Issuer::new(ISSUER).unwrap(), &"a".repeat(256), keys()).is_err());
}

#[test]
fn reload_replaces_the_set_in_every_clone() {
    let (old, new) = (Signer::ed25519("old", 1), Signer::ed25519("new", 2));
    let verifier = verifier(&old.jwks_json());
    let clone = verifier.clone().tenant_claim("tenant_id");
    verifier.replace_keys(Jwks::from_json(&new.jwks_json()).unwrap());
    for it in [&verifier, &clone] {
        assert!(accepts(it, &new.token(&honest())));
        assert!(!accepts(it, &old.token(&honest())));
    }
}
