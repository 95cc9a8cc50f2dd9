//! E0277: A root key is handed over, not copied.
#![allow(unused, unreachable_code)]
use watertight::*;

fn copy(key: &RootKey) -> RootKey {
    <RootKey as Clone>::clone(key)
}

fn main() {}
