//! E0599: No function of the engine acts on a tenant that is only named.
#![allow(unused, unreachable_code)]
use watertight::*;

fn revoke(engine: &Engine, tenant: &TenantId) -> Result<()> {
    engine.revoke(tenant, &Revocation::everyone())
}

fn main() {}
