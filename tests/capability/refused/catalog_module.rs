//! E0603: The catalog cannot be named.
#![allow(unused, unreachable_code)]
use watertight::*;

fn reach() -> watertight::catalog::tenants::Catalog {
    unreachable!()
}

fn main() {}
