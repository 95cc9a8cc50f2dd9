//! Where in a token a claim stands.

use std::fmt;

use crate::error::{Error, Result};
use crate::limits::{CLAIM_NAME_BYTES_MAX, TOKEN_JSON_DEPTH_MAX};

/// The way to a claim: the names of members, outermost first. Each name is taken as it is, so a dot, a colon or a slash
/// in one means nothing.
///
/// One name, or an array of names, is a path wherever one is asked for. Text from a configuration file is read as a JSON
/// pointer (RFC 6901) by [`ClaimPath::pointer`].
///
/// ```
/// use watertight::ClaimPath;
///
/// let nested = ClaimPath::from(["app_metadata", "org", "id"]);
/// assert_eq!(ClaimPath::pointer("/app_metadata/org/id")?, nested);
/// // A name with dots and slashes in it is one name.
/// let namespaced = ClaimPath::from("https://example.org/tenant");
/// assert_eq!(ClaimPath::pointer("/https:~1~1example.org~1tenant")?, namespaced);
/// assert_eq!(namespaced.to_string(), "/https:~1~1example.org~1tenant");
/// assert_ne!(ClaimPath::from("a.b"), ClaimPath::from(["a", "b"]));
///
/// assert!(ClaimPath::pointer("app_metadata.org.id").is_err());
/// assert!(ClaimPath::pointer("").is_err());
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimPath {
    first: String,
    /// Members of members.
    rest: Vec<String>,
}

impl ClaimPath {
    /// Reads a JSON pointer: every name led by `/`, with `~1` for a slash and `~0` for a tilde in it.
    ///
    /// See [`ClaimPath`] for an example.
    ///
    /// # Errors
    /// `InvalidInput` when it does not begin with `/`, has another escape, more names than a token may be deep, or a
    /// name of more than 255 bytes.
    pub fn pointer(text: &str) -> Result<Self> {
        let refused = |rule| Error::invalid("claim path", rule);
        let mut names = text.split('/');
        if names.next() != Some("") {
            return Err(refused("a JSON pointer begins with /"));
        }
        let mut names = names.map(|name| {
            if name.len() > CLAIM_NAME_BYTES_MAX {
                return Err(Error::too_large("claim name", CLAIM_NAME_BYTES_MAX, name.len()));
            }
            unescaped(name).ok_or_else(|| refused("~ stands before 0 or 1 only"))
        });
        let first = names.next().ok_or_else(|| refused("a JSON pointer begins with /"))??;
        // A pointer of any length is not collected first.
        let rest: Vec<_> = names.by_ref().take(TOKEN_JSON_DEPTH_MAX - 1).collect::<Result<_>>()?;
        if names.next().is_some() {
            return Err(refused("no token is as deep as that"));
        }
        Ok(Self { first, rest })
    }

    pub(crate) fn first(&self) -> &str {
        &self.first
    }

    pub(crate) fn rest(&self) -> &[String] {
        &self.rest
    }
}

fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('~');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (escaped, plain) = match part.strip_prefix('0') {
            Some(plain) => ('~', plain),
            None => ('/', part.strip_prefix('1')?),
        };
        out.push(escaped);
        out.push_str(plain);
    }
    Some(out)
}

impl From<&str> for ClaimPath {
    /// A member of the token itself, of exactly this name.
    fn from(name: &str) -> Self {
        Self { first: name.to_owned(), rest: Vec::new() }
    }
}

impl<const N: usize> From<[&str; N]> for ClaimPath {
    /// A member of a member of the token, and so on. An empty array does not compile.
    fn from(names: [&str; N]) -> Self {
        const { assert!(N >= 1 && N <= TOKEN_JSON_DEPTH_MAX, "a path has one name at least") };
        let mut names = names.into_iter().map(str::to_owned);
        Self { first: names.next().unwrap_or_default(), rest: names.collect() }
    }
}

impl fmt::Display for ClaimPath {
    /// As a JSON pointer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = std::iter::once(&self.first).chain(&self.rest);
        names.into_iter().try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")))
    }
}

impl fmt::Debug for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimPath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_read_what_they_print() {
        for names in [&["a"][..], &[""], &["", ""], &["a/b", "~", "~1", "/"], &["custom:tenant_id"], &["a.b", "ü"]] {
            let path = ClaimPath { first: names[0].into(), rest: names[1..].iter().map(|&n| n.into()).collect() };
            assert_eq!(ClaimPath::pointer(&path.to_string()).unwrap(), path);
        }
        for bad in ["", "a", "a/b", "/a~", "/a~2", "/~~0", "#/a"] {
            assert!(ClaimPath::pointer(bad).is_err(), "{bad}");
        }
        assert!(ClaimPath::pointer(&"/a".repeat(TOKEN_JSON_DEPTH_MAX)).is_ok());
        assert!(ClaimPath::pointer(&"/a".repeat(TOKEN_JSON_DEPTH_MAX + 1)).is_err());
        assert!(ClaimPath::pointer(&format!("/{}", "a".repeat(CLAIM_NAME_BYTES_MAX + 1))).is_err());
    }
}
