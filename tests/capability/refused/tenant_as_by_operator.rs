//! E0308: Operators select no tenant's content.
#![allow(unused, unreachable_code)]
use watertight::*;

fn reach(engine: &Engine, operator: &VerifiedOperator, tenant: &TenantId) -> Result<TenantHandle> {
    engine.tenant_as(operator, tenant)
}

fn main() {}
