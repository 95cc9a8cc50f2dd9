//! What several test programs share.

// Each test program uses its own part of this.
#![allow(dead_code, unreachable_pub)]

pub mod filled;
pub mod hooked;
pub mod household;
pub mod panicking;
pub mod recorded;
pub mod rng;
pub mod seen;
pub mod sim_disk;
pub mod world;
