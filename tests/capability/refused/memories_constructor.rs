//! E0624: Memories come from a handle alone.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> Memories {
    Memories::new(unreachable!(), unreachable!())
}

fn main() {}
