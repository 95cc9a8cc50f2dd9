//! E0277: A root key is never written.
#![allow(unused, unreachable_code)]
use watertight::*;

fn write(key: &RootKey) -> String {
    serde_json::to_string(key).unwrap()
}

fn main() {}
