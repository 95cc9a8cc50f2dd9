//! E0061: Nobody acts for a user without a reason.
#![allow(unused, unreachable_code)]
use watertight::*;

fn pose(tenant: TenantId, user: UserId) -> Impersonation {
    Impersonation::new(tenant, user)
}

fn main() {}
