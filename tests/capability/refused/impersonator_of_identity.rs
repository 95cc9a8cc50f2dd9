//! E0624: An identity does not give out the operator's own powers.
#![allow(unused, unreachable_code)]
use watertight::*;

fn pry(identity: &VerifiedIdentity) {
    let _ = identity.impersonator();
}

fn main() {}
