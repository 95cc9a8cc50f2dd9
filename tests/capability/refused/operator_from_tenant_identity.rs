//! E0308: A tenant's user is not an operator.
#![allow(unused, unreachable_code)]
use watertight::*;

fn climb(engine: &Engine, identity: VerifiedIdentity) -> Result<Operator> {
    engine.operator(&identity)
}

fn main() {}
