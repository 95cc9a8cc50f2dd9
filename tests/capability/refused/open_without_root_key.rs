//! E0599: There is no engine without a root key.
#![allow(unused, unreachable_code)]
use watertight::*;

fn open() {
    let _ = Engine::builder("data").open();
}

fn main() {}
