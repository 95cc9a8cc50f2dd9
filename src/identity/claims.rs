//! What a token says: strict JSON underneath, typed claims on top.
//!
//! `serde_json` keeps the last of two equal members and other parsers keep the first, so a token with duplicates
//! means different things to different readers. Here duplicates at any depth, trailing data and deep nesting are
//! refused, and a claim of another type than its own is as bad as a missing one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::clock::Timestamp;
use crate::id::{Issuer, TenantId, UserId, check_token_id};
use crate::identity::claim_path::ClaimPath;
use crate::identity::membership::Membership;
use crate::identity::scope::Scopes;
use crate::limits::{CLAIM_SECONDS_MAX, GROUP_BYTES_MAX, GROUPS_MAX, TOKEN_JSON_DEPTH_MAX};
use crate::line::check_name;

/// What a checked token says about a user of a tenant.
///
/// It conveys no power by itself: only [`Engine::verify`](crate::Engine::verify) makes a `VerifiedIdentity`, after
/// it has asked whether the tenant trusts the issuer. A `TokenClaims` is for logs, tests and diagnosis.
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
/// let issuer = Issuer::new("https://login.example.org/")?;
/// let verifier = JwtVerifier::new(issuer.clone(), "https://api.example.org", Jwks::from_json(keys)?)?;
/// let claims = verifier.check(token, Timestamp::from_seconds(1_000_100))?;
/// assert_eq!((claims.tenant().as_str(), claims.user().subject(), claims.issuer()), ("acme", "alice", &issuer));
/// assert_eq!((claims.scopes(), claims.groups(), claims.token_id()), (Scopes::READ, &[][..], None));
/// assert_eq!((claims.tenant_name(), claims.memberships().len()), (None, 1));
/// assert_eq!(claims.issued_at(), Timestamp::from_seconds(1_000_000));
/// // With the leeway of five seconds.
/// assert_eq!(claims.expires_at(), Timestamp::from_seconds(1_003_605));
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) groups: Vec<String>,
    pub(crate) scopes: Scopes,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) token_id: Option<String>,
    pub(crate) tenant_name: Option<String>,
    /// Every tenant that the token lists, `tenant` among them.
    pub(crate) memberships: Vec<Membership>,
    /// Whether the token says which of them it is for.
    pub(crate) names_one: bool,
}

impl TokenClaims {
    /// Who signed the token (`iss`).
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        self.user.issuer()
    }

    /// The tenant that the token names; the first of those that it lists, if it lists several and names none.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The issuer together with the subject: `sub`, or what stands for it in the issuer's profile.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The user's groups, in the token's order; empty when the token names none.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The scopes that this crate knows; others grant nothing.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// When the token was issued (`iat`).
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The moment from which the token is refused: `exp` and the verifier's leeway.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The token's own id (`jti`), if it has one.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// What the issuer calls the tenant, for display: nothing is looked up by it.
    #[must_use]
    pub fn tenant_name(&self) -> Option<&str> {
        self.tenant_name.as_deref()
    }

    /// The tenants that the token lists, in its order; the one it names, when it lists none.
    #[must_use]
    pub fn memberships(&self) -> &[Membership] {
        &self.memberships
    }
}

/// What a checked token says about an operator. It names no tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OperatorClaims {
    pub(crate) user: UserId,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) token_id: Option<String>,
}

/// Why a claim is not usable. Only ever logged, so it carries nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Missing,
    Type,
    Bounds,
}

/// One JSON object, free of duplicates.
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    /// Parses one object; `None` for whatever else the bytes are. The caller has bounded their length.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = Strict { depth_left: TOKEN_JSON_DEPTH_MAX }.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        match value {
            Value::Object(members) => Some(Self(members)),
            _ => None,
        }
    }

    /// Takes an object that came out of [`Claims::parse`] as a part of a larger one.
    pub(crate) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self(members)),
            _ => None,
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A string that must be there.
    pub(crate) fn text(&self, name: &str) -> Result<&str, Fault> {
        self.optional_text(name)?.ok_or(Fault::Missing)
    }

    /// What stands at a path. Nothing at all is `None`; something on the way that has no members is a fault.
    pub(crate) fn at(&self, path: &ClaimPath) -> Result<Option<&Value>, Fault> {
        let mut found = self.0.get(path.first());
        for name in path.rest() {
            match found {
                None => return Ok(None),
                Some(Value::Object(members)) => found = members.get(name),
                Some(_) => return Err(Fault::Type),
            }
        }
        Ok(found)
    }

    /// A string, or nothing at all: `null` is not nothing.
    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<&str>, Fault> {
        text_of(self.0.get(name))
    }

    /// As [`Claims::optional_text`], at a path.
    pub(crate) fn optional_text_at(&self, path: &ClaimPath) -> Result<Option<&str>, Fault> {
        text_of(self.at(path)?)
    }

    /// A time in whole seconds that must be there: no float, no negative number, no string, no later than the
    /// year 9999.
    pub(crate) fn seconds(&self, name: &str) -> Result<u64, Fault> {
        self.optional_seconds(name)?.ok_or(Fault::Missing)
    }

    pub(crate) fn optional_seconds(&self, name: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        // `as_u64` answers only for numbers written as unsigned integers: 1.0, 1e3 and what overflows are floats.
        let seconds = value.as_u64().ok_or(Fault::Type)?;
        if seconds > CLAIM_SECONDS_MAX { Err(Fault::Bounds) } else { Ok(Some(seconds)) }
    }

    /// Strings of an array that must hold nothing else; an absent member is `None`.
    pub(crate) fn optional_texts(&self, name: &str) -> Result<Option<Vec<&str>>, Fault> {
        self.0.get(name).map(texts_of).transpose()
    }

    /// A string or an array of strings, which is how `aud` comes. Absent is `None`.
    pub(crate) fn optional_text_or_texts(&self, name: &str) -> Result<Option<Vec<&str>>, Fault> {
        match self.0.get(name) {
            Some(Value::String(text)) => Ok(Some(vec![text])),
            _ => self.optional_texts(name),
        }
    }

    /// Group names: not empty, bounded, free of characters that would forge log lines. The token is refused instead of
    /// cut, since the group left out may be the one that a rule denies.
    pub(crate) fn groups(&self, path: &ClaimPath) -> Result<Vec<String>, Fault> {
        let groups = self.at(path)?.map(texts_of).transpose()?.unwrap_or_default();
        let fits = |group: &&str| check_name("group", group, GROUP_BYTES_MAX).is_ok();
        if groups.len() > GROUPS_MAX || !groups.iter().all(fits) {
            return Err(Fault::Bounds);
        }
        Ok(groups.into_iter().map(str::to_owned).collect())
    }

    /// One string of words separated by spaces, or an array of words. Absent is no word.
    pub(crate) fn words(&self, path: &ClaimPath) -> Result<Vec<&str>, Fault> {
        self.at(path)?.map_or(Ok(Vec::new()), words_of)
    }

    /// `jti`: visible ASCII, since it becomes the name of a revocation.
    pub(crate) fn token_id(&self) -> Result<Option<String>, Fault> {
        let Some(id) = self.optional_text("jti")? else { return Ok(None) };
        check_token_id(id).map_err(|_| Fault::Bounds)?;
        Ok(Some(id.to_owned()))
    }
}

fn text_of(value: Option<&Value>) -> Result<Option<&str>, Fault> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Fault::Type),
    }
}

fn texts_of(value: &Value) -> Result<Vec<&str>, Fault> {
    let Value::Array(items) = value else { return Err(Fault::Type) };
    items.iter().map(Value::as_str).collect::<Option<_>>().ok_or(Fault::Type)
}

/// Words separated by spaces, or an array of words.
pub(crate) fn words_of(value: &Value) -> Result<Vec<&str>, Fault> {
    match value {
        Value::String(words) => Ok(words.split(' ').collect()),
        value => texts_of(value),
    }
}

/// Builds a [`Value`] and refuses what [`Value`]'s own deserialiser lets pass.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            // Names are compared after unescaping, so "exp" and "\u0065xp" are the same member.
            let value = map.next_value_seed(inner)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn only_one_object_without_duplicates_parses() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Claims::parse(nested(TOKEN_JSON_DEPTH_MAX - 1).as_bytes()).is_some());
        for bad in [
            "",
            "null",
            "[]",
            "\"a\"",
            "1",
            "{",
            "{} {}",
            "{}x",
            "\u{feff}{}",
            "{'a':1}",
            "{\"a\":1,}",
            "{\"a\":NaN}",
            "{\"a\":01}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":1}",
            "{\"a\":[{\"b\":{\"c\":1,\"c\":2}}]}",
            nested(TOKEN_JSON_DEPTH_MAX).as_str(),
            nested(100_000).as_str(),
        ] {
            assert!(Claims::parse(bad.as_bytes()).is_none(), "{bad:.40}");
        }
        assert!(Claims::parse(b"{\"a\":\"\xff\"}").is_none());
    }

    #[test]
    fn seconds_are_unsigned_integers() {
        assert_eq!(claims("{\"exp\":0}").seconds("exp"), Ok(0));
        assert_eq!(claims("{}").seconds("exp"), Err(Fault::Missing));
        assert_eq!(claims("{\"exp\":253402300800}").seconds("exp"), Err(Fault::Bounds));
        assert_eq!(claims("{\"exp\":18446744073709551615}").seconds("exp"), Err(Fault::Bounds));
        for bad in ["1.0", "1e3", "-1", "-0", "\"1\"", "null", "true", "[1]", "{}", "18446744073709551616", "1e400"] {
            let refused = Claims::parse(format!("{{\"exp\":{bad}}}").as_bytes())
                .is_none_or(|claims| claims.seconds("exp") == Err(Fault::Type));
            assert!(refused, "{bad}");
        }
    }

    #[test]
    fn texts_are_strings_only() {
        let it = claims("{\"null\":null,\"mixed\":[\"a\",1],\"many\":[\"a\",\"b\"],\"one\":\"a b\"}");
        assert_eq!(it.optional_text("null"), Err(Fault::Type));
        assert_eq!(it.optional_text("none"), Ok(None));
        assert_eq!(it.optional_texts("mixed"), Err(Fault::Type));
        assert_eq!(it.optional_texts("one"), Err(Fault::Type));
        assert_eq!(it.optional_text_or_texts("many"), Ok(Some(vec!["a", "b"])));
        assert_eq!(it.optional_text_or_texts("one"), Ok(Some(vec!["a b"])));
    }

    #[test]
    fn groups_are_bounded_and_never_cut() {
        let many = |n: usize| claims(&serde_json::json!({ "g": vec!["x"; n] }).to_string());
        assert_eq!(many(GROUPS_MAX).groups(&"g".into()).map(|g| g.len()), Ok(GROUPS_MAX));
        assert_eq!(many(GROUPS_MAX + 1).groups(&"g".into()), Err(Fault::Bounds));
        assert_eq!(claims("{\"g\":[\"\"]}").groups(&"g".into()), Err(Fault::Bounds));
        assert_eq!(claims("{\"g\":[\"a\\nb\"]}").groups(&"g".into()), Err(Fault::Bounds));
        assert_eq!(claims("{\"g\":[\"staff\",\"a\\u202eb\"]}").groups(&"g".into()), Err(Fault::Bounds));
        assert_eq!(claims("{\"g\":\"a\"}").groups(&"g".into()), Err(Fault::Type));
        assert_eq!(claims("{}").groups(&"g".into()), Ok(Vec::new()));
    }

    #[test]
    fn scopes_come_as_words_or_as_an_array() {
        let words = |json: &str| claims(json).words(&"s".into()).map(|words| words.join("|"));
        assert_eq!(words("{\"s\":\"read openid write\"}"), Ok("read|openid|write".into()));
        assert_eq!(words("{\"s\":[\"read\",\"openid\"]}"), Ok("read|openid".into()));
        assert_eq!(words("{\"s\":[\"read write\"]}"), Ok("read write".into()));
        assert_eq!(words("{}"), Ok(String::new()));
        assert_eq!(words("{\"s\":15}"), Err(Fault::Type));
    }

    #[test]
    fn a_path_goes_through_objects_only() {
        let it = claims("{\"a\":{\"b\":{\"c\":\"deep\"},\"b.c\":\"dotted\"},\"a.b.c\":\"flat\",\"list\":[{\"c\":1}]}");
        assert_eq!(it.optional_text_at(&["a", "b", "c"].into()), Ok(Some("deep")));
        assert_eq!(it.optional_text_at(&["a", "b.c"].into()), Ok(Some("dotted")));
        assert_eq!(it.optional_text_at(&"a.b.c".into()), Ok(Some("flat")));
        assert_eq!(it.optional_text_at(&["a", "x", "c"].into()), Ok(None));
        assert_eq!(it.optional_text_at(&["a", "b"].into()), Err(Fault::Type));
        assert_eq!(it.optional_text_at(&["list", "0", "c"].into()), Err(Fault::Type));
        assert_eq!(it.optional_text_at(&["a.b.c", "x"].into()), Err(Fault::Type));
    }
}
