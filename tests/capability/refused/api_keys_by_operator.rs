//! E0599: Operators make no keys: a key reads a tenant's content.
#![allow(unused, unreachable_code)]
use watertight::*;

fn make(operator: &Operator) -> ApiKeys {
    operator.api_keys()
}

fn main() {}
