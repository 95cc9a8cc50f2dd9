//! E0599: Only a handle is detached, under the policy of its tenant.
#![allow(unused, unreachable_code)]
use watertight::*;

fn outlive(identity: &VerifiedIdentity) {
    let _ = identity.detach(std::time::Duration::MAX);
}

fn main() {}
