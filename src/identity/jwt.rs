use super::scope::Scopes;
use crate::clock::Timestamp;
use crate::error::*;
use crate::id::*;
/// stub
#[derive(Debug, Clone)]
pub struct JwtVerifier;
/// stub
pub struct TokenClaims;
impl TokenClaims {
    pub(crate) fn tenant(&self) -> &TenantId {
        loop {}
    }
    pub(crate) fn user(&self) -> &UserId {
        loop {}
    }
    pub(crate) fn groups(&self) -> &[String] {
        loop {}
    }
    pub(crate) fn scopes(&self) -> Scopes {
        loop {}
    }
    pub(crate) fn issued_at(&self) -> Timestamp {
        loop {}
    }
    pub(crate) fn expires_at(&self) -> Timestamp {
        loop {}
    }
}
impl JwtVerifier {
    pub(crate) fn issuer(&self) -> &Issuer {
        loop {}
    }
    pub(crate) fn audience(&self) -> &str {
        ""
    }
    pub(crate) fn check(&self, _: &str, _: Timestamp) -> Result<TokenClaims> {
        Err(Reason::TokenRefused.into())
    }
    pub(crate) fn check_operator(&self, _: &str, _: Timestamp) -> Result<TokenClaims> {
        Err(Reason::TokenRefused.into())
    }
}
pub(crate) fn unverified_issuer(_: &str) -> Option<Issuer> {
    None
}
