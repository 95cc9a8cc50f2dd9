//! E0423: The builder's state cannot be claimed.
#![allow(unused, unreachable_code)]
use watertight::*;

fn claim(key: RootKey) -> Ready {
    Ready(key)
}

fn main() {}
