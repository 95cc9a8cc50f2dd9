//! E0423: A handle has no public fields to fill in.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> TenantHandle {
    TenantHandle(unreachable!())
}

fn main() {}
