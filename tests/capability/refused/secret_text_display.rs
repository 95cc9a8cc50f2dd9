//! E0277: A resolved secret is not printed by mistake.
#![allow(unused, unreachable_code)]
use watertight::*;

fn print(text: &SecretText) -> String {
    format!("{text}")
}

fn main() {}
