//! E0277: There is no default identity.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> VerifiedIdentity {
    std::mem::take(&mut None).unwrap_or_else(default)
}
fn default<T: Default>() -> T {
    T::default()
}

fn main() {}
