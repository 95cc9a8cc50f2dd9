//! An issuer of tokens for tests.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::jwks::Jwks;
use super::jwt::JwtVerifier;
use super::scope::Scopes;
use crate::clock::Timestamp;
use crate::error::{Reason, Result};
use crate::id::{Issuer, TenantId, UserId};

const KEY_ID: &str = "test";

/// Signs tokens with an Ed25519 key that it makes for itself. Only verifiers that are given its key set accept them.
pub struct TestIssuer {
    issuer: Issuer,
    audience: String,
    key: Ed25519KeyPair,
}

impl TestIssuer {
    /// An issuer of this name with a new key.
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::testing::TestIssuer;
    /// use watertight::{Issuer, Scopes, TenantId, Timestamp, UserId};
    ///
    /// let issuer = TestIssuer::new(Issuer::new("https://login.test/")?, "https://api.test")?;
    /// let alice = UserId::new(issuer.issuer().clone(), "alice")?;
    /// let now = Timestamp::from_seconds(1_800_000_000);
    /// let token = issuer.token(&TenantId::new("acme")?, &alice, Scopes::READ, now, Duration::from_secs(60))?;
    /// let claims = issuer.verifier()?.check(&token, now)?;
    /// assert_eq!((claims.tenant().as_str(), claims.user()), ("acme", &alice));
    /// assert!(issuer.verifier()?.check(&token, Timestamp::from_seconds(1_800_000_090)).is_err());
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unavailable` when the operating system gives no randomness.
    pub fn new(issuer: Issuer, audience: &str) -> Result<Self> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Reason::Randomness)?;
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| Reason::Randomness)?;
        Ok(Self { issuer, audience: audience.to_owned(), key })
    }

    /// Its name.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Its public key as a JSON Web Key Set, for the application's own configuration.
    #[must_use]
    pub fn jwks_json(&self) -> String {
        let public = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": KEY_ID, "x": public}]}).to_string()
    }

    /// A verifier that accepts its tokens.
    ///
    /// # Errors
    /// As for [`JwtVerifier::new`].
    pub fn verifier(&self) -> Result<JwtVerifier> {
        JwtVerifier::new(self.issuer.clone(), &self.audience, Jwks::from_json(&self.jwks_json())?)
    }

    /// A token of a user at a tenant.
    ///
    /// # Errors
    /// `InvalidInput` when the user is another issuer's.
    pub fn token(
        &self,
        tenant: &TenantId,
        user: &UserId,
        scopes: Scopes,
        issued_at: Timestamp,
        lifetime: Duration,
    ) -> Result<String> {
        if *user.issuer() != self.issuer {
            return Err(crate::Error::invalid("user", "is another issuer's"));
        }
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": KEY_ID});
        let claims = json!({
            "iss": self.issuer.as_str(),
            "aud": self.audience,
            "sub": user.subject(),
            "tenant_id": tenant.as_str(),
            "scope": scopes.to_string(),
            "iat": issued_at.as_seconds(),
            "exp": issued_at.after(lifetime).as_seconds(),
        });
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.key.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

fn encoded(part: &serde_json::Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
