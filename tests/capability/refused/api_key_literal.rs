//! E0451: An API key is made by the engine.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(info: ApiKeyInfo) -> NewApiKey {
    NewApiKey { info, text: String::new().into() }
}

fn main() {}
