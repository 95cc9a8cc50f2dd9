//! E0624: The operators' door opens through the engine alone.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(identity: VerifiedOperator) -> Operator {
    Operator::new(unreachable!(), identity).unwrap()
}

fn main() {}
