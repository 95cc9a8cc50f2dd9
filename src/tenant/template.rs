//! Texts that name credentials: `${{ user.credentials.NAME }}`.

use std::fmt;

use zeroize::Zeroizing;

use super::credential::check_name;
use crate::error::{Error, Result};
use crate::limits::{TEMPLATE_BYTES_MAX, TEMPLATE_EXPRESSIONS_MAX};

const OPEN: &str = "${{";
const CLOSE: &str = "}}";
const PREFIX: &str = "user.credentials.";

/// A text with secrets in it. It is wiped when it is dropped, and `Debug` does not print it.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text. Whatever it is copied to is not wiped.
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let text = tenant.credentials().resolve("no secret in it")?;
    /// assert_eq!((text.expose(), format!("{text:?}").as_str()), ("no secret in it", "[redacted]"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A part of a template.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Credential(&'a str),
}

/// A template that was read: what it asks for is known before anything is looked up.
#[derive(Debug)]
pub(crate) struct Template<'a>(Vec<Part<'a>>);

impl<'a> Template<'a> {
    /// # Errors
    /// `InvalidInput` for a text that is too long, an expression that is not closed, has another inside, or is anything
    /// but `user.credentials.` and a name.
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(Error::too_large("template", TEMPLATE_BYTES_MAX, text.len()));
        }
        let wrong = |rule| Error::invalid("template", rule);
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let (expression, after) = after.split_once(CLOSE).ok_or_else(|| wrong("an expression is not closed"))?;
            if expression.contains(OPEN) {
                return Err(wrong("an expression inside another"));
            }
            let name = expression.trim().strip_prefix(PREFIX);
            let name = name.ok_or_else(|| wrong("an expression is user.credentials. and a name"))?;
            check_name(name)?;
            parts.extend([Part::Text(before), Part::Credential(name)]);
            if parts.len() > 2 * TEMPLATE_EXPRESSIONS_MAX {
                return Err(Error::too_large("number of expressions", TEMPLATE_EXPRESSIONS_MAX, parts.len() / 2));
            }
            rest = after;
        }
        parts.push(Part::Text(rest));
        Ok(Self(parts))
    }

    /// The names it asks for, in order; one that is there twice comes twice.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|part| if let Part::Credential(name) = part { Some(*name) } else { None })
    }

    /// The text with secrets in the places of the names. What a secret contains is never expanded again.
    ///
    /// # Errors
    /// `InvalidInput` when a secret is not UTF-8 or the text becomes too long.
    pub(crate) fn fill(&self, secrets: &mut impl Iterator<Item = Zeroizing<Vec<u8>>>) -> Result<SecretText> {
        let secrets: Vec<_> = self.names().zip(secrets).map(|(_, secret)| secret).collect();
        let texts = self.0.iter().map(|part| if let Part::Text(text) = part { text.len() } else { 0 });
        let bytes = texts.chain(secrets.iter().map(|secret| secret.len())).sum();
        if bytes > TEMPLATE_BYTES_MAX {
            return Err(Error::too_large("resolved text", TEMPLATE_BYTES_MAX, bytes));
        }
        // As large as it becomes: a text that grew would leave copies of secrets behind.
        let mut filled = Zeroizing::new(String::with_capacity(bytes));
        let mut secrets = secrets.iter();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Credential(_) => {
                    let secret = secrets.next().and_then(|secret| std::str::from_utf8(secret).ok());
                    filled.push_str(secret.ok_or_else(|| Error::invalid("template", "a secret is not UTF-8"))?);
                }
            }
        }
        Ok(SecretText(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, secrets: &[&str]) -> Result<String> {
        let mut secrets = secrets.iter().map(|secret| Zeroizing::new(secret.as_bytes().to_vec()));
        Ok(Template::parse(text)?.fill(&mut secrets)?.expose().to_owned())
    }

    #[test]
    fn names_are_replaced_and_nothing_else() {
        assert_eq!(filled("", &[]).unwrap(), "");
        assert_eq!(filled("a $ { {{ }} ${ b", &[]).unwrap(), "a $ { {{ }} ${ b");
        assert_eq!(filled("x${{ user.credentials.A }}y${{user.credentials.B-2}}", &["1", "2"]).unwrap(), "x1y2");
        assert_eq!(filled("${{\tuser.credentials.A\n}}${{user.credentials.A}}", &["1", "1"]).unwrap(), "11");
    }

    #[test]
    fn a_secret_is_never_expanded_again() {
        let secret = "${{ user.credentials.B }}";
        assert_eq!(filled("${{ user.credentials.A }}", &[secret]).unwrap(), secret);
        // Not even together with what stands beside it.
        assert_eq!(filled("$${{ user.credentials.A }}", &["{{ user.credentials.B }}"]).unwrap(), secret);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "${{",
            "${{ user.credentials.A",
            "${{ user.credentials.A }",
            "${{ user.credentials.${{ user.credentials.A }} }}",
            "${{ }}",
            "${{ user.credentials. }}",
            "${{ user.credentials.A B }}",
            "${{ user.credentials.a.b }}",
            "${{ user.bob.credentials.A }}",
            "${{ bob.credentials.A }}",
            "${{ User.credentials.A }}",
            "${{ user.credentials.A | upper }}",
            "${{ env.HOME }}",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        let many = "${{ user.credentials.A }}".repeat(TEMPLATE_EXPRESSIONS_MAX);
        assert!(Template::parse(&many).is_ok());
        assert!(Template::parse(&format!("{many}${{{{ user.credentials.A }}}}")).is_err());
        assert!(Template::parse(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
        assert!(filled("${{ user.credentials.A }}", &["x".repeat(TEMPLATE_BYTES_MAX + 1).as_str()]).is_err());
    }
}
