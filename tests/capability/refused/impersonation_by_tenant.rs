//! E0599: No tenant's user acts for another.
#![allow(unused, unreachable_code)]
use watertight::*;

fn pose(handle: &TenantHandle, how: &Impersonation) {
    let _ = handle.impersonate(how);
}

fn main() {}
