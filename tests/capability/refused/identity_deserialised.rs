//! E0277: An identity cannot come from bytes.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(bytes: &str) -> VerifiedIdentity {
    serde_json::from_str(bytes).unwrap()
}

fn main() {}
