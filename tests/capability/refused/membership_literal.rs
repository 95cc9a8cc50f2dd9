//! E0451: Memberships come from an issuer.
#![allow(unused, unreachable_code)]
use watertight::*;

fn join(tenant: TenantId) -> Membership {
    Membership { tenant, scopes: Scopes::ALL, has_groups: true }
}

fn main() {}
