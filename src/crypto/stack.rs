//! Wiping the stack that key code has used.
//!
//! Our own key material is written into the allocation where it stays. But the ciphers and hashes that we use give their
//! states back by value, key schedules among them, and each move leaves a copy in a frame that has ended.

use std::hint::black_box;

/// More than what derivations, envelopes and Argon2 use below their caller (`tests/wiped.rs`).
const BYTES: usize = 16 * 1_024;

/// Runs code that handles keys, and overwrites what it has left on the stack. What it gives back must hold keys only
/// behind a pointer.
#[inline(never)]
pub(crate) fn with_wiped_stack<R>(work: impl FnOnce() -> R) -> R {
    let answer = in_frame(work);
    overwrite();
    answer
}

/// Work in a frame below the caller's, where [`overwrite`] has its own afterwards.
#[inline(never)]
fn in_frame<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn overwrite() {
    let mut bytes = [0_u8; BYTES];
    // The compiler must take it that somebody reads them.
    black_box(&mut bytes);
}
