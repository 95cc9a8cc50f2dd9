//! E0624: An identity turns to another tenant at the engine's door only.
#![allow(unused, unreachable_code)]
use watertight::*;

fn turn(identity: &VerifiedIdentity, tenant: &TenantId) -> Option<VerifiedIdentity> {
    identity.at(tenant)
}

fn main() {}
