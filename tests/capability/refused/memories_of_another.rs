//! E0609: What ties memories to their tenant cannot be exchanged.
#![allow(unused, unreachable_code)]
use watertight::*;

fn exchange(mut mine: Memories, theirs: &Memories) -> Memories {
    mine.tenant = theirs.tenant.clone();
    mine
}

fn main() {}
