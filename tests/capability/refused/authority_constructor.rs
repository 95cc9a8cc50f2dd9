//! E0624: The constructor of an authority is for opening an engine alone.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> Authority {
    Authority::new(unreachable!(), unreachable!())
}

fn main() {}
