//! E0599: A tenant's handle does not order its own re-keying.
#![allow(unused, unreachable_code)]
use watertight::*;

fn pry(tenant: &TenantHandle) {
    let _ = tenant.rekey(tenant.id(), |_| std::ops::ControlFlow::Continue(()));
}

fn main() {}
