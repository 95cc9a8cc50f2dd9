//! E0624: The constructor of an identity is for trust roots alone.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> VerifiedIdentity {
    VerifiedIdentity::new(unreachable!())
}

fn main() {}
