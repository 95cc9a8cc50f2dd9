//! E0277: Verified claims are a statement, not an identity of this engine.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(claims: TokenClaims) -> VerifiedIdentity {
    claims.into()
}

fn main() {}
