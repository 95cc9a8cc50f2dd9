//! Signs tokens for tests, and lets a test sign what no honest issuer would.
//!
//! The RSA keys in `tests/fixtures` were made for these tests and protect nothing.
#![allow(dead_code)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A private key with the id under which its public half is published.
pub(crate) struct Signer {
    kid: String,
    pair: Pair,
}

impl Signer {
    /// Ed25519 from a fixed seed: the same seed gives the same key.
    pub(crate) fn ed25519(kid: &str, seed: u8) -> Self {
        Self { kid: kid.into(), pair: Pair::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()) }
    }

    /// A new P-256 key.
    pub(crate) fn es256(kid: &str) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            kid: kid.into(),
            pair: Pair::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()),
        }
    }

    /// The RSA key of 2,048 bits of the fixtures.
    pub(crate) fn rs256(kid: &str) -> Self {
        Self::rsa(kid, include_bytes!("../fixtures/rsa2048.pk8"))
    }

    /// The RSA keys of 3,072 and 4,096 bits.
    pub(crate) fn longer_rs256(kid: &str) -> [Self; 2] {
        let keys: [&[u8]; 2] = [include_bytes!("../fixtures/rsa3072.pk8"), include_bytes!("../fixtures/rsa4096.pk8")];
        keys.map(|pkcs8| Self::rsa(kid, pkcs8))
    }

    fn rsa(kid: &str, pkcs8: &[u8]) -> Self {
        Self { kid: kid.into(), pair: Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).unwrap()) }
    }

    /// The algorithm's name in a token.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public key as a JSON Web Key.
    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": base64(pair.public_key().as_ref())})
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": self.kid,
                       "x": base64(&point[1..33]), "y": base64(&point[33..])})
            }
            Pair::Rsa(pair) => {
                let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "kid": self.kid, "n": base64(&public.n), "e": base64(&public.e)})
            }
        }
    }

    /// A key set of this key alone.
    pub(crate) fn jwks_json(&self) -> String {
        json!({"keys": [self.jwk()]}).to_string()
    }

    /// The header that an honest token of this key has.
    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.kid})
    }

    /// A token with an honest header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token of exactly these texts, valid JSON or not.
    pub(crate) fn sign(&self, header_json: &str, claims_json: &str) -> String {
        self.sign_parts(&base64(header_json.as_bytes()), &base64(claims_json.as_bytes()))
    }

    /// A token of two parts that are encoded already, well or badly.
    pub(crate) fn sign_parts(&self, header: &str, payload: &str) -> String {
        let signed = format!("{header}.{payload}");
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", base64(&signature))
    }

    /// The bare signature.
    pub(crate) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out).unwrap();
                out
            }
        }
    }
}

/// base64url without padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
