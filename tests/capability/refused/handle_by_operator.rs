//! E0308: An operator's identity opens no tenant.
#![allow(unused, unreachable_code)]
use watertight::*;

fn reach(engine: &Engine, identity: &VerifiedOperator) -> Result<TenantHandle> {
    engine.tenant(identity)
}

fn main() {}
