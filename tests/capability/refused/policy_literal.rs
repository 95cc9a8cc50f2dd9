//! E0451: A policy is only made step by step, each of them checked.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(roles: std::collections::BTreeMap<String, Role>) -> Policy {
    Policy { roles, ..Policy::new() }
}

fn main() {}
