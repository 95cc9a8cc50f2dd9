//! Where an issuer's tokens say what: ready for Auth0, Microsoft Entra ID and Amazon Cognito, or any paths.

use std::collections::BTreeSet;

use serde_json::Value;

use super::claim_path::ClaimPath;
use super::claims::{Claims, Fault, words_of};
use super::jwt::JwtVerifier;
use super::key_source::KeySource;
use super::membership::Membership;
use super::scope::Scopes;
use super::token::Cause;
use crate::error::{Error, Result};
use crate::id::{Issuer, TenantId};
use crate::limits::{MEMBERSHIPS_MAX, TENANT_NAME_BYTES_MAX};

/// How one issuer speaks.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    kind: Kind,
    pub(super) tenant: ClaimPath,
    pub(super) tenants: Option<ClaimPath>,
    pub(super) tenant_name: Option<ClaimPath>,
    pub(super) scopes: ClaimPath,
    /// What single words grant. While there are none, the four words of [`Scopes`] do.
    pub(super) grants: Vec<(String, Scopes)>,
    pub(super) groups: ClaimPath,
}

/// Rules beyond the common ones.
#[derive(Debug, Clone)]
enum Kind {
    Plain,
    Entra(EntraIssuer),
    CognitoAccess,
    CognitoId,
}

/// What a token says of tenants.
pub(super) struct Tenants {
    pub(super) tenant: TenantId,
    pub(super) scopes: Scopes,
    pub(super) memberships: Vec<Membership>,
    pub(super) names_one: bool,
}

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

impl Profile {
    pub(super) fn plain() -> Self {
        Self {
            kind: Kind::Plain,
            tenant: "tenant_id".into(),
            tenants: None,
            tenant_name: None,
            scopes: "scope".into(),
            grants: Vec::new(),
            groups: "groups".into(),
        }
    }

    /// Whether the verifier of this issuer is asked about tokens of that one.
    pub(super) fn speaks_for(&self, issuer: &Issuer, claimed: &Issuer) -> bool {
        match &self.kind {
            Kind::Entra(named) => named.matches(claimed.as_str()),
            Kind::Plain | Kind::CognitoAccess | Kind::CognitoId => issuer == claimed,
        }
    }

    /// Whether both look for tenants in the same claims, so that a token without one for the one has none for the other.
    pub(super) fn names_tenants_as(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.tenants == other.tenants
    }

    /// Whether the token speaks of a tenant at all: even `null` counts, and what cannot be read.
    pub(super) fn speaks_of_tenants(&self, claims: &Claims) -> bool {
        [Some(&self.tenant), self.tenants.as_ref()].into_iter().flatten().any(|path| claims.at(path) != Ok(None))
    }

    /// The issuer, if it is the one that `iss` must name.
    pub(super) fn issuer(&self, claims: &Claims, expected: &Issuer) -> Result<Issuer, Cause> {
        let iss = claims.text("iss").map_err(|fault| Cause::Claim("iss", fault))?;
        let expected = match &self.kind {
            Kind::Entra(named) => {
                let directory = claims.text("tid").map_err(|fault| Cause::Claim("tid", fault))?;
                named.of(directory).ok_or(Cause::Claim("tid", Fault::Bounds))?
            }
            Kind::Plain | Kind::CognitoAccess | Kind::CognitoId => expected.clone(),
        };
        if iss == expected.as_str() { Ok(expected) } else { Err(Cause::Issuer) }
    }

    /// The issuer that a key set names beside the key must be the token's: a key of one directory must not sign for others.
    pub(super) fn check_key(&self, key_issuer: Option<&str>, claims: &Claims) -> Result<(), Cause> {
        let (Kind::Entra(_), Some(named)) = (&self.kind, key_issuer) else { return Ok(()) };
        let directory = claims.text("tid").map_err(|fault| Cause::Claim("tid", fault))?;
        let iss = claims.text("iss").map_err(|fault| Cause::Claim("iss", fault))?;
        if named.replace(ANY_DIRECTORY, directory) == iss { Ok(()) } else { Err(Cause::KeyIssuer) }
    }

    /// The token is for `audience`.
    pub(super) fn check_audience(&self, claims: &Claims, audience: &str) -> Result<(), Cause> {
        let audiences = claims.optional_text_or_texts("aud").map_err(|fault| Cause::Claim("aud", fault))?;
        let use_of = || claims.text("token_use").map_err(|fault| Cause::Claim("token_use", fault));
        match self.kind {
            Kind::CognitoAccess => {
                let client = claims.text("client_id").map_err(|fault| Cause::Claim("client_id", fault))?;
                if use_of()? != "access" {
                    return Err(Cause::TokenUse);
                }
                // A token that was bound to some other resource has an audience as well.
                if client != audience || audiences.is_some_and(|named| !named.contains(&audience)) {
                    return Err(Cause::Audience);
                }
                return Ok(());
            }
            Kind::CognitoId if use_of()? != "id" => return Err(Cause::TokenUse),
            Kind::CognitoId | Kind::Plain | Kind::Entra(_) => {}
        }
        let named = audiences.ok_or(Cause::Claim("aud", Fault::Missing))?;
        if named.contains(&audience) { Ok(()) } else { Err(Cause::Audience) }
    }

    /// Who the user is.
    pub(super) fn subject<'a>(&self, claims: &'a Claims) -> Result<&'a str, Cause> {
        let subject = claims.text("sub").map_err(|fault| Cause::Claim("sub", fault))?;
        let Kind::Entra(_) = self.kind else { return Ok(subject) };
        // Entra's `sub` differs from application to application; the object's id is the same in all of them.
        let object = claims.text("oid").map_err(|fault| Cause::Claim("oid", fault))?;
        if subject.is_empty() || !is_guid(object) {
            return Err(Cause::Claim("oid", Fault::Bounds));
        }
        Ok(object)
    }

    pub(super) fn groups(&self, claims: &Claims) -> Result<Vec<String>, Cause> {
        let elsewhere = ["_claim_names", "groups"].into();
        if matches!(self.kind, Kind::Entra(_)) && (claims.has("hasgroups") || claims.at(&elsewhere) != Ok(None)) {
            return Err(Cause::GroupsElsewhere);
        }
        claims.groups(&self.groups).map_err(|fault| Cause::Claim("groups", fault))
    }

    pub(super) fn tenant_name(&self, claims: &Claims) -> Result<Option<String>, Cause> {
        let Some(path) = &self.tenant_name else { return Ok(None) };
        let fault = |fault| Cause::Claim("tenant name", fault);
        let Some(name) = claims.optional_text_at(path).map_err(fault)? else { return Ok(None) };
        if name.len() > TENANT_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(fault(Fault::Bounds));
        }
        Ok(Some(name.to_owned()))
    }

    /// The tenants that the token names and lists, with what it allows at each.
    pub(super) fn tenants(&self, claims: &Claims) -> Result<Tenants, Cause> {
        let words = claims.words(&self.scopes).map_err(|fault| Cause::Claim("scope", fault))?;
        let scopes = self.scopes_of(words);
        let fault = |fault| Cause::Claim("tenant", fault);
        let named = claims.optional_text_at(&self.tenant).map_err(fault)?;
        let named = named.map(TenantId::new).transpose().map_err(|_| fault(Fault::Bounds))?;
        let listed = match &self.tenants {
            Some(path) => claims.at(path).map_err(fault)?.map(|value| self.listed(value, scopes)).transpose(),
            None => Ok(None),
        };
        let memberships = match listed.map_err(fault)? {
            Some(listed) => listed,
            None => {
                let tenant = named.clone().ok_or(fault(Fault::Missing))?;
                vec![Membership { tenant, scopes, has_groups: true }]
            }
        };
        let names_one = named.is_some() || memberships.len() == 1;
        let found = match &named {
            Some(named) => memberships.iter().find(|member| member.tenant == *named),
            None => memberships.first(),
        };
        // A token that names one tenant and lists others contradicts itself.
        let Membership { tenant, scopes, .. } = found.ok_or(Cause::Membership)?.clone();
        Ok(Tenants { tenant, scopes, memberships, names_one })
    }

    /// An array of tenants, or an object from tenants to words.
    fn listed(&self, value: &Value, scopes: Scopes) -> Result<Vec<Membership>, Fault> {
        let listed: Vec<(&str, Scopes, bool)> = match value {
            Value::Array(items) => {
                let names = items.iter().map(|item| item.as_str().map(|name| (name, scopes, true)));
                names.collect::<Option<_>>().ok_or(Fault::Type)?
            }
            Value::Object(members) => {
                let each =
                    members.iter().map(|(name, words)| Ok((name.as_str(), self.scopes_of(words_of(words)?), false)));
                each.collect::<Result<_, Fault>>()?
            }
            _ => return Err(Fault::Type),
        };
        if listed.is_empty() || listed.len() > MEMBERSHIPS_MAX {
            return Err(Fault::Bounds);
        }
        if listed.iter().map(|(name, ..)| name).collect::<BTreeSet<_>>().len() < listed.len() {
            return Err(Fault::Bounds);
        }
        let member = |(name, scopes, has_groups)| {
            TenantId::new(name).map(|tenant| Membership { tenant, scopes, has_groups }).map_err(|_| Fault::Bounds)
        };
        listed.into_iter().map(member).collect()
    }

    fn scopes_of(&self, words: Vec<&str>) -> Scopes {
        if self.grants.is_empty() {
            return Scopes::from_words(words);
        }
        let granted = self.grants.iter().filter(|(word, _)| words.contains(&word.as_str()));
        granted.fold(Scopes::NONE, |all, (_, scopes)| all.union(*scopes))
    }
}

/// What Microsoft's metadata has in place of a directory's id.
const ANY_DIRECTORY: &str = "{tenantid}";

/// `https://<host>/<directory>/v2.0`, or without `v2.0`; of one directory or of any.
#[derive(Debug, Clone)]
struct EntraIssuer {
    before: String,
    /// Absent for any.
    directory: Option<String>,
    after: String,
}

impl EntraIssuer {
    fn parse(issuer: &Issuer) -> Option<Self> {
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

    fn matches(&self, issuer: &str) -> bool {
        let directory = issuer.strip_prefix(&self.before).and_then(|rest| rest.strip_suffix(&self.after));
        directory.is_some_and(|directory| self.of(directory).is_some())
    }

    /// The issuer that speaks for this directory.
    fn of(&self, directory: &str) -> Option<Issuer> {
        if !is_guid(directory) || self.directory.as_ref().is_some_and(|only| only != directory) {
            return None;
        }
        Issuer::new(&format!("{}{directory}{}", self.before, self.after)).ok()
    }
}

/// A GUID as Entra writes them: lower case, with hyphens.
fn is_guid(text: &str) -> bool {
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
