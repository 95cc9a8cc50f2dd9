//! Signed tokens: JWS compact serialisation (RFC 7515, RFC 7519), with the rules of RFC 8725 and no options to
//! leave one out.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;

use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{Issuer, TenantId, UserId};
use crate::identity::claims::{Claims, Fault, OperatorClaims, TokenClaims};
use crate::identity::jwks::Jwks;
use crate::limits::{
    AUDIENCE_BYTES_MAX, KEY_ID_BYTES_MAX, LEEWAY_SECONDS_DEFAULT, LEEWAY_SECONDS_MAX, TOKEN_BYTES_MAX,
    TOKEN_LIFETIME_SECONDS_DEFAULT,
};

/// Checks the tokens of one issuer for one audience.
///
/// The algorithm is the key's, never the token's choice; the key is the one of the set with exactly the token's
/// `kid`, never one that the token brings along or points to. `exp`, `iat`, `iss`, `aud`, `sub` and the tenant
/// claim are required. Whatever a token breaks, the answer is the same [`Reason::TokenRefused`]; the cause is
/// logged at debug level.
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
///     .tenant_claim("org_id")
///     .scope_claim("permissions")
///     .groups_claim("roles")
///     .token_type("at+jwt")
///     .max_lifetime(std::time::Duration::from_secs(3_600))
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
    keys: Arc<RwLock<Arc<Jwks>>>,
}

#[derive(Debug, Clone)]
struct Rules {
    issuer: Issuer,
    audience: String,
    tenant_claim: String,
    scope_claim: String,
    groups_claim: String,
    leeway_seconds: u64,
    lifetime_max: Duration,
    /// `None` accepts an absent `typ`, `JWT` and `at+jwt`.
    token_type: Option<String>,
}

impl JwtVerifier {
    /// A verifier of what `issuer` signs with `keys` for `audience`.
    ///
    /// See [`JwtVerifier`] for an example.
    ///
    /// # Errors
    /// `InvalidInput` when the issuer is [`Issuer::authority`] or [`Issuer::erased`], whose identities come from no
    /// token, or the audience is empty or longer than [`AUDIENCE_BYTES_MAX`].
    pub fn new(issuer: Issuer, audience: &str, keys: Jwks) -> Result<Self> {
        if issuer.is_authority() {
            return Err(Error::invalid("issuer", "the application's own authority signs no tokens"));
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
            tenant_claim: "tenant_id".to_owned(),
            scope_claim: "scope".to_owned(),
            groups_claim: "groups".to_owned(),
            leeway_seconds: LEEWAY_SECONDS_DEFAULT,
            lifetime_max: Duration::from_secs(TOKEN_LIFETIME_SECONDS_DEFAULT),
            token_type: None,
        };
        Ok(Self { rules: Arc::new(rules), keys: Arc::new(RwLock::new(Arc::new(keys))) })
    }

    /// The top-level claim that names the tenant, such as `org_id` or `custom:tenant_id`. Default `tenant_id`.
    ///
    /// The name is taken as it is; a dot in it is not a path.
    #[must_use]
    pub fn tenant_claim(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.rules).tenant_claim = name.to_owned();
        self
    }

    /// The claim with the scopes: a string of words separated by spaces, or an array of words. Default `scope`.
    ///
    /// A token without it has no scopes.
    #[must_use]
    pub fn scope_claim(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.rules).scope_claim = name.to_owned();
        self
    }

    /// The claim with the groups: an array of at most [`GROUPS_MAX`](crate::limits::GROUPS_MAX) strings. Default
    /// `groups`.
    ///
    /// A token without it is of no group; one with too many is refused.
    #[must_use]
    pub fn groups_claim(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.rules).groups_claim = name.to_owned();
        self
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
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        Arc::make_mut(&mut self.rules).lifetime_max = lifetime;
        self
    }

    /// Replaces the key set, here and in every clone, between one check and the next.
    ///
    /// Parsing comes before: a bad file never becomes a [`Jwks`], and the old set stays.
    ///
    /// ```no_run
    /// # fn renew(verifier: &watertight::JwtVerifier) -> watertight::Result<()> {
    /// verifier.reload(watertight::Jwks::from_file("jwks.json")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reload(&self, keys: Jwks) {
        *self.keys.write() = Arc::new(keys);
    }

    /// Whose tokens are checked.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.rules.issuer
    }

    pub(crate) fn tenant_claim_name(&self) -> &str {
        &self.rules.tenant_claim
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
    /// `Unauthenticated` with [`Reason::TokenRefused`], whichever rule the token breaks.
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
        let claims = self.signed_claims(token)?;
        let common = self.common(&claims, now)?;
        let tenant = claims.text(&self.rules.tenant_claim).map_err(|fault| Cause::Claim("tenant", fault))?;
        Ok(TokenClaims {
            tenant: TenantId::new(tenant).map_err(|_| Cause::Claim("tenant", Fault::Bounds))?,
            user: common.user,
            groups: claims.groups(&self.rules.groups_claim).map_err(|fault| Cause::Claim("groups", fault))?,
            scopes: claims.scopes(&self.rules.scope_claim).map_err(|fault| Cause::Claim("scope", fault))?,
            issued_at: common.issued_at,
            expires_at: common.expires_at,
            token_id: common.token_id,
        })
    }

    fn operator_claims(&self, token: &str, now: Timestamp) -> Result<OperatorClaims, Cause> {
        let claims = self.signed_claims(token)?;
        // Even `null` counts: a token that speaks of a tenant at all was not made for an operator.
        if claims.has(&self.rules.tenant_claim) {
            return Err(Cause::TenantOfOperator);
        }
        self.common(&claims, now)
    }

    /// The claims, once their signature has been verified; nothing is read out of them before.
    fn signed_claims(&self, token: &str) -> Result<Claims, Cause> {
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
        // Taken once, so that a reload between two looks cannot mix two sets.
        let keys = Arc::clone(&self.keys.read());
        let key = keys.find(key_id).ok_or(Cause::UnknownKey)?;
        if algorithm != key.algorithm() {
            return Err(Cause::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(parts.signature).map_err(|_| Cause::Encoding)?;
        if !key.verifies(parts.signed.as_bytes(), &signature) {
            return Err(Cause::Signature);
        }
        decode_object(parts.payload)
    }

    /// The rules that tenants' and operators' tokens share.
    fn common(&self, claims: &Claims, now: Timestamp) -> Result<OperatorClaims, Cause> {
        let seconds = |name| claims.seconds(name).map_err(|fault| Cause::Claim(name, fault));
        if claims.text("iss").map_err(|fault| Cause::Claim("iss", fault))? != self.rules.issuer.as_str() {
            return Err(Cause::Issuer);
        }
        let audiences = claims.optional_text_or_texts("aud").map_err(|fault| Cause::Claim("aud", fault))?;
        if !audiences.ok_or(Cause::Claim("aud", Fault::Missing))?.contains(&self.rules.audience.as_str()) {
            return Err(Cause::Audience);
        }
        let subject = claims.text("sub").map_err(|fault| Cause::Claim("sub", fault))?;
        let user = UserId::new(self.rules.issuer.clone(), subject).map_err(|_| Cause::Claim("sub", Fault::Bounds))?;

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

/// The issuer that a token claims, without any proof: good for choosing a verifier and for nothing else.
pub(crate) fn unverified_issuer(token: &str) -> Option<Issuer> {
    let payload = decode_object(Parts::of(token).ok()?.payload).ok()?;
    Issuer::new(payload.text("iss").ok()?).ok()
}

/// The three parts of a token, still encoded, and the text that is signed.
struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, Cause> {
        // Before anything looks at the bytes.
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Cause::Length);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Cause::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(Cause::Parts)?;
        if payload.contains('.') {
            return Err(Cause::Parts);
        }
        Ok(Self { header, payload, signature, signed })
    }
}

/// Canonical base64url (no padding, no whitespace, no stray bits) of one strict JSON object.
fn decode_object(part: &str) -> Result<Claims, Cause> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Cause::Encoding)?;
    Claims::parse(&bytes).ok_or(Cause::Json)
}

/// Why a token was refused. It goes to the log and nowhere else: told to the caller, it would help who probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Length,
    Parts,
    Encoding,
    Json,
    Header(&'static str, Fault),
    Extension,
    TokenType,
    UnknownKey,
    Algorithm,
    Signature,
    Claim(&'static str, Fault),
    Issuer,
    Audience,
    Expired,
    NotYet,
    Lifetime,
    TenantOfOperator,
}

fn refuse(cause: Cause) -> Error {
    tracing::debug!(?cause, "token refused");
    Reason::TokenRefused.into()
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    use super::*;

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
