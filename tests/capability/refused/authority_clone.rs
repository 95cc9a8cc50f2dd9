//! E0277: The authority is given out once; sharing it shows.
#![allow(unused, unreachable_code)]
use watertight::*;

fn copy(authority: &Authority) -> Authority {
    <Authority as Clone>::clone(authority)
}

fn main() {}
