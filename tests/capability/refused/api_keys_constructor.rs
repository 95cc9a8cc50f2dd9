//! E0624: The keys of a tenant are reached from its handle.
#![allow(unused, unreachable_code)]
use watertight::*;

fn reach() -> ApiKeys {
    ApiKeys::new(unreachable!())
}

fn main() {}
