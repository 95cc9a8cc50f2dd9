//! Panics of redb become errors. A damaged file can make it panic; its locks are poisoned then, and its destructors can panic
//! again.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Reason, Result};

/// Something of redb whose destructor may panic.
///
/// A destructor that panics while another panic unwinds ends the process. So the panic of this one ends here.
///
/// Empty only while it is dropped or used up.
#[derive(Debug)]
pub(super) struct Shielded<D>(Option<D>);

impl<D> Shielded<D> {
    pub(super) fn new(value: D) -> Self {
        Self(Some(value))
    }

    /// Without the shield, to be used up.
    #[expect(clippy::expect_used, reason = "empty only while it is dropped or used up")]
    pub(super) fn into_inner(mut self) -> D {
        self.0.take().expect("there until it is dropped")
    }
}

impl<D> Deref for Shielded<D> {
    type Target = D;

    #[expect(clippy::expect_used, reason = "empty only while it is dropped or used up")]
    fn deref(&self) -> &D {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl<D> DerefMut for Shielded<D> {
    #[expect(clippy::expect_used, reason = "empty only while it is dropped or used up")]
    fn deref_mut(&mut self) -> &mut D {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl<D> Drop for Shielded<D> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            drop_shielded(value);
        }
    }
}

/// Runs code that calls redb. A panic ends the instance.
pub(crate) fn shielded<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()))
}

pub(super) fn panicked() -> Error {
    Reason::DamagedFile("the storage engine stopped on it").into()
}

/// Whether it went well.
pub(super) fn drop_shielded<D>(value: D) -> bool {
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(value))).is_ok();
    if !dropped {
        tracing::warn!("closing a failed file panicked; its lock is released with the file");
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a planned panic of a destructor");
        }
    }

    #[test]
    fn a_destructor_that_panics_while_a_panic_unwinds_ends_nothing() {
        let caught = shielded(|| -> Result<()> {
            let _held = Shielded::new(Panics);
            panic!("a planned panic");
        });
        assert_eq!(*caught.unwrap_err().reason(), Reason::DamagedFile("the storage engine stopped on it"));
        drop(Shielded::new(Panics));
        assert!(!drop_shielded(Panics));
    }
}
