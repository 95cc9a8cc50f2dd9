//! E0599: A narrower handle has no way to the one it was made from.
#![allow(unused, unreachable_code)]
use watertight::*;

fn widen(narrow: &TenantHandle) -> TenantHandle {
    narrow.parent()
}

fn main() {}
