//! Any bytes as a token, as a key set, and as what an honest key signed: never a panic, and nothing forged passes.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair};
use watertight::{Issuer, Jwks, JwtVerifier, Timestamp};

const NOW: Timestamp = Timestamp::from_seconds(1_000);

static PAIR: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
static VERIFIER: LazyLock<JwtVerifier> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(PAIR.public_key());
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    JwtVerifier::new(Issuer::new("i").unwrap(), "a", Jwks::from_json(&keys).unwrap()).unwrap()
});

fn sign(header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(PAIR.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // The fuzzer does not know the private key, so whatever passes was forged.
        assert!(VERIFIER.check(text, NOW).is_err());
        if let Ok(keys) = Jwks::from_json(text) {
            assert!(keys.key_ids().count() > 0);
            let _ = format!("{keys:?}");
        }
    }
    // Past the signature, into the header's and the claims' own rules.
    let claims = br#"{"iss":"i","aud":"a","sub":"s","tenant_id":"t","iat":1000,"exp":1001}"#;
    let _ = VERIFIER.check(&sign(data, claims), NOW);
    if let Ok(found) = VERIFIER.check(&sign(br#"{"alg":"EdDSA","kid":"k"}"#, data), NOW) {
        assert_eq!(found.issuer().as_str(), "i");
        assert!(found.expires_at() > NOW && found.issued_at() < found.expires_at());
    }
});
