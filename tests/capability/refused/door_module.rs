//! E0603: The doors of a tenant cannot be named.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> watertight::access::door::Door {
    unreachable!()
}

fn main() {}
