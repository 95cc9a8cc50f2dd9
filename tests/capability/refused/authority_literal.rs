//! E0451: An authority has no public fields to fill in.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(other: Authority) -> Authority {
    Authority { engine: unreachable!(), clock: unreachable!(), process: unreachable!() }
}

fn main() {}
