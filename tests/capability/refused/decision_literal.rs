//! E0639: Only a policy explains what it decides.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> Decision {
    Decision { allowed: true, refusal: None, role: None, namespaces: None }
}

fn main() {}
