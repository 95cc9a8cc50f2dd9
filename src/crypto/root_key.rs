//! The root key: the one secret that the operator of the application keeps.

use std::env;
use std::fmt;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use super::secret::Secret;
use crate::error::{Reason, Result};

/// Longest root key file: 64 hexadecimal digits and a line end fit with room to spare.
const FILE_BYTES_MAX: usize = 256;

/// 32 secret bytes that wrap the engine key.
///
/// Losing it loses every tenant: nothing on disk can be read without it. It is never written by the engine.
///
/// ```
/// use watertight::RootKey;
///
/// assert!(RootKey::from_bytes([7; 32]).is_err(), "equal bytes are a placeholder, not a key");
/// let key = RootKey::generate().unwrap();
/// assert_eq!(format!("{key:?}"), "RootKey([redacted])");
///
/// assert!(RootKey::from_env("NOT_SET_ANYWHERE").is_err());
/// assert!(RootKey::from_file("/nowhere/root.key").is_err());
/// ```
pub struct RootKey(Secret<32>);

impl RootKey {
    /// Takes 32 uniformly random bytes.
    ///
    /// # Errors
    /// `KeyUnavailable` when all bytes are equal, as in an unset or placeholder key.
    pub fn from_bytes(mut bytes: [u8; 32]) -> Result<Self> {
        let [first, rest @ ..] = &bytes;
        let placeholder = rest.iter().all(|byte| byte == first);
        let key = Self(Secret::new(bytes));
        bytes.zeroize();
        if placeholder { Err(Reason::RootKeySource("all bytes are equal").into()) } else { Ok(key) }
    }

    /// Fresh random bytes from the operating system, for tests and demonstrations: the key is gone with the value.
    ///
    /// # Errors
    /// `Unavailable` when the operating system gives no randomness.
    pub fn generate() -> Result<Self> {
        Secret::random().map(Self)
    }

    /// Reads the key from an environment variable: 64 hexadecimal digits, or the 44 characters of its Base64.
    ///
    /// # Errors
    /// `KeyUnavailable` when the variable is not set or does not have that form.
    pub fn from_env(variable: &str) -> Result<Self> {
        let text = Zeroizing::new(
            env::var(variable).map_err(|_| Reason::RootKeySource("the environment variable is not set"))?,
        );
        Self::from_text(text.as_bytes())
    }

    /// Reads the key from a file: 32 raw bytes, 64 hexadecimal digits, or Base64; a line end may follow the text.
    ///
    /// # Errors
    /// `KeyUnavailable` when the file is absent, is a link, can be read by others than its owner, or does not have
    /// that form.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let refused = |why| Reason::RootKeySource(why);
        let mut options = std::fs::OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use rustix::fs::OFlags;
            use std::os::unix::fs::OpenOptionsExt;
            // Without waiting: opening a pipe would otherwise hang until somebody writes to it.
            options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        }
        let file = options.open(path).map_err(|_| refused("the file cannot be opened, or is a link"))?;
        // The open file is asked, not the path: between two looks at a path it can become another file.
        let metadata = file.metadata().map_err(|_| refused("the file cannot be inspected"))?;
        if !metadata.is_file() {
            return Err(refused("not a regular file").into());
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if metadata.permissions().mode() & 0o077 != 0 {
                return Err(refused("the file can be read by others than its owner").into());
            }
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
        file.take(FILE_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(|_| refused("the file cannot be read"))?;
        match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(raw) => Self::from_bytes(raw),
            Err(_) => Self::from_text(&bytes),
        }
    }

    fn from_text(text: &[u8]) -> Result<Self> {
        let text = text.trim_ascii();
        let mut bytes = [0; 32];
        let decoded = if text.len() == 64 {
            decode_hex(text, &mut bytes)
        } else {
            STANDARD.decode_slice(text, &mut bytes).is_ok_and(|length| length == 32)
        };
        let key = if decoded {
            Self::from_bytes(bytes)
        } else {
            Err(Reason::RootKeySource("neither 64 hexadecimal digits nor the Base64 of 32 bytes").into())
        };
        bytes.zeroize();
        key
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.0
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({:?})", self.0)
    }
}

fn decode_hex(text: &[u8], out: &mut [u8; 32]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    text.chunks_exact(2).zip(out).all(|(pair, to)| match pair {
        [high, low] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => {
                *to = high << 4 | low;
                true
            }
            _ => false,
        },
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn bytes() -> [u8; 32] {
        std::array::from_fn(|i| u8::try_from(i).unwrap())
    }

    #[test]
    fn text_forms_give_the_same_key() {
        assert_eq!(RootKey::from_text(HEX.as_bytes()).unwrap().0.expose(), &bytes());
        assert_eq!(RootKey::from_text(format!("{}\n", HEX.to_uppercase()).as_bytes()).unwrap().0.expose(), &bytes());
        assert_eq!(RootKey::from_text(STANDARD.encode(bytes()).as_bytes()).unwrap().0.expose(), &bytes());
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "00", &HEX[..63], &HEX.replace('0', "g"), &"0".repeat(64), &"é".repeat(32), "password"] {
            assert!(RootKey::from_text(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_must_be_private_and_regular() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.key");
        std::fs::write(&path, bytes()).unwrap();
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o644, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(RootKey::from_file(&path).is_ok(), accepted, "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let link = directory.path().join("link.key");
        symlink(&path, &link).unwrap();
        assert!(RootKey::from_file(&link).is_err());
        assert!(RootKey::from_file(directory.path()).is_err());
        assert!(RootKey::from_file(directory.path().join("absent")).is_err());
    }
}
