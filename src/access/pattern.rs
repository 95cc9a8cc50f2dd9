//! Names of namespaces that a rule is about.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::Namespace;

/// One namespace (`notes`), those that begin alike (`team.*`), or all (`*`).
///
/// ```
/// use watertight::{Namespace, NamespacePattern};
///
/// let team = NamespacePattern::new("team.*")?;
/// assert_eq!(team.as_str(), "team.*");
/// assert!(team.matches(&Namespace::new("team.red")?) && !team.matches(&Namespace::new("teams")?));
/// assert!(NamespacePattern::new("*")?.matches(&Namespace::new("notes")?));
/// for bad in ["", "Team.*", "*.red", "a*b", "team.**"] {
///     assert!(NamespacePattern::new(bad).is_err(), "{bad:?}");
/// }
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespacePattern(Arc<str>);

/// What a pattern asks of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    Exact(&'a str),
    /// Empty for all.
    Prefix(&'a str),
}

impl NamespacePattern {
    /// Checks and takes a pattern: the name of a namespace, the beginning of one with `*` behind it, or `*`.
    ///
    /// # Errors
    /// `InvalidInput` when no namespace can have a name like that.
    pub fn new(pattern: &str) -> Result<Self> {
        let name = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern != "*" {
            // What a name begins with is a name by itself.
            Namespace::new(name).map_err(|_| {
                Error::invalid("namespace pattern", "a namespace, the beginning of one with * behind it, or *")
            })?;
        }
        Ok(Self(pattern.into()))
    }

    /// The pattern as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a namespace is meant.
    #[must_use]
    pub fn matches(&self, namespace: &Namespace) -> bool {
        match self.form() {
            Form::Exact(name) => namespace.as_str() == name,
            Form::Prefix(prefix) => namespace.as_str().starts_with(prefix),
        }
    }

    pub(crate) fn form(&self) -> Form<'_> {
        self.0.strip_suffix('*').map_or(Form::Exact(&self.0), Form::Prefix)
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamespacePattern({:?})", &*self.0)
    }
}

impl Serialize for NamespacePattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Deserialising parses, so that a value of this type is valid however it was made.
impl<'de> Deserialize<'de> for NamespacePattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}
