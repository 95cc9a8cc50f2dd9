//! E0624: Only an operator makes an identity to act for a user.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> VerifiedIdentity {
    VerifiedIdentity::impersonated(unreachable!(), unreachable!())
}

fn main() {}
