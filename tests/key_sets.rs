//! Every rule of key sets, by sets that break one rule each and are sound otherwise.

#[path = "support/tokens.rs"]
mod tokens;

use serde_json::{Value, json};
use tokens::{Signer, base64};
use watertight::{ErrorKind, Jwks};

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn with(mut key: Value, name: &str, value: impl Into<Option<Value>>) -> Value {
    let members = key.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.into(), value),
        None => members.remove(name),
    };
    key
}

#[track_caller]
fn refuses(name: &str, json: &str) {
    let error = Jwks::from_json(json).expect_err(name);
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
}

#[test]
fn sound_sets_are_taken_in_order() {
    let keys = [Signer::rs256("c").jwk(), Signer::ed25519("a", 1).jwk(), Signer::es256("b").jwk()];
    let found = Jwks::from_json(&set(&keys)).unwrap();
    assert_eq!(found.key_ids().collect::<Vec<_>>(), ["c", "a", "b"]);
    for (key, alg) in keys.into_iter().zip(["RS256", "EdDSA", "ES256"]) {
        let key = with(with(key, "use", json!("sig")), "key_ops", json!(["verify"]));
        let key = with(with(key, "alg", json!(alg)), "x5t", json!("ignored"));
        Jwks::from_json(&set(&[key])).unwrap();
    }
}

#[test]
fn debug_prints_ids_and_algorithms_only() {
    let signer = Signer::ed25519("key-1", 1);
    let printed = format!("{:?}", Jwks::from_json(&signer.jwks_json()).unwrap());
    assert_eq!(printed, "{\"key-1\": \"EdDSA\"}");
}

#[test]
fn bad_sets_are_refused() {
    let key = Signer::ed25519("k", 1).jwk();
    let many: Vec<Value> = (0..65).map(|n| Signer::ed25519(&format!("k{n}"), n).jwk()).collect();
    Jwks::from_json(&set(&many[..64])).unwrap();
    for (name, json) in [
        ("nothing", String::new()),
        ("an array", json!([key]).to_string()),
        ("no keys member", json!({}).to_string()),
        ("keys an object", json!({"keys": {"k": key}}).to_string()),
        ("no key", set(&[])),
        ("a key that is a string", set(&[json!("k")])),
        ("too many keys", set(&many)),
        ("duplicate kid", set(&[key.clone(), Signer::ed25519("k", 2).jwk()])),
        ("the same key twice", set(&[key.clone(), key.clone()])),
        ("duplicate keys member", format!("{{\"keys\":[],{}", &set(std::slice::from_ref(&key))[1..])),
        ("duplicate member of a key", set(std::slice::from_ref(&key)).replace("{\"crv\"", "{\"kid\":\"z\",\"crv\"")),
        ("trailing data", format!("{}x", set(std::slice::from_ref(&key)))),
        ("nested too deep", format!("{{\"x\":{}{}}}", "[".repeat(99), "]".repeat(99))),
        ("too large", set(&[with(key.clone(), "x5c", json!("a".repeat(256 * 1_024)))])),
        ("symmetric", set(&[json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"})])),
        ("symmetric beside a public one", set(&[key, json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"})])),
    ] {
        refuses(name, &json);
    }
}

#[test]
fn bad_members_of_any_key_are_refused() {
    for (signer, alg) in
        [(Signer::ed25519("k", 1), "RS256"), (Signer::es256("k"), "EdDSA"), (Signer::rs256("k"), "ES256")]
    {
        let cases = [
            ("kid missing", "kid", None),
            ("kid empty", "kid", Some(json!(""))),
            ("kid a number", "kid", Some(json!(1))),
            ("kid too long", "kid", Some(json!("k".repeat(129)))),
            ("kty missing", "kty", None),
            ("kty unknown", "kty", Some(json!("AKP"))),
            ("kty in lower case", "kty", Some(json!("rsa"))),
            ("kty symmetric", "kty", Some(json!("oct"))),
            ("use for encryption", "use", Some(json!("enc"))),
            ("use an array", "use", Some(json!(["sig"]))),
            ("key_ops for signing", "key_ops", Some(json!(["sign"]))),
            ("key_ops empty", "key_ops", Some(json!([]))),
            ("key_ops a string", "key_ops", Some(json!("verify"))),
            ("alg of another type", "alg", Some(json!(alg))),
            ("alg none", "alg", Some(json!("none"))),
            ("alg symmetric", "alg", Some(json!("HS256"))),
            ("alg null", "alg", Some(json!(null))),
            ("private d", "d", Some(json!("AQ"))),
            ("private p", "p", Some(json!("AQ"))),
            ("private q", "q", Some(json!("AQ"))),
            ("private qi", "qi", Some(json!("AQ"))),
            ("secret k", "k", Some(json!("AQ"))),
        ];
        for (name, member, value) in cases {
            refuses(name, &set(&[with(signer.jwk(), member, value)]));
        }
    }
}

#[test]
fn bad_ed25519_keys_are_refused() {
    let key = Signer::ed25519("k", 1).jwk();
    let filled = |low: u8, middle: u8, high: u8| {
        let mut y = [middle; 32];
        (y[0], y[31]) = (low, high);
        y
    };
    let eight = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    // The other y of order eight is p minus the first.
    let mut other = filled(0xed, 0xff, 0x7f);
    for (byte, subtracted) in other.iter_mut().zip(eight) {
        *byte -= subtracted;
    }
    for (name, y) in [
        ("order 1", filled(1, 0, 0)),
        ("order 2", filled(0xec, 0xff, 0x7f)),
        ("order 4", filled(0, 0, 0)),
        ("order 8", eight),
        ("order 8, the other", other),
        ("not canonical: p", filled(0xed, 0xff, 0x7f)),
        ("not canonical: p + 1", filled(0xee, 0xff, 0x7f)),
        ("not canonical: p + 3", filled(0xf0, 0xff, 0x7f)),
        ("not canonical: 2^255 - 1", filled(0xff, 0xff, 0x7f)),
    ] {
        for sign in [0, 0x80] {
            let mut point = y;
            point[31] |= sign;
            refuses(name, &set(&[with(key.clone(), "x", json!(base64(&point)))]));
        }
    }
    let x = key["x"].as_str().unwrap().to_owned();
    for (name, value) in [
        ("x missing", None),
        ("x short", Some(json!(base64(&[9; 31])))),
        ("x long", Some(json!(base64(&[9; 33])))),
        ("x padded", Some(json!(format!("{x}=")))),
        ("x a number", Some(json!(1))),
    ] {
        refuses(name, &set(&[with(key.clone(), "x", value)]));
    }
    refuses("X25519", &set(&[with(key.clone(), "crv", json!("X25519"))]));
    refuses("no curve", &set(&[with(key, "crv", None)]));
}

#[test]
fn bad_p256_keys_are_refused() {
    let key = Signer::es256("k").jwk();
    let (x, y) = (key["x"].clone(), key["y"].clone());
    let swapped = with(with(key.clone(), "x", y), "y", x);
    for (name, key) in [
        ("off the curve", swapped),
        ("zero", with(with(key.clone(), "x", json!(base64(&[0; 32]))), "y", json!(base64(&[0; 32])))),
        ("beyond the field", with(key.clone(), "x", json!(base64(&[0xff; 32])))),
        ("x short", with(key.clone(), "x", json!(base64(&[1; 31])))),
        ("y long", with(key.clone(), "y", json!(base64(&[0; 33])))),
        ("y missing", with(key.clone(), "y", None)),
        ("another curve", with(key.clone(), "crv", json!("P-384"))),
        ("secp256k1", with(key, "crv", json!("secp256k1"))),
    ] {
        refuses(name, &set(&[key]));
    }
}

#[test]
fn bad_rsa_keys_are_refused() {
    let key = Signer::rs256("k").jwk();
    refuses("1,024 bits", include_str!("fixtures/rsa1024.jwks.json"));
    let odd = |bytes: usize, first: u8| {
        let mut n = vec![1; bytes];
        n[0] = first;
        base64(&n)
    };
    let n = |text: String| with(key.clone(), "n", json!(text));
    let e = |bytes: &[u8]| with(key.clone(), "e", json!(base64(bytes)));
    Jwks::from_json(&set(&[n(odd(256, 0x80))])).expect("2,048 bits");
    Jwks::from_json(&set(&[n(odd(1_024, 0x80))])).expect("8,192 bits");
    Jwks::from_json(&set(&[e(&[3])])).expect("e = 3");
    for (name, key) in [
        ("2,047 bits", n(odd(256, 0x7f))),
        ("2,041 bits", n(odd(256, 1))),
        ("8,193 bits", n(odd(1_025, 1))),
        ("n with a leading zero", n(odd(257, 0))),
        ("n even", n(base64(&[0x80; 256]))),
        ("n empty", n(String::new())),
        ("n missing", with(key.clone(), "n", None)),
        ("n in the standard alphabet", n(format!("+/{}", odd(256, 0x80)))),
        ("e = 0", e(&[0])),
        ("e = 1", e(&[1])),
        ("e = 2", e(&[2])),
        ("e even", e(&[1, 0, 0])),
        ("e with a leading zero", e(&[0, 1, 0, 1])),
        ("e of 34 bits", e(&[2, 0, 0, 0, 1])),
        ("e of 48 bits", e(&[1, 0, 0, 0, 0, 1])),
        ("e empty", e(&[])),
        ("e missing", with(key.clone(), "e", None)),
        ("alg RS512", with(key.clone(), "alg", json!("RS512"))),
        ("alg PS256", with(key.clone(), "alg", json!("PS256"))),
    ] {
        refuses(name, &set(&[key]));
    }
}

#[test]
fn files_are_read_within_the_bound() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    std::fs::write(&path, Signer::ed25519("k", 1).jwks_json()).unwrap();
    assert_eq!(Jwks::from_file(&path).unwrap().key_ids().count(), 1);
    assert_eq!(Jwks::from_file(directory.path()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Jwks::from_file(directory.path().join("absent")).unwrap_err().kind(), ErrorKind::Unavailable);
    std::fs::write(&path, vec![b' '; 1 << 20]).unwrap();
    assert_eq!(Jwks::from_file(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
    std::fs::write(&path, b"{\"keys\":\"\xff\"}").unwrap();
    assert_eq!(Jwks::from_file(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
}
