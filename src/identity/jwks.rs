//! The public keys of an issuer: a JSON Web Key Set (RFC 7517), all of it sound or none of it taken.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::agreement::{self, ECDH_P256};
use ring::rand::SystemRandom;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

use crate::error::{Error, Reason, Result};
use crate::identity::claims::{Claims, Fault};
use crate::limits::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, KEY_ID_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN};

/// The keys under which one issuer signs: Ed25519 (`EdDSA`), P-256 (`ES256`) and RSA of 2,048 to 8,192 bits (`RS256`).
///
/// A set is taken as a whole or refused as a whole, so that a mistake in one key is seen when the set is loaded and
/// not when a user is turned away. A key of any other type or curve, a key for encryption, and a symmetric or
/// private key are such mistakes: publish a set for this purpose, or filter it before it comes here. Members
/// without meaning here (`x5c`, `x5t`, ...) are ignored.
///
/// ```
/// use watertight::{ErrorKind, Jwks};
///
/// let keys = Jwks::from_json(
///     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "2026-10",
///                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
/// )
/// .unwrap();
/// assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["2026-10"]);
///
/// // A secret has no place in a set of public keys.
/// let refused = Jwks::from_json(r#"{"keys": [{"kty": "oct", "kid": "1", "k": "c2VjcmV0"}]}"#).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::InvalidInput);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Jwks {
    keys: Vec<(String, SetKey)>,
}

/// A key, and the issuer that its set names beside it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SetKey {
    pub(crate) key: Arc<PublicKey>,
    /// Microsoft's `issuer` member: the directory that this key signs for, or all.
    pub(crate) issuer: Option<Arc<str>>,
}

impl Jwks {
    /// Parses a key set.
    ///
    /// ```
    /// use watertight::Jwks;
    ///
    /// assert!(Jwks::from_json(r#"{"keys": []}"#).is_err());
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the text is too long, is not JSON, has duplicate members, holds no key or more than
    /// [`JWKS_KEYS_MAX`], or when any key breaks a rule; the reason names the rule. `Unavailable` when the
    /// operating system gives no randomness, which checking a P-256 point takes.
    pub fn from_json(json: &str) -> Result<Self> {
        if json.len() > JWKS_BYTES_MAX {
            return Err(Error::too_large("key set", JWKS_BYTES_MAX, json.len()));
        }
        let mut set = Claims::parse(json.as_bytes())
            .ok_or_else(|| refused("must be one JSON object, without duplicate members and not nested deep"))?;
        let Some(Value::Array(members)) = set.take("keys") else {
            return Err(refused("must have a member \"keys\" that is an array"));
        };
        if members.is_empty() {
            return Err(refused("must hold at least one key"));
        }
        if members.len() > JWKS_KEYS_MAX {
            return Err(Error::too_large("keys of a key set", JWKS_KEYS_MAX, members.len()));
        }
        let mut keys: Vec<(String, SetKey)> = Vec::with_capacity(members.len());
        for member in members {
            let member = Claims::of(member).ok_or_else(|| refused("every key must be an object"))?;
            let id = key_id(&member)?;
            if keys.iter().any(|(known, _)| *known == id) {
                return Err(refused("kid must be unique"));
            }
            let issuer = required(member.optional_text("issuer"), "issuer must be a string")?.map(Arc::from);
            keys.push((id, SetKey { key: Arc::new(PublicKey::parse(&member)?), issuer }));
        }
        Ok(Self { keys })
    }

    /// Reads and parses the key set in a file, of which no more than [`JWKS_BYTES_MAX`] bytes are read.
    ///
    /// Symbolic links are followed, because container platforms mount such files through them.
    ///
    /// ```
    /// use watertight::{ErrorKind, Jwks};
    ///
    /// assert_eq!(Jwks::from_file("absent.json").unwrap_err().kind(), ErrorKind::Unavailable);
    /// ```
    ///
    /// # Errors
    /// As [`Jwks::from_json`], and `Unavailable` when the file cannot be read.
    #[expect(clippy::disallowed_methods, reason = "the operator's configuration, not a file of the engine")]
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // Opening a pipe would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(refused("must be a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(JWKS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Self::from_json(std::str::from_utf8(&bytes).map_err(|_| refused("must be UTF-8"))?)
    }

    /// The ids (`kid`) of the keys, in the order of the set.
    ///
    /// See [`Jwks`] for an example.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    /// The key of exactly this id.
    pub(crate) fn find(&self, id: &str) -> Option<SetKey> {
        self.keys.iter().find(|(known, _)| known == id).map(|(_, key)| key.clone())
    }
}

impl fmt::Debug for Jwks {
    /// Ids and algorithms only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.keys.iter().map(|(id, set)| (id, set.key.algorithm()))).finish()
    }
}

/// A key that was found sound, and with it the one algorithm it is used for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Ed25519([u8; 32]),
    /// Uncompressed: 4, x, y.
    P256([u8; 65]),
    /// Big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// The `alg` that a token under this key must have.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa { .. } => "RS256",
        }
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature),
            Self::P256(key) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        }
        .is_ok()
    }

    fn parse(member: &Claims) -> Result<Self> {
        let kind = required(member.text("kty"), "kty is required")?;
        if kind == "oct" {
            return Err(refused("symmetric keys are refused"));
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|private| member.has(private)) {
            return Err(refused("private or symmetric members are refused"));
        }
        let key = match kind {
            "OKP" => Self::ed25519(member)?,
            "EC" => Self::p256(member)?,
            "RSA" => Self::rsa(member)?,
            _ => return Err(refused("kty must be OKP, EC or RSA")),
        };
        check_purpose(member, key.algorithm())?;
        Ok(key)
    }

    fn ed25519(member: &Claims) -> Result<Self> {
        if required(member.text("crv"), "crv is required")? != "Ed25519" {
            return Err(refused("the curve of an OKP key must be Ed25519"));
        }
        let point: [u8; 32] = decoded(member, "x", "x must be 32 bytes of base64url")?
            .try_into()
            .map_err(|_| refused("x must be 32 bytes of base64url"))?;
        check_edwards_point(point)?;
        Ok(Self::Ed25519(point))
    }

    fn p256(member: &Claims) -> Result<Self> {
        if required(member.text("crv"), "crv is required")? != "P-256" {
            return Err(refused("the curve of an EC key must be P-256"));
        }
        let (x, y) = (
            decoded(member, "x", "x must be 32 bytes of base64url")?,
            decoded(member, "y", "y must be 32 bytes of base64url")?,
        );
        if x.len() != 32 || y.len() != 32 {
            return Err(refused("x and y must have 32 bytes each"));
        }
        let point: [u8; 65] =
            [&[4], x.as_slice(), &y].concat().try_into().map_err(|_| refused("x and y must have 32 bytes each"))?;
        // ring offers no parser of points. Its key agreement is the operation that validates one and can say so.
        let probe = agreement::EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())
            .map_err(|_| Error::from(Reason::Randomness))?;
        agreement::agree_ephemeral(probe, &agreement::UnparsedPublicKey::new(&ECDH_P256, point), |_| ())
            .map_err(|_| refused("the point is not on P-256"))?;
        Ok(Self::P256(point))
    }

    fn rsa(member: &Claims) -> Result<Self> {
        let n = decoded(member, "n", "n must be base64url")?;
        let e = decoded(member, "e", "e must be base64url")?;
        if n.first().is_none_or(|byte| *byte == 0) || e.first().is_none_or(|byte| *byte == 0) {
            return Err(refused("n and e must have no leading zeros"));
        }
        // Counted here to the bit, because ring rounds 2,041 bits up to 2,048.
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if bits < RSA_BITS_MIN {
            return Err(refused("an RSA modulus must have at least 2048 bits"));
        }
        if bits > RSA_BITS_MAX {
            return Err(refused("an RSA modulus must have at most 8192 bits"));
        }
        if n.last().is_none_or(|byte| byte % 2 == 0) {
            return Err(refused("an RSA modulus must be odd"));
        }
        // ring takes exponents of at most 33 bits, and 33 bits need five bytes.
        let exponent = if e.len() > 5 { 0 } else { e.iter().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte)) };
        if exponent < 3 || exponent % 2 == 0 || exponent >> 33 != 0 {
            return Err(refused("an RSA exponent must be odd and from 3 to 2^33 - 1"));
        }
        Ok(Self::Rsa { n, e })
    }
}

/// Refuses points whose order divides 8, under which anyone can sign, and encodings that a second reader may take
/// for another point. (A string that is no point at all needs no check: ring verifies nothing under it.)
fn check_edwards_point(mut point: [u8; 32]) -> Result<()> {
    // The eight points have five y, little-endian; x only decides the top bit, so clear it.
    const LOW_ORDER: [[u8; 32]; 5] = [
        y_coordinate(0x00, 0x00, 0x00),
        y_coordinate(0x01, 0x00, 0x00),
        y_coordinate(0xec, 0xff, 0x7f),
        *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\
           \x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
        *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\
           \xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
    ];
    let [lowest, middle @ .., highest] = &mut point;
    *highest &= 0x7f;
    // y is at least 2^255 - 19, which is 0xed, thirty times 0xff, 0x7f.
    if *highest == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *lowest >= 0xed {
        return Err(refused("the Ed25519 point is not canonical"));
    }
    if LOW_ORDER.contains(&point) {
        return Err(refused("the Ed25519 point has low order"));
    }
    Ok(())
}

/// The bytes `lowest, middle (thirty times), highest`.
const fn y_coordinate(lowest: u8, middle: u8, highest: u8) -> [u8; 32] {
    let mut y = [middle; 32];
    y[0] = lowest;
    y[31] = highest;
    y
}

/// `use`, `key_ops` and `alg` may be absent; what is there must say "verifies signatures of this algorithm".
fn check_purpose(member: &Claims, algorithm: &str) -> Result<()> {
    if required(member.optional_text("use"), "use must be a string")?.is_some_and(|purpose| purpose != "sig") {
        return Err(refused("use must be sig"));
    }
    if required(member.optional_texts("key_ops"), "key_ops must be an array of strings")?
        .is_some_and(|operations| !operations.contains(&"verify"))
    {
        return Err(refused("key_ops must contain verify"));
    }
    if required(member.optional_text("alg"), "alg must be a string")?.is_some_and(|named| named != algorithm) {
        return Err(refused("alg must be that of the key: EdDSA, ES256 or RS256"));
    }
    Ok(())
}

fn key_id(member: &Claims) -> Result<String> {
    let id = required(member.text("kid"), "kid is required and must be a string")?;
    if id.is_empty() || id.len() > KEY_ID_BYTES_MAX {
        return Err(refused("kid must have 1 to 128 bytes"));
    }
    Ok(id.to_owned())
}

fn decoded(member: &Claims, name: &str, rule: &'static str) -> Result<Vec<u8>> {
    // This engine refuses padding, whitespace and non-zero bits behind the last byte.
    URL_SAFE_NO_PAD.decode(required(member.text(name), rule)?).map_err(|_| refused(rule))
}

fn required<T>(found: Result<T, Fault>, rule: &'static str) -> Result<T> {
    found.map_err(|_| refused(rule))
}

fn refused(rule: &'static str) -> Error {
    Error::invalid("key set", rule)
}

const _: () = assert!(KEY_ID_BYTES_MAX == 128 && RSA_BITS_MIN == 2_048 && RSA_BITS_MAX == 8_192, "named in rules");
