//! E0451: An operator identity has no public fields to fill in.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(engine: EngineId) -> VerifiedOperator {
    VerifiedOperator { engine, name: "ops".into(), expires_at: Timestamp::from_seconds(u64::MAX) }
}

fn main() {}
