//! E0277: A resolved secret is not written by mistake.
#![allow(unused, unreachable_code)]
use watertight::*;

fn write(text: &SecretText) -> String {
    serde_json::to_string(text).unwrap()
}

fn main() {}
