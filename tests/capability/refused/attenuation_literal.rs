//! E0451: A narrowing is only made step by step.
#![allow(unused, unreachable_code)]
use watertight::*;

fn make() -> Attenuation {
    Attenuation { scopes: None, reach: None, lifetime: None, operations: None }
}

fn main() {}
