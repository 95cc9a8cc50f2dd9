//! E0603: The gate and its proofs cannot be named.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> watertight::access::gate::Gate {
    unreachable!()
}

fn main() {}
