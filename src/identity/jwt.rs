//! Signed tokens: JWS compact serialisation (RFC 7515, RFC 7519), with the rules of RFC 8725 and no options to
//! leave one out.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{Issuer, UserId};
use crate::identity::claims::{Claims, Fault, OperatorClaims, TokenClaims};
use crate::identity::jwks::Jwks;
use crate::identity::key_source::{Found, KeySource, Keys};
use crate::identity::profile::Profile;
use crate::identity::token::{Cause, Parts, decode_object};
use crate::limits::{
    AUDIENCE_BYTES_MAX, KEY_ID_BYTES_MAX, LEEWAY_SECONDS_DEFAULT, LEEWAY_SECONDS_MAX, TOKEN_LIFETIME_SECONDS_DEFAULT,
    TOKEN_LIFETIME_SECONDS_MAX,
};

/// Checks the tokens of one issuer for one audience.
///
/// The algorithm is the key's, never the token's choice; the key is the one of the set with exactly the token's
/// `kid`, never one that the token brings along or points to. `exp`, `iat`, `iss`, `aud`, `sub` and the tenant
/// claim are required. Whatever a token breaks, the answer is the same [`Reason::TokenRefused`]; the cause is
/// logged at debug level.
///
/// [`new`](Self::new) makes one for any issuer, with the paths of its claims to set. Auth0, Microsoft Entra ID and Amazon
/// Cognito have constructors of their own, with the rules that these add.
///
/// `Clone` is cheap. Clones share the key set, so that [`reload`](Self::reload) on one renews all; the setters
/// change only the clone they are called on.
///
/// ```
/// use watertight::{Issuer, JwtVerifier, Jwks, Reason, Timestamp};
///
/// let keys = Jwks::from_json(
///     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
///                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
/// )
/// .unwrap();
/// let verifier = JwtVerifier::new(Issuer::new("https://login.example.org/").unwrap(), "https://api.example.org", keys)
///     .unwrap()
///     .tenant_claim(["app", "org", "id"])
///     .tenant_name_claim(["app", "org", "name"])
///     .scope_claim("permissions")
///     .groups_claim("roles")
///     .token_type("at+jwt")
///     .max_lifetime(std::time::Duration::from_secs(3_600))
///     .unwrap()
///     .leeway(10)
///     .unwrap();
/// assert_eq!(verifier.issuer().as_str(), "https://login.example.org/");
/// assert_eq!(verifier.audience(), "https://api.example.org");
///
/// let refused = verifier.check("not.a.token", Timestamp::from_seconds(0)).unwrap_err();
/// assert_eq!(refused.reason(), &Reason::TokenRefused);
/// ```
#[derive(Debug, Clone)]
pub struct JwtVerifier {
    rules: Arc<Rules>,
    keys: Arc<Keys>,
}

#[derive(Debug, Clone)]
struct Rules {
    issuer: Issuer,
    audience: String,
    profile: Profile,
    leeway_seconds: u64,
    lifetime_max: Duration,
    /// `None` accepts an absent `typ`, `JWT` and `at+jwt`.
    token_type: Option<String>,
}

impl JwtVerifier {
    /// A verifier of what `issuer` signs with `keys` for `audience`. `keys` is a [`Jwks`] or a [`KeySource`].
    ///
    /// See [`JwtVerifier`] for an example.
    ///
    /// # Errors
    /// `InvalidInput` when the issuer is one of the engine's own, such as [`Issuer::authority`], whose identities come
    /// from no token, or the audience is empty or longer than [`AUDIENCE_BYTES_MAX`].
    pub fn new(issuer: Issuer, audience: &str, keys: impl Into<KeySource>) -> Result<Self> {
        Self::with_profile(issuer, audience, keys.into(), Profile::plain())
    }

    pub(super) fn with_profile(issuer: Issuer, audience: &str, keys: KeySource, profile: Profile) -> Result<Self> {
        if issuer.is_own() {
            return Err(Error::invalid("issuer", "the engine's own issuers sign no tokens"));
        }
        if issuer.is_erased() {
            return Err(Error::invalid("issuer", "nobody speaks for users that were erased"));
        }
        if audience.is_empty() {
            return Err(Error::invalid("audience", "must not be empty"));
        }
        if audience.len() > AUDIENCE_BYTES_MAX {
            return Err(Error::too_large("audience", AUDIENCE_BYTES_MAX, audience.len()));
        }
        let rules = Rules {
            issuer,
            audience: audience.to_owned(),
            profile,
            leeway_seconds: LEEWAY_SECONDS_DEFAULT,
            lifetime_max: Duration::from_secs(TOKEN_LIFETIME_SECONDS_DEFAULT),
            token_type: None,
        };
        Ok(Self { rules: Arc::new(rules), keys: Arc::new(Keys::new(keys)) })
    }

    pub(super) fn profile_mut(&mut self) -> &mut Profile {
        &mut Arc::make_mut(&mut self.rules).profile
    }

    /// How far the issuer's clock may be apart from ours, in seconds. Default 5.
    ///
    /// # Errors
    /// `InvalidInput` above [`LEEWAY_SECONDS_MAX`].
    pub fn leeway(mut self, seconds: u64) -> Result<Self> {
        if seconds > LEEWAY_SECONDS_MAX {
            return Err(Reason::TooLarge { what: "leeway", limit: LEEWAY_SECONDS_MAX, actual: seconds }.into());
        }
        Arc::make_mut(&mut self.rules).leeway_seconds = seconds;
        Ok(self)
    }

    /// Requires this `typ`, such as `at+jwt`. Default: absent, `JWT` or `at+jwt`.
    ///
    /// Case does not matter, nor does a leading `application/` in the token (RFC 7515, section 4.1.9).
    #[must_use]
    pub fn token_type(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.rules).token_type = Some(name.to_owned());
        self
    }

    /// Longest life of a token, from `iat` to `exp`. Default 24 hours.
    ///
    /// # Errors
    /// `InvalidInput` above [`TOKEN_LIFETIME_SECONDS_MAX`], 31 days.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Result<Self> {
        if lifetime > Duration::from_secs(TOKEN_LIFETIME_SECONDS_MAX) {
            let (limit, actual) = (TOKEN_LIFETIME_SECONDS_MAX, lifetime.as_secs());
            return Err(Reason::TooLarge { what: "lifetime in seconds", limit, actual }.into());
        }
        Arc::make_mut(&mut self.rules).lifetime_max = lifetime;
        Ok(self)
    }

    /// Takes the keys from their source once more, here and in every clone, between one check and the next. Whatever
    /// goes wrong, the old set stays. See [`KeySource`] for files.
    ///
    /// ```
    /// use watertight::{ErrorKind, Issuer, JwtVerifier, Jwks};
    ///
    /// # let keys = Jwks::from_json(
    /// #     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
    /// #                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    /// # )?;
    /// let verifier = JwtVerifier::new(Issuer::new("https://login.example.org/")?, "https://api.example.org", keys)?;
    /// // A set that was given as a value comes from nowhere else.
    /// assert_eq!(verifier.reload().unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the keys were given as a value, or the new set breaks a rule; `Unavailable` when the file cannot
    /// be read; `RetryLater` when they cannot be fetched.
    pub fn reload(&self) -> Result<()> {
        self.keys.reload()
    }

    /// Replaces the key set, here and in every clone, between one check and the next. Parsing comes before: a bad set
    /// never becomes a [`Jwks`].
    ///
    /// ```no_run
    /// # fn renew(verifier: &watertight::JwtVerifier) -> watertight::Result<()> {
    /// verifier.replace_keys(watertight::Jwks::from_file("jwks.json")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn replace_keys(&self, keys: Jwks) {
        self.keys.replace(keys, Timestamp::from_micros(0));
    }

    /// The ids of the keys in use, in the order of their set; none before they are first fetched.
    ///
    /// ```
    /// use watertight::{Issuer, JwtVerifier, Jwks};
    ///
    /// # let keys = Jwks::from_json(
    /// #     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
    /// #                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    /// # )?;
    /// let verifier = JwtVerifier::new(Issuer::new("https://login.example.org/")?, "https://api.example.org", keys)?;
    /// assert_eq!(verifier.key_ids(), ["1"]);
    /// # Ok::<(), watertight::Error>(())
    /// ```
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.keys.current().map_or_else(Vec::new, |keys| keys.key_ids().map(str::to_owned).collect())
    }

    /// Whose tokens are checked. For an Entra application of many directories it has `{tenantid}` in it.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.rules.issuer
    }

    /// Whether it is this verifier that is asked about tokens of an issuer.
    pub(crate) fn speaks_for(&self, issuer: &Issuer) -> bool {
        self.rules.profile.speaks_for(&self.rules.issuer, issuer)
    }

    /// Whether there are issuers that both are asked about.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.issuer() == other.issuer() || self.speaks_for(other.issuer()) || other.speaks_for(self.issuer())
    }

    /// Whether tokens of both name tenants by the same claims.
    pub(crate) fn names_tenants_as(&self, other: &Self) -> bool {
        self.rules.profile.names_tenants_as(&other.rules.profile)
    }

    pub(crate) fn leeway_allowed(&self) -> Duration {
        Duration::from_secs(self.rules.leeway_seconds)
    }

    /// Whom the tokens must be for.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.rules.audience
    }

    /// Checks a tenant's token at the time `now`.
    ///
    /// ```
    /// use watertight::{Issuer, JwtVerifier, Jwks, Scopes, Timestamp};
    ///
    /// # let keys = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
    /// #     "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// # let token = concat!(
    /// #     "eyJhbGciOiJFZERTQSIsImtpZCI6IjEifQ.",
    /// #     "eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUub3JnLyIsImF1ZCI6Imh0dHBzOi8vYXBpLmV4YW1wbGUub3JnIi",
    /// #     "wic3ViIjoiYWxpY2UiLCJ0ZW5hbnRfaWQiOiJhY21lIiwic2NvcGUiOiJyZWFkIiwiaWF0IjoxMDAwMDAwLCJleHAiOjEwMDM2MDB9.",
    /// #     "xQ7tt2Bv-eiWg-7QHayLuHQ5tYP_MeyhV3ciwcLAMHN2-WP_Qq_zXh5Vy0YxLiOSo7UNMmTeY522Vfbg8hkrAA"
    /// # );
    /// let issuer = Issuer::new("https://login.example.org/").unwrap();
    /// let verifier = JwtVerifier::new(issuer, "https://api.example.org", Jwks::from_json(keys).unwrap()).unwrap();
    ///
    /// let claims = verifier.check(token, Timestamp::from_seconds(1_000_100)).unwrap();
    /// assert_eq!(claims.tenant().as_str(), "acme");
    /// assert_eq!(claims.user().subject(), "alice");
    /// assert_eq!(claims.scopes(), Scopes::READ);
    ///
    /// // It is valid for an hour and no longer.
    /// assert!(verifier.check(token, Timestamp::from_seconds(1_003_700)).is_err());
    /// ```
    ///
    /// # Errors
    /// `Unauthenticated` with [`Reason::TokenRefused`], whichever rule the token breaks. `RetryLater` while no key set
    /// has been fetched yet.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<TokenClaims> {
        self.tenant_claims(token, now).map_err(refuse)
    }

    /// Checks an operator's token: the same rules, but a tenant claim must be absent.
    ///
    /// # Errors
    /// As [`JwtVerifier::check`].
    pub(crate) fn check_operator(&self, token: &str, now: Timestamp) -> Result<OperatorClaims> {
        self.operator_claims(token, now).map_err(refuse)
    }

    fn tenant_claims(&self, token: &str, now: Timestamp) -> Result<TokenClaims, Cause> {
        let claims = self.signed_claims(token, now)?;
        let common = self.common(&claims, now)?;
        let profile = &self.rules.profile;
        let tenants = profile.tenants(&claims)?;
        Ok(TokenClaims {
            tenant: tenants.tenant,
            user: common.user,
            groups: profile.groups(&claims)?,
            scopes: tenants.scopes,
            issued_at: common.issued_at,
            expires_at: common.expires_at,
            token_id: common.token_id,
            tenant_name: profile.tenant_name(&claims)?,
            memberships: tenants.memberships,
            names_one: tenants.names_one,
        })
    }

    fn operator_claims(&self, token: &str, now: Timestamp) -> Result<OperatorClaims, Cause> {
        let claims = self.signed_claims(token, now)?;
        // A token that speaks of a tenant at all was not made for an operator.
        if self.rules.profile.speaks_of_tenants(&claims) {
            return Err(Cause::TenantOfOperator);
        }
        self.common(&claims, now)
    }

    /// The claims, once their signature has been verified; nothing is read out of them before.
    fn signed_claims(&self, token: &str, now: Timestamp) -> Result<Claims, Cause> {
        let parts = Parts::of(token)?;
        let header = decode_object(parts.header)?;
        let algorithm = header.text("alg").map_err(|fault| Cause::Header("alg", fault))?;
        let key_id = header.text("kid").map_err(|fault| Cause::Header("kid", fault))?;
        if key_id.is_empty() || key_id.len() > KEY_ID_BYTES_MAX {
            return Err(Cause::Header("kid", Fault::Bounds));
        }
        // What must be understood to be safe is not understood here: no extension is.
        if header.has("crit") || header.has("b64") {
            return Err(Cause::Extension);
        }
        let token_type = header.optional_text("typ").map_err(|fault| Cause::Header("typ", fault))?;
        if !self.rules.accepts_type(token_type) {
            return Err(Cause::TokenType);
        }
        let found = match self.keys.find(key_id, now) {
            Found::Key(found) => found,
            Found::Unknown => return Err(Cause::UnknownKey),
            Found::NoKeys(wait) => return Err(Cause::NoKeys(wait)),
        };
        if algorithm != found.key.algorithm() {
            return Err(Cause::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(parts.signature).map_err(|_| Cause::Encoding)?;
        if !found.key.verifies(parts.signed.as_bytes(), &signature) {
            return Err(Cause::Signature);
        }
        let claims = decode_object(parts.payload)?;
        self.rules.profile.check_key(found.issuer.as_deref(), &claims)?;
        Ok(claims)
    }

    /// The rules that tenants' and operators' tokens share.
    fn common(&self, claims: &Claims, now: Timestamp) -> Result<OperatorClaims, Cause> {
        let seconds = |name| claims.seconds(name).map_err(|fault| Cause::Claim(name, fault));
        let profile = &self.rules.profile;
        let issuer = profile.issuer(claims, &self.rules.issuer)?;
        profile.check_audience(claims, &self.rules.audience)?;
        let subject = profile.subject(claims)?;
        let user = UserId::new(issuer, subject).map_err(|_| Cause::Claim("sub", Fault::Bounds))?;

        let leeway = Duration::from_secs(self.rules.leeway_seconds);
        let (issued, expires) = (seconds("iat")?, seconds("exp")?);
        let not_before = claims.optional_seconds("nbf").map_err(|fault| Cause::Claim("nbf", fault))?;
        let expires_at = Timestamp::from_seconds(expires).after(leeway);
        if now >= expires_at {
            return Err(Cause::Expired);
        }
        if Timestamp::from_seconds(issued.max(not_before.unwrap_or(0))) > now.after(leeway) {
            return Err(Cause::NotYet);
        }
        if expires <= issued || Duration::from_secs(expires - issued) > self.rules.lifetime_max {
            return Err(Cause::Lifetime);
        }
        let token_id = claims.token_id().map_err(|fault| Cause::Claim("jti", fault))?;
        Ok(OperatorClaims { user, issued_at: Timestamp::from_seconds(issued), expires_at, token_id })
    }
}

impl Rules {
    fn accepts_type(&self, found: Option<&str>) -> bool {
        const PREFIX: &str = "application/";
        let bare = found.map(|name| match name.split_at_checked(PREFIX.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
            _ => name,
        });
        match (&self.token_type, bare) {
            (Some(required), Some(name)) => name.eq_ignore_ascii_case(required),
            (Some(_), None) => false,
            (None, Some(name)) => name.eq_ignore_ascii_case("JWT") || name.eq_ignore_ascii_case("at+jwt"),
            (None, None) => true,
        }
    }
}

fn refuse(cause: Cause) -> Error {
    tracing::debug!(?cause, "token refused");
    match cause {
        // Says nothing of the token, which nobody has looked into.
        Cause::NoKeys(wait) => Error::from(Reason::KeysUnavailable).after(wait),
        _ => Reason::TokenRefused.into(),
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    use super::*;
    use crate::identity::token::unverified_issuer;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn verifier() -> JwtVerifier {
        let x = URL_SAFE_NO_PAD.encode(pair().public_key());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}).to_string();
        JwtVerifier::new(Issuer::new("ops").unwrap(), "engine", Jwks::from_json(&keys).unwrap()).unwrap()
    }

    fn token(claims: &Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(pair().sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn operator() -> Value {
        json!({"iss": "ops", "aud": "engine", "sub": "root@example.org", "iat": 990, "exp": 1_100, "jti": "j"})
    }

    #[test]
    fn an_operators_token_names_no_tenant() {
        let claims = verifier().check_operator(&token(&operator()), NOW).unwrap();
        assert_eq!(claims.user.subject(), "root@example.org");
        assert_eq!(claims.issued_at, Timestamp::from_seconds(990));
        assert_eq!(claims.expires_at, Timestamp::from_seconds(1_105));
        assert_eq!(claims.token_id.as_deref(), Some("j"));
        for tenant in [json!("acme"), json!(""), json!(null), json!(["acme"])] {
            let mut claims = operator();
            claims["tenant_id"] = tenant;
            let refused = verifier().check_operator(&token(&claims), NOW).unwrap_err();
            assert_eq!(refused.reason(), &Reason::TokenRefused);
        }
        // Nor does a tenant's door open to an operator.
        assert!(verifier().check(&token(&operator()), NOW).is_err());
    }

    #[test]
    fn an_operators_token_obeys_the_common_rules() {
        for (name, value) in [
            ("iss", json!("other")),
            ("aud", json!("other")),
            ("sub", json!("")),
            ("exp", json!(990)),
            ("iat", json!(1_006)),
            ("nbf", json!(1_006)),
            ("exp", json!(999_999)),
        ] {
            let mut claims = operator();
            claims[name] = value;
            assert!(verifier().check_operator(&token(&claims), NOW).is_err(), "{name}");
        }
    }

    #[test]
    fn each_kind_of_fault_has_its_cause() {
        let cause = |claims: &Value| verifier().operator_claims(&token(claims), NOW).unwrap_err();
        let mut claims = operator();
        claims["exp"] = json!("1100");
        assert_eq!(cause(&claims), Cause::Claim("exp", Fault::Type));
        claims["exp"] = json!(991);
        assert_eq!(cause(&claims), Cause::Expired);
        let cut = token(&operator());
        assert_eq!(verifier().operator_claims(&cut[..cut.len() - 2], NOW).unwrap_err(), Cause::Signature);
        assert_eq!(verifier().operator_claims("a.b", NOW).unwrap_err(), Cause::Parts);
        assert_eq!(verifier().operator_claims(&"a".repeat(8_193), NOW).unwrap_err(), Cause::Length);
    }

    #[test]
    fn the_unverified_issuer_is_total() {
        assert_eq!(unverified_issuer(&token(&operator())), Issuer::new("ops").ok());
        for iss in [json!(null), json!(["ops"]), json!(""), json!("a b"), json!("x".repeat(256)), json!(1)] {
            assert_eq!(unverified_issuer(&token(&json!({ "iss": iss }))), None);
        }
        for bad in ["", ".", "..", "a.b.c", "....", "é.é.é"] {
            assert_eq!(unverified_issuer(bad), None);
        }
        let long = token(&json!({"iss": "ops", "pad": "a".repeat(8_192)}));
        assert_eq!(unverified_issuer(&long), None);
    }
}
