//! The memory of another process, as whoever may read it sees it.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};

/// Bytes that are looked for, by name.
pub(crate) type Needles = Vec<(String, Vec<u8>)>;

/// How often each is in memory that the process can write to, and in which mappings.
pub(crate) fn found(process: u32, needles: &Needles) -> Vec<Vec<String>> {
    // Hardly any two bytes of memory begin a needle, and keys are random.
    let mut begins = vec![false; 1 << 16];
    for (_, needle) in needles {
        begins[start(needle)] = true;
    }
    let mut found = vec![Vec::new(); needles.len()];
    let mut memory = OpenOptions::new().read(true).open(format!("/proc/{process}/mem")).unwrap();
    for line in fs::read_to_string(format!("/proc/{process}/maps")).unwrap().lines() {
        let mut columns = line.split_whitespace();
        let (range, rights, name) =
            (columns.next().unwrap(), columns.next().unwrap(), columns.nth(3).unwrap_or("anonymous"));
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).unwrap();
        // Some special mappings cannot be read.
        if memory.read_exact(&mut bytes).is_err() {
            continue;
        }
        for at in 0..bytes.len().saturating_sub(1) {
            if !begins[start(&bytes[at..])] {
                continue;
            }
            for ((_, needle), places) in needles.iter().zip(&mut found) {
                if bytes[at..].starts_with(needle) {
                    places.push(format!("{name} {:x}", from + at as u64));
                }
            }
        }
    }
    found
}

fn start(bytes: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))
}
