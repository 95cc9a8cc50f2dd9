//! E0599: What lowers safety stands behind `danger`.
#![allow(unused, unreachable_code)]
use watertight::*;

fn plain(key: RootKey) {
    let _ = Engine::builder("data").root_key(key).plaintext_files();
}

fn main() {}
