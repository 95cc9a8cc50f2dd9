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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::crypto::derive::derive;
    use crate::crypto::format::Label;
    use crate::crypto::mac::mac;
    use crate::crypto::page::{PageCipher, PageScope};
    use crate::crypto::root_key::RootKey;
    use crate::crypto::seal;
    use crate::crypto::secret::Secret;
    use crate::id::EngineId;

    /// Bytes to look for, so that the list of them is not found itself.
    struct Needle(Vec<u8>);

    impl Needle {
        fn of(bytes: &[u8]) -> Self {
            Self(bytes.iter().map(|byte| !byte).collect())
        }

        /// How often they are on this thread's stack, of which the caller's frames are a small part.
        fn count(&self) -> usize {
            let here = 0_u8;
            let here = std::ptr::from_ref(&here).addr() as u64;
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            let (from, to) = maps
                .lines()
                .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
                .map(|range| [range.0, range.1].map(|at| u64::from_str_radix(at, 16).unwrap()))
                .find_map(|[from, to]| (from..to).contains(&here).then_some((from, to)))
                .unwrap();
            let mut stack = vec![0; usize::try_from(to - from).unwrap()];
            OpenOptions::new().read(true).open("/proc/self/mem").unwrap().read_exact_at(&mut stack, from).unwrap();
            stack.windows(self.0.len()).filter(|part| part.iter().zip(&self.0).all(|(a, b)| *a == !b)).count()
        }
    }

    /// Runs something so far below that what looks for its traces does not cover them.
    #[inline(never)]
    fn below<R>(run: impl FnOnce() -> R) -> R {
        let mut between = [0_u8; 8 * 1_024];
        black_box(&mut between);
        let answer = run();
        black_box(&mut between);
        answer
    }

    /// What is on the stack right after code that uses keys.
    #[test]
    fn no_key_is_left_on_the_stack() {
        let (key, long) = (Secret::<32>::random().unwrap(), Secret::<64>::random().unwrap());
        let derived = Needle::of(derive::<32>(&key, b"salt", Label::Cursor, &[]).expose());
        let (short, long_key) = (Needle::of(key.expose()), Needle::of(&long.expose()[..32]));
        let envelope = seal::seal(&key, Label::Credential, b"aad", b"a secret of some length").unwrap();
        let one_time = Needle::of(&derive::<64>(&key, &envelope[..32], Label::Credential, &[]).expose()[..32]);
        let text = Needle::of(b"a secret of some length");
        let (phrase, engine) = (Needle::of(b"correct horse battery"), EngineId::random().unwrap());

        below(|| drop(derive::<32>(&key, b"salt", Label::Cursor, &[])));
        assert_eq!((derived.count(), short.count()), (0, 0), "derivation");
        below(|| mac(&long, &[b"part"]));
        assert_eq!(long_key.count(), 0, "code");
        below(|| drop(seal::open(&key, Label::Credential, b"aad", &envelope)));
        assert_eq!((one_time.count(), text.count(), short.count()), (0, 0, 0), "envelope");
        below(|| drop(PageCipher::new(&key, PageScope::catalog(engine))));
        assert_eq!(short.count(), 0, "key schedule of pages");
        let root = RootKey::from_passphrase("correct horse battery".to_owned()).unwrap();
        let (stretched, part) = root.draw().unwrap();
        let stretched = Needle::of(stretched.expose());
        below(|| drop(root.find(&part)));
        assert_eq!((phrase.count(), stretched.count()), (0, 0), "passphrase");
    }

    #[test]
    fn a_key_that_is_left_is_found_until_it_is_overwritten() {
        let key = Secret::<32>::random().unwrap();
        let needle = Needle::of(key.expose());
        let leave = || black_box([*key.expose(); 2]).len();
        below(|| in_frame(leave));
        assert!(needle.count() > 0, "the search finds nothing");
        below(|| with_wiped_stack(leave));
        assert_eq!(needle.count(), 0);
    }
}
