//! E0308: A tenant cannot be reached by its name.
#![allow(unused, unreachable_code)]
use watertight::*;

fn reach(engine: &Engine) -> Result<TenantHandle> {
    engine.tenant("acme")
}

fn main() {}
