//! What an operation, or an application, may ask leave for.

use crate::error::{Error, Result};
use crate::identity::scope::Scopes;
use crate::limits::ROLE_NAME_BYTES_MAX;

/// What [`TenantHandle::require`](crate::TenantHandle::require) asks for: permissions of the engine on the tenant as a
/// whole, or an action of the application, which only roles grant.
///
/// ```
/// use watertight::{Action, Scopes};
///
/// assert_eq!(Action::from(Scopes::ADMIN), Action::Engine(Scopes::ADMIN));
/// assert_eq!(Action::app("deploy"), Action::App("deploy"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// All of these permissions.
    Engine(Scopes),
    /// An action that the application has named.
    App(&'a str),
}

impl<'a> Action<'a> {
    /// An action of the application. A name that no role has is granted to owners alone.
    #[must_use]
    pub fn app(name: &'a str) -> Self {
        Self::App(name)
    }
}

impl From<Scopes> for Action<'_> {
    fn from(scopes: Scopes) -> Self {
        Self::Engine(scopes)
    }
}

/// The rule of names that a policy gives: 1 to 64 bytes of `[A-Za-z0-9._:/-]`.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(what, "must not be empty"));
    }
    if name.len() > ROLE_NAME_BYTES_MAX {
        return Err(Error::too_large(what, ROLE_NAME_BYTES_MAX, name.len()));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-')) {
        return Err(Error::invalid(what, "only A-Z, a-z, 0-9 and . _ : / - are allowed"));
    }
    Ok(())
}
