//! E0599: An operator manages tenants and reads none of their content.
#![allow(unused, unreachable_code)]
use watertight::*;

fn pry(operator: &Operator) {
    let _ = operator.memories("notes");
}

fn main() {}
