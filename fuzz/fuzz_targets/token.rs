//! Any bytes as a token or an API key, and as what an honest key signed for each profile: never a panic, and nothing forged
//! passes.
#![no_main]

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair};
use watertight::disk::MemoryDisk;
use watertight::{Engine, Issuer, Jwks, JwtVerifier, RootKey, Timestamp};

const NOW: Timestamp = Timestamp::from_seconds(1_000);

static PAIR: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
fn keys() -> Jwks {
    let x = URL_SAFE_NO_PAD.encode(PAIR.public_key());
    Jwks::from_json(&format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#)).unwrap()
}

fn issuer(name: &str) -> Issuer {
    Issuer::new(name).unwrap()
}

static VERIFIER: LazyLock<JwtVerifier> = LazyLock::new(|| JwtVerifier::new(issuer("i"), "a", keys()).unwrap());

const POOL: &str = "https://cognito-idp.r.amazonaws.com/r_p";

/// One of each profile, and one with paths and several tenants.
static PROFILES: LazyLock<Vec<JwtVerifier>> = LazyLock::new(|| {
    vec![
        JwtVerifier::auth0(issuer("https://a/"), "a", keys()).unwrap(),
        JwtVerifier::entra(issuer("https://e/{tenantid}/v2.0"), "a", keys()).unwrap(),
        JwtVerifier::cognito(issuer(POOL), "a", keys()).unwrap(),
        JwtVerifier::cognito_id_tokens(issuer(POOL), "a", keys()).unwrap(),
        JwtVerifier::new(issuer("i"), "a", keys())
            .unwrap()
            .tenant_claim(["t", "id"])
            .tenants_claim("ts")
            .scope_claim(["t", "s"])
            .groups_claim(["t", "g"]),
    ]
});

/// An engine without tenants: nothing it is shown can be good.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let builder = Engine::builder("/data").root_key(RootKey::generate().unwrap()).verifier(VERIFIER.clone());
    builder.danger().disk(Arc::new(MemoryDisk::new())).open().unwrap().0
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
        assert!(ENGINE.verify(text).is_err());
        assert!(ENGINE.verify(&format!("wt_{text}")).is_err());
    }
    // Past the signature, into the header's and the claims' own rules.
    let claims = br#"{"iss":"i","aud":"a","sub":"s","tenant_id":"t","iat":1000,"exp":1001}"#;
    let _ = VERIFIER.check(&sign(data, claims), NOW);
    let token = sign(br#"{"alg":"EdDSA","kid":"k"}"#, data);
    for verifier in PROFILES.iter().chain([&*VERIFIER]) {
        let Ok(found) = verifier.check(&token, NOW) else { continue };
        assert!(found.expires_at() > NOW && found.issued_at() < found.expires_at());
        let members = found.memberships();
        assert!((1..=64).contains(&members.len()));
        assert!(members.iter().any(|member| (member.tenant(), member.scopes()) == (found.tenant(), found.scopes())));
        match verifier.issuer().as_str().split_once("{tenantid}") {
            // The directory is tenant and issuer at once.
            Some((before, after)) => assert_eq!(found.issuer().as_str(), format!("{before}{}{after}", found.tenant())),
            None => assert_eq!(found.issuer(), verifier.issuer()),
        }
    }
});
