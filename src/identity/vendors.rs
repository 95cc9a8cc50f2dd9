//! Verifiers for Auth0, Microsoft Entra ID and Amazon Cognito, and the forms of their issuers.

use super::jwt::JwtVerifier;
use super::key_source::KeySource;
use super::profile::{Kind, Profile};
use crate::error::{Error, Result};
use crate::id::Issuer;

impl JwtVerifier {
    /// A verifier of Auth0's access tokens: the organisation `org_id` is the tenant, `org_name` its name, and
    /// `permissions` are the scopes. `issuer` is the domain with its slash, `https://example.eu.auth0.com/`; `audience` the
    /// identifier of the API.
    ///
    /// ```
    /// use watertight::{Issuer, JwtVerifier, Jwks, Scopes};
    ///
    /// # let keys = || Jwks::from_json(
    /// #     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
    /// #                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    /// # );
    /// let issuer = Issuer::new("https://example.eu.auth0.com/")?;
    /// let verifier = JwtVerifier::auth0(issuer, "https://api.example.org", keys()?)?
    ///     .grant("read:notes", Scopes::READ)
    ///     .grant("edit:notes", Scopes::READ | Scopes::WRITE);
    /// # let _ = verifier;
    ///
    /// // Auth0 puts a slash behind its name.
    /// assert!(JwtVerifier::auth0(Issuer::new("https://example.eu.auth0.com")?, "api", keys()?).is_err());
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`JwtVerifier::new`], and `InvalidInput` when the issuer has another form.
    pub fn auth0(issuer: Issuer, audience: &str, keys: impl Into<KeySource>) -> Result<Self> {
        if !(issuer.as_str().starts_with("https://") && issuer.as_str().ends_with('/')) {
            return Err(Error::invalid("issuer", "Auth0's begins with https:// and ends with a slash"));
        }
        Self::with_profile(
            issuer,
            audience,
            keys.into(),
            Profile {
                tenant: "org_id".into(),
                tenant_name: Some("org_name".into()),
                scopes: "permissions".into(),
                ..Profile::plain()
            },
        )
    }

    /// A verifier of Microsoft Entra ID's access tokens: the directory `tid` is the tenant, the object `oid` the user, and
    /// `roles` are the scopes.
    ///
    /// `issuer` is `https://login.microsoftonline.com/<directory>/v2.0` with the directory's id for one directory, or with
    /// `{tenantid}`, as Microsoft's own metadata has it, for an application of many. `iss` must be that of the token's own
    /// `tid`, and so must the issuer that Microsoft's key set names beside a key. Each directory is an issuer of its own,
    /// so a tenant trusts `https://login.microsoftonline.com/<its directory>/v2.0`. A token whose groups are elsewhere
    /// (`_claim_names`), because there are too many, is refused.
    ///
    /// ```
    /// use watertight::{Issuer, JwtVerifier, Jwks};
    ///
    /// # let keys = || Jwks::from_json(
    /// #     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
    /// #                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    /// # );
    /// let many = Issuer::new("https://login.microsoftonline.com/{tenantid}/v2.0")?;
    /// let verifier = JwtVerifier::entra(many, "6e74172b-be56-4843-9ff4-e66a39bb12e3", keys()?)?;
    /// # let _ = verifier;
    ///
    /// let common = Issuer::new("https://login.microsoftonline.com/common/v2.0")?;
    /// assert!(JwtVerifier::entra(common, "6e74172b-be56-4843-9ff4-e66a39bb12e3", keys()?).is_err());
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`JwtVerifier::new`], and `InvalidInput` when the issuer has another form.
    pub fn entra(issuer: Issuer, audience: &str, keys: impl Into<KeySource>) -> Result<Self> {
        let named = EntraIssuer::parse(&issuer).ok_or_else(|| {
            Error::invalid(
                "issuer",
                "Entra's is https://<host>/<directory id or {tenantid}>/, with v2.0 behind it or not",
            )
        })?;
        Self::with_profile(
            issuer,
            audience,
            keys.into(),
            Profile { kind: Kind::Entra(named), tenant: "tid".into(), scopes: "roles".into(), ..Profile::plain() },
        )
    }

    /// A verifier of Amazon Cognito's access tokens: `custom:tenant_id` is the tenant, `custom:tenant_name` its name,
    /// `scope` has the scopes, `cognito:groups` the groups. `issuer` is that of the user pool,
    /// `https://cognito-idp.<region>.amazonaws.com/<pool id>`; `client_id` must be that of the token, which stands in place
    /// of an audience.
    ///
    /// Cognito puts attributes into access tokens only where a pre-token-generation trigger says so. Its scopes have the
    /// resource server's name before them, so each needs a [`grant`](Self::grant).
    ///
    /// ```
    /// use watertight::{Issuer, JwtVerifier, Jwks, Scopes};
    ///
    /// # let keys = || Jwks::from_json(
    /// #     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
    /// #                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    /// # );
    /// let pool = Issuer::new("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123")?;
    /// let verifier = JwtVerifier::cognito(pool, "1example23456789", keys()?)?.grant("notes/read", Scopes::READ);
    /// # let _ = verifier;
    ///
    /// let elsewhere = Issuer::new("https://cognito-idp.eu-west-1.amazonaws.com/us-east-1_AbCdEf123")?;
    /// assert!(JwtVerifier::cognito(elsewhere, "1example23456789", keys()?).is_err());
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`JwtVerifier::new`], and `InvalidInput` when the issuer has another form.
    pub fn cognito(issuer: Issuer, client_id: &str, keys: impl Into<KeySource>) -> Result<Self> {
        Self::of_user_pool(issuer, client_id, keys.into(), Kind::CognitoAccess)
    }

    /// As [`JwtVerifier::cognito`], for identity tokens, which carry a user's attributes and no scopes: what such a user
    /// may do comes from its groups and from the tenant.
    ///
    /// ```
    /// use watertight::{Issuer, JwtVerifier, Jwks};
    ///
    /// # let keys = Jwks::from_json(
    /// #     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
    /// #                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    /// # )?;
    /// let pool = Issuer::new("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123")?;
    /// let verifier = JwtVerifier::cognito_id_tokens(pool, "1example23456789", keys)?;
    /// assert_eq!(verifier.audience(), "1example23456789");
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`JwtVerifier::cognito`].
    pub fn cognito_id_tokens(issuer: Issuer, client_id: &str, keys: impl Into<KeySource>) -> Result<Self> {
        Self::of_user_pool(issuer, client_id, keys.into(), Kind::CognitoId)
    }

    fn of_user_pool(issuer: Issuer, client_id: &str, keys: KeySource, kind: Kind) -> Result<Self> {
        if !is_user_pool(issuer.as_str()) {
            let rule = "Cognito's is https://cognito-idp.<region>.amazonaws.com/<region>_<id>";
            return Err(Error::invalid("issuer", rule));
        }
        Self::with_profile(
            issuer,
            client_id,
            keys,
            Profile {
                kind,
                tenant: "custom:tenant_id".into(),
                tenant_name: Some("custom:tenant_name".into()),
                groups: "cognito:groups".into(),
                ..Profile::plain()
            },
        )
    }
}

/// What Microsoft's metadata has in place of a directory's id.
pub(super) const ANY_DIRECTORY: &str = "{tenantid}";

/// `https://<host>/<directory>/v2.0`, or without `v2.0`; of one directory or of any.
#[derive(Debug, Clone)]
pub(super) struct EntraIssuer {
    before: String,
    /// Absent for any.
    directory: Option<String>,
    after: String,
}

impl EntraIssuer {
    pub(super) fn parse(issuer: &Issuer) -> Option<Self> {
        let (host, path) = issuer.as_str().strip_prefix("https://")?.split_once('/')?;
        let (directory, version) = path.split_once('/')?;
        let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        let is_any = directory == ANY_DIRECTORY;
        if !is_host || !(is_any || is_guid(directory)) || !["", "v2.0"].contains(&version) {
            return None;
        }
        let directory = (!is_any).then(|| directory.to_owned());
        Some(Self { before: format!("https://{host}/"), directory, after: format!("/{version}") })
    }

    pub(super) fn matches(&self, issuer: &str) -> bool {
        let directory = issuer.strip_prefix(&self.before).and_then(|rest| rest.strip_suffix(&self.after));
        directory.is_some_and(|directory| self.of(directory).is_some())
    }

    /// The issuer that speaks for this directory.
    pub(super) fn of(&self, directory: &str) -> Option<Issuer> {
        if !is_guid(directory) || self.directory.as_ref().is_some_and(|only| only != directory) {
            return None;
        }
        Issuer::new(&format!("{}{directory}{}", self.before, self.after)).ok()
    }
}

/// A GUID as Entra writes them: lower case, with hyphens.
pub(super) fn is_guid(text: &str) -> bool {
    let is_place = |at| matches!(at, 8 | 13 | 18 | 23);
    let fits = |(at, b): (usize, u8)| if is_place(at) { b == b'-' } else { matches!(b, b'0'..=b'9' | b'a'..=b'f') };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

fn is_user_pool(issuer: &str) -> bool {
    let parts = issuer.strip_prefix("https://cognito-idp.").and_then(|rest| rest.split_once('/'));
    let Some((host, pool)) = parts else { return false };
    let region = [".amazonaws.com", ".amazonaws.com.cn"].iter().find_map(|end| host.strip_suffix(end));
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    region.is_some_and(|region| {
        is_word(region) && pool.strip_prefix(region).and_then(|id| id.strip_prefix('_')).is_some_and(is_word)
    })
}
