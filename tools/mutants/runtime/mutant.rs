//! Which mutant is on. Copied into the tree under test.

use std::io::Write;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Reads as the number of the mutant that is on, 0 for none, or one of the two below.
static CHOSEN: AtomicU32 = AtomicU32::new(UNREAD);
/// The environment has not been asked yet.
const UNREAD: u32 = u32::MAX;
/// None is on, and the places that are reached are written down.
const RECORDING: u32 = u32::MAX - 1;

/// One bit for each place that this process has reached.
static SEEN: [AtomicU64; 512] = [const { AtomicU64::new(0) }; 512];

/// Whether the mutant of this number is on.
#[inline]
pub(crate) fn on(number: u32) -> bool {
    let chosen = CHOSEN.load(Ordering::Relaxed);
    if chosen >= RECORDING { look(number, chosen) } else { chosen == number }
}

#[cold]
fn look(number: u32, chosen: u32) -> bool {
    if chosen == UNREAD {
        let recording = std::env::var_os("WATERTIGHT_MUTANTS_SEEN").map(|_| RECORDING);
        let number = || std::env::var("WATERTIGHT_MUTANT").ok()?.parse().ok();
        CHOSEN.store(recording.or_else(number).unwrap_or(0), Ordering::Relaxed);
    }
    if CHOSEN.load(Ordering::Relaxed) != RECORDING {
        return on(number);
    }
    let (word, bit) = (&SEEN[number as usize / 64], 1 << (number % 64));
    if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        note(number);
    }
    false
}

/// At once, since a process may be killed at any time, and without an open file, since tests count them.
fn note(number: u32) {
    let Some(directory) = std::env::var_os("WATERTIGHT_MUTANTS_SEEN") else { return };
    let path = std::path::Path::new(&directory).join(std::process::id().to_string());
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    if let Ok(mut file) = file {
        let _ = file.write_all(format!("{number}\n").as_bytes());
    }
}
