//! E0603: What is below the handles cannot be named.
#![allow(unused, unreachable_code)]
use watertight::*;

fn reach() -> watertight::tenant::open::Tenant {
    unreachable!()
}

fn main() {}
