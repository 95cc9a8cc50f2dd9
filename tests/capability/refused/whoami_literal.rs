//! E0639: What a handle says of itself cannot be made up.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(me: WhoAmI) -> WhoAmI {
    WhoAmI { operator: None, ..me }
}

fn main() {}
