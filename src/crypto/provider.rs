//! Root keys that never leave their home: a key management service or a hardware module wraps for us.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::secret::Secret;
use crate::error::{Reason, Result};
use crate::limits::{PROVIDER_NAME_BYTES_MAX, PROVIDER_WRAPPED_BYTES_MAX};

/// A key management service or hardware module that holds the root key. The application implements it.
///
/// It wraps 32 random bytes, not the engine key itself, which is sealed under them: what a provider does not bind to
/// its key is bound by that envelope. It is asked when an engine opens and when a key is rotated, and no tenant waits
/// meanwhile. Whatever it answers is checked: before anything is written, what it wrapped is unwrapped again.
///
/// ```
/// use std::sync::Arc;
/// use watertight::disk::MemoryDisk;
/// use watertight::{Engine, ErrorKind, ProviderError, RootKey, RootKeyProvider};
///
/// /// For an example only: a provider has a key.
/// struct Mirror {
///     up: bool,
/// }
///
/// impl RootKeyProvider for Mirror {
///     fn name(&self) -> &str {
///         "kms.example.org/keys/7"
///     }
///     fn wrap_key(&self, secret: &[u8; 32]) -> Result<Vec<u8>, ProviderError> {
///         if self.up { Ok(secret.iter().rev().copied().collect()) } else { Err(ProviderError::Unavailable) }
///     }
///     fn unwrap_key(&self, wrapped: &[u8], secret: &mut [u8; 32]) -> Result<(), ProviderError> {
///         if !self.up {
///             return Err(ProviderError::Unavailable);
///         }
///         secret.copy_from_slice(wrapped);
///         secret.reverse();
///         Ok(())
///     }
/// }
///
/// let disk = Arc::new(MemoryDisk::new());
/// let open = |up| {
///     let key = RootKey::from_provider(Arc::new(Mirror { up }))?;
///     Engine::builder("/data").root_key(key).danger().disk(disk.clone()).open()
/// };
/// drop(open(true)?);
/// assert_eq!(open(false).unwrap_err().kind(), ErrorKind::KeyUnavailable);
/// drop(open(true)?);
/// # Ok::<(), watertight::Error>(())
/// ```
pub trait RootKeyProvider: Send + Sync {
    /// A public name of the key and its version: 1 to 255 bytes, stored in the clear beside what it wrapped. Only the
    /// provider of the same name is asked to unwrap that.
    fn name(&self) -> &str;

    /// Wraps 32 secret bytes; the answer has 1 to 2,048 bytes and is stored.
    ///
    /// # Errors
    /// See [`ProviderError`]. Nothing is written then.
    fn wrap_key(&self, secret: &[u8; 32]) -> Result<Vec<u8>, ProviderError>;

    /// Puts into `secret` what [`RootKeyProvider::wrap_key`] was given.
    ///
    /// # Errors
    /// See [`ProviderError`]. Nothing is changed then.
    fn unwrap_key(&self, wrapped: &[u8], secret: &mut [u8; 32]) -> Result<(), ProviderError>;
}

/// Why a provider gave nothing. It carries no text: what a provider says may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderError {
    /// It cannot be reached, or cannot serve now.
    Unavailable,
    /// It will not: the key is disabled, the caller is not allowed, or the bytes are not its own.
    Refused,
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the provider cannot serve now",
            Self::Refused => "the provider refused",
        })
    }
}

impl std::error::Error for ProviderError {}

/// A provider behind checks: what it answers is bounded, and a panic of it is an error.
pub(super) struct Provider {
    provider: Arc<dyn RootKeyProvider>,
    name: String,
}

impl Provider {
    /// # Errors
    /// `KeyUnavailable` when its name is empty or too long.
    pub(super) fn new(provider: Arc<dyn RootKeyProvider>) -> Result<Self> {
        let name = shielded(|| Ok(provider.name().to_owned()))?;
        if name.is_empty() || name.len() > PROVIDER_NAME_BYTES_MAX {
            return Err(Reason::RootKeyProvider("its name must have 1 to 255 bytes").into());
        }
        Ok(Self { provider, name })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn wrap(&self, secret: &Secret<32>) -> Result<Vec<u8>> {
        let wrapped = shielded(|| self.provider.wrap_key(secret.expose()))?;
        if wrapped.is_empty() || wrapped.len() > PROVIDER_WRAPPED_BYTES_MAX {
            return Err(Reason::RootKeyProvider("it wrapped into nothing, or into more than 2,048 bytes").into());
        }
        Ok(wrapped)
    }

    pub(super) fn unwrap(&self, wrapped: &[u8]) -> Result<Secret<32>> {
        Secret::try_fill(|secret| shielded(|| self.provider.unwrap_key(wrapped, secret)))
    }
}

/// Calls into foreign code. Of an error only its kind is kept, of a panic nothing.
fn shielded<R>(call: impl FnOnce() -> Result<R, ProviderError>) -> Result<R> {
    let answer = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer,
        Err(payload) => {
            // Its destructor is foreign code as well.
            std::mem::forget(payload);
            return Err(Reason::RootKeyProvider("it panicked").into());
        }
    };
    answer.map_err(|error| match error {
        ProviderError::Unavailable => Reason::RootKeyProvider("it cannot serve now").into(),
        ProviderError::Refused => Reason::RootKeyProvider("it refused").into(),
    })
}
