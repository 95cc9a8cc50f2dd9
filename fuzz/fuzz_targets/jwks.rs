//! Any bytes as a key set, as one member of a key, and as the answer of a fetcher: a set is sound or refused as a whole,
//! nothing panics, and no forger's key comes in beside an honest one.
#![no_main]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Map, Value, json};
use watertight::{ErrorKind, Issuer, Jwks, JwtVerifier, KeyFetchError, KeyFetcher, KeySource, Timestamp};

const NOW: Timestamp = Timestamp::from_seconds(1_000);

static PAIR: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

fn honest() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": URL_SAFE_NO_PAD.encode(PAIR.public_key())})
}

fn token() -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
    let claims = r#"{"iss":"i","aud":"a","sub":"s","tenant_id":"t","iat":1000,"exp":1001}"#;
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(PAIR.sign(signed.as_bytes())))
}

#[derive(Debug)]
struct Answers(Mutex<String>);

impl KeyFetcher for Answers {
    fn fetch(&self) -> Result<String, KeyFetchError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

fn sound(json: &str) -> Option<Jwks> {
    match Jwks::from_json(json) {
        Ok(keys) => {
            let ids: Vec<_> = keys.key_ids().collect();
            assert!((1..=64).contains(&ids.len()));
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id twice");
            assert!(ids.iter().all(|id| (1..=128).contains(&id.len())));
            let _ = format!("{keys:?}");
            Some(keys)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            None
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    sound(text);

    // As members of an honest key: what they say is in place of what it said.
    if let Ok(Value::Object(members)) = serde_json::from_str::<Value>(text) {
        let mut key: Map<String, Value> = honest().as_object().unwrap().clone();
        key.extend(members);
        sound(&json!({ "keys": [key] }).to_string());
        // And beside it, which must not change what the honest key verifies.
        if let Some(keys) = sound(&json!({ "keys": [honest(), key] }).to_string()) {
            let verifier = JwtVerifier::new(Issuer::new("i").unwrap(), "a", keys).unwrap();
            verifier.check(&token(), NOW).unwrap();
        }
    }

    // As what a fetcher brings, after an honest set: either it is sound, or the honest one stays.
    let answers = Arc::new(Answers(Mutex::new(json!({ "keys": [honest()] }).to_string())));
    let verifier = JwtVerifier::new(Issuer::new("i").unwrap(), "a", KeySource::fetched(answers.clone())).unwrap();
    verifier.check(&token(), NOW).unwrap();
    *answers.0.lock().unwrap() = text.to_owned();
    match verifier.reload() {
        Ok(()) => assert!(sound(text).is_some()),
        Err(_) => verifier.check(&token(), NOW).map(drop).unwrap(),
    }
});
