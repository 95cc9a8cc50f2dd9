//! Texts that become part of a line: names, labels, groups and reasons, which go into logs, trails and printed receipts.
//!
//! Such a text must not look like something else there. What a memory holds is content, and may be any text.

use std::fmt;

use crate::error::{Error, Result};

/// Whether a character can change how the line around it reads: it ends the line, moves or turns what stands beside it, or
/// cannot be seen at all.
///
/// The two joiners (U+200C, U+200D) are not among these, because words of Persian and of Indian languages need them.
pub(crate) fn is_misleading(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'     // controls
            | '\u{2028}' | '\u{2029}'             // line and paragraph separators
            | '\u{61c}' | '\u{200e}' | '\u{200f}' // direction marks
            | '\u{202a}'..='\u{202e}'             // embeddings and overrides of direction
            | '\u{2066}'..='\u{206f}'             // isolates, and what was there before them
            | '\u{ad}' | '\u{180e}' | '\u{200b}'  // no width
            | '\u{2060}'..='\u{2065}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'             // annotations between lines
            | '\u{e0000}'..='\u{e007f}'           // tags
    )
}

/// # Errors
/// `InvalidInput` when the text has a misleading character.
pub(crate) fn check_line(what: &'static str, text: &str) -> Result<()> {
    if text.chars().any(is_misleading) {
        return Err(Error::invalid(what, "control, direction and invisible characters are not allowed"));
    }
    Ok(())
}

/// As [`check_line`], for a name: one byte at least, and not too many.
pub(crate) fn check_name(what: &'static str, name: &str, bytes_max: usize) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(what, "must not be empty"));
    }
    if name.len() > bytes_max {
        return Err(Error::too_large(what, bytes_max, name.len()));
    }
    check_line(what, name)
}

/// Prints a text with its misleading characters escaped: an earlier release may have stored some.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            misleading if is_misleading(misleading) => write!(f, "{}", misleading.escape_unicode()),
            plain => write!(f, "{plain}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_languages_are_plain_and_what_turns_or_hides_them_is_not() {
        for plain in ["ops@example.org", "Größe 5", "عربي", "עברית", "می\u{200c}خواهم", "日本語", "👩\u{200d}🚀", " "]
        {
            assert!(check_line("text", plain).is_ok(), "{plain:?}");
            assert_eq!(Escaped(plain).to_string(), plain);
        }
        for bad in "\0\t\n\r\x1b\x7f\u{85}\u{2028}\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff}\u{e0041}".chars() {
            let text = format!("a{bad}b");
            assert!(check_line("text", &text).is_err(), "{text:?}");
            assert_eq!(Escaped(&text).to_string(), format!("a{}b", bad.escape_unicode()));
        }
    }
}
