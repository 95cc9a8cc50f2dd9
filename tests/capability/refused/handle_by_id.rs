//! E0308: A tenant cannot be reached by its id either.
#![allow(unused, unreachable_code)]
use watertight::*;

fn reach(engine: &Engine, id: &TenantId) -> Result<TenantHandle> {
    engine.tenant(id)
}

fn main() {}
