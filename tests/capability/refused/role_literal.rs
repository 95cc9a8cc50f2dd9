//! E0451: A role is only made step by step, each of them checked.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> Role {
    Role { name: "owner".into(), ..unreachable!() }
}

fn main() {}
