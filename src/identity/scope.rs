//! What an identity may do, as its issuer says: read, write, delete, admin.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A set of scopes. Empty unless something is granted: there is no default scope.
///
/// ```
/// use watertight::Scopes;
///
/// let both = Scopes::READ | Scopes::WRITE;
/// assert_eq!(both, Scopes::READ.union(Scopes::WRITE));
/// assert!(both.contains(Scopes::READ));
/// assert!(!both.contains(Scopes::READ | Scopes::DELETE));
/// assert_eq!(Scopes::from_words(["read", "unheard-of"]), Scopes::READ);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Scopes(u8);

impl Scopes {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Get, get many, exists, count, list, iterate, recall, follow changes, inspect and list namespaces; use and list
    /// one's own credentials.
    pub const READ: Self = Self(1);
    /// Put, patch, make a namespace; update and rename a private one; put, rotate and confirm one's own credentials.
    pub const WRITE: Self = Self(1 << 1);
    /// Delete memories; delete a private namespace; delete one's own credentials.
    pub const DELETE: Self = Self(1 << 2);
    /// Update, rename and delete a shared namespace; of the tenant as a whole its audit trail, usage, figures, sweeps and
    /// policy.
    pub const ADMIN: Self = Self(1 << 3);
    /// Everything a tenant's owner may do.
    pub const ALL: Self = Self(0b1111);

    const WORDS: [(&'static str, Self); 4] =
        [("read", Self::READ), ("write", Self::WRITE), ("delete", Self::DELETE), ("admin", Self::ADMIN)];

    /// Whether every scope of `needed` is in this set.
    #[must_use]
    pub const fn contains(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }

    /// Whether the two sets have a scope in common.
    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What the two sets have in common.
    pub(crate) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set and not in the other.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Both sets together; the `const` form of `|`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// Bits that this crate does not know grant nothing.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The scopes named by exact, lower-case words; unknown words grant nothing.
    #[must_use]
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        words
            .into_iter()
            .filter_map(|word| Self::WORDS.iter().find(|(name, _)| *name == word))
            .fold(Self::NONE, |all, (_, scope)| all.union(*scope))
    }
}

impl std::ops::BitOr for Scopes {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, _) in Self::WORDS.iter().filter(|(_, scope)| self.contains(*scope)) {
            if !std::mem::take(&mut first) {
                f.write_str(" ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}
