//! E0423: An identity has no public fields to fill in.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> VerifiedIdentity {
    VerifiedIdentity(unreachable!())
}

fn main() {}
