//! E0599: The authority is given out once; sharing it shows.
#![allow(unused, unreachable_code)]
use watertight::*;

fn copy(authority: &Authority) -> Authority {
    authority.clone()
}

fn main() {}
