//! E0599: An operator does not say who may do what in a tenant.
#![allow(unused, unreachable_code)]
use watertight::*;

fn meddle(operator: &Operator, policy: &Policy) {
    let _ = operator.set_policy(policy);
}

fn main() {}
