//! E0277: A secret is not copied behind its owner's back.
#![allow(unused, unreachable_code)]
use watertight::*;

fn copy(credential: &Credential) -> Credential {
    <Credential as Clone>::clone(credential)
}

fn main() {}
