//! Where an issuer's tokens say what, and what else must hold of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::claim_path::ClaimPath;
use super::claims::{Claims, Fault, words_of};
use super::jwt::JwtVerifier;
use super::membership::Membership;
use super::scope::Scopes;
use super::token::Cause;
use super::vendors::{ANY_DIRECTORY, EntraIssuer, is_guid};
use crate::id::{Issuer, TenantId};
use crate::limits::{MEMBERSHIPS_MAX, TENANT_NAME_BYTES_MAX};
use crate::line::check_line;

/// How one issuer speaks.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) kind: Kind,
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
pub(super) enum Kind {
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
    /// The claim that names the tenant: one name such as `org_id`, taken as it is, or an array of names for a member of a
    /// member. Default `tenant_id`.
    #[must_use]
    pub fn tenant_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.profile_mut().tenant = path.into();
        self
    }

    /// The claim that lists the tenants of a user who has several: an array of at most
    /// [`MEMBERSHIPS_MAX`] names, at each of which the token's scopes and groups hold, or
    /// an object that gives each name its own scopes. None by default.
    ///
    /// The tenant claim may then be absent. If it is there, the list must have it.
    ///
    /// ```
    /// use watertight::{Issuer, JwtVerifier, Jwks};
    ///
    /// # let keys = Jwks::from_json(
    /// #     r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
    /// #                   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    /// # )?;
    /// // {"memberships": {"acme": ["read", "write"], "globex": ["read"]}, ...}
    /// let verifier = JwtVerifier::new(Issuer::new("https://login.example.org/")?, "https://api.example.org", keys)?
    ///     .tenants_claim("memberships");
    /// # let _ = verifier;
    /// # Ok::<(), watertight::Error>(())
    /// ```
    #[must_use]
    pub fn tenants_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.profile_mut().tenants = Some(path.into());
        self
    }

    /// The claim with what the issuer calls the tenant, for display. None by default.
    #[must_use]
    pub fn tenant_name_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.profile_mut().tenant_name = Some(path.into());
        self
    }

    /// The claim with the scopes: a string of words separated by spaces, or an array of words. Default `scope`.
    ///
    /// A token without it has no scopes.
    #[must_use]
    pub fn scope_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.profile_mut().scopes = path.into();
        self
    }

    /// Lets one word of the scopes grant this much. From the first such word on, no other words grant anything; without
    /// any, the words `read`, `write`, `delete` and `admin` do.
    ///
    /// See [`JwtVerifier::auth0`] for an example.
    #[must_use]
    pub fn grant(mut self, word: &str, scopes: Scopes) -> Self {
        self.profile_mut().grants.push((word.to_owned(), scopes));
        self
    }

    /// The claim with the groups: an array of at most [`GROUPS_MAX`](crate::limits::GROUPS_MAX) strings. Default
    /// `groups`.
    ///
    /// A token without it is of no group; one with too many is refused.
    #[must_use]
    pub fn groups_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.profile_mut().groups = path.into();
        self
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
        if name.len() > TENANT_NAME_BYTES_MAX || check_line("tenant name", name).is_err() {
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
