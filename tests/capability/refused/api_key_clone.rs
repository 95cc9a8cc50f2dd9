//! E0277: The text of an API key is given out once.
#![allow(unused, unreachable_code)]
use watertight::*;

fn copy(key: &NewApiKey) -> NewApiKey {
    <NewApiKey as Clone>::clone(key)
}

fn main() {}
