//! The root key: the one secret that the operator of the application keeps.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use super::format::{ROOT_KIND_BYTES, ROOT_KIND_PASSPHRASE, ROOT_KIND_PROVIDER};
use super::passphrase::{Passphrase, Stretch};
use super::provider::{Provider, RootKeyProvider};
use super::secret::Secret;
use super::stack::with_wiped_stack;
use crate::error::{Reason, Result};
use crate::limits::{PROVIDER_NAME_BYTES_MAX, PROVIDER_WRAPPED_BYTES_MAX};

/// Longest root key file: 64 hexadecimal digits and a line end fit with room to spare.
const FILE_BYTES_MAX: usize = 256;

/// What wraps the engine key: 32 secret bytes, a passphrase, or a key that never leaves its provider.
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
/// let phrase = RootKey::from_passphrase("correct horse battery staple".to_owned()).unwrap();
/// assert_eq!(format!("{phrase:?}"), "RootKey(passphrase)");
/// assert!(RootKey::from_passphrase("too short".to_owned()).is_err());
/// ```
pub struct RootKey(Source);

enum Source {
    Bytes(Secret<32>),
    Passphrase(Passphrase),
    Provider(Provider),
}

/// How a root key comes to the 32 bytes under which an engine key file is sealed. It is stored in that file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RootPart {
    Bytes,
    Passphrase(Stretch),
    Provider { name: Vec<u8>, wrapped: Vec<u8> },
}

impl RootKey {
    /// Takes 32 uniformly random bytes. An array is copied wherever it goes, and only the copy that is given is wiped here:
    /// prefer [`Self::from_file`] or [`Self::from_env`], or wipe your own.
    ///
    /// # Errors
    /// `KeyUnavailable` when all bytes are equal, as in an unset or placeholder key.
    pub fn from_bytes(mut bytes: [u8; 32]) -> Result<Self> {
        let secret = Secret::copy(&bytes);
        bytes.zeroize();
        Self::from_secret(secret)
    }

    fn from_secret(secret: Secret<32>) -> Result<Self> {
        let [first, rest @ ..] = secret.expose();
        let is_placeholder = rest.iter().all(|byte| byte == first);
        if is_placeholder {
            return Err(Reason::RootKeySource("all bytes are equal").into());
        }
        Ok(Self(Source::Bytes(secret)))
    }

    /// Fresh random bytes from the operating system, for tests and demonstrations: the key is gone with the value.
    ///
    /// # Errors
    /// `Unavailable` when the operating system gives no randomness.
    pub fn generate() -> Result<Self> {
        Ok(Self(Source::Bytes(Secret::random()?)))
    }

    /// Reads the key from an environment variable: 64 hexadecimal digits, or the 44 characters of its Base64. The
    /// environment itself keeps the text for as long as the process lives, and every process that it starts gets a copy;
    /// a private file does not.
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
    /// On Unix, file and directory must belong to the user that the process runs as, or to root, since whoever owns them can
    /// exchange the key. Others must not be able to read the file, nor to write to its directory, unless that has the sticky
    /// bit, as `/tmp` has. Directories further up are not looked at.
    ///
    /// # Errors
    /// `KeyUnavailable` when the file is absent, is a link, breaks one of these rules, or does not have that form.
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
        let path = path.as_ref();
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
            check_owner(&metadata, path).map_err(refused)?;
        }
        // One buffer of full size, filled by the system alone: one that grew, or that of `read_to_end` on the stack, would
        // keep a copy.
        let mut buffer = Zeroizing::new(vec![0; FILE_BYTES_MAX]);
        let length = read_into(&file, &mut buffer).map_err(|_| refused("the file cannot be read"))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        match bytes.try_into() {
            Ok(raw) => Self::from_secret(Secret::copy(raw)),
            Err(_) => Self::from_text(bytes),
        }
    }

    fn from_text(text: &[u8]) -> Result<Self> {
        let text = text.trim_ascii();
        let decoded = with_wiped_stack(|| {
            Secret::try_fill(|bytes| {
                let is_whole = if text.len() == 64 {
                    decode_hex(text, bytes)
                } else {
                    STANDARD.decode_slice(text, bytes).is_ok_and(|length| length == 32)
                };
                if is_whole { Ok(()) } else { Err(()) }
            })
        });
        let refused = Reason::RootKeySource("neither 64 hexadecimal digits nor the Base64 of 32 bytes");
        Self::from_secret(decoded.map_err(|()| refused)?)
    }

    /// Takes a passphrase of 12 to 1,024 bytes, which is wiped when the key is dropped. Argon2id (64 MiB, 3 passes, 4
    /// lanes) makes the key of it, with a salt that is stored in the engine key file, whenever that file is opened or
    /// written. It is used byte for byte: the same text in another Unicode form is another passphrase.
    ///
    /// # Errors
    /// `KeyUnavailable` when it is shorter or longer.
    pub fn from_passphrase(passphrase: String) -> Result<Self> {
        Ok(Self(Source::Passphrase(Passphrase::new(passphrase.into_bytes())?)))
    }

    /// Takes a key management service or hardware module.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use watertight::{ProviderError, RootKey, RootKeyProvider};
    /// # struct Kms(&'static str);
    /// # impl RootKeyProvider for Kms {
    /// #     fn name(&self) -> &str {
    /// #         self.0
    /// #     }
    /// #     fn wrap_key(&self, _: &[u8; 32]) -> Result<Vec<u8>, ProviderError> {
    /// #         Err(ProviderError::Unavailable)
    /// #     }
    /// #     fn unwrap_key(&self, _: &[u8], _: &mut [u8; 32]) -> Result<(), ProviderError> {
    /// #         Err(ProviderError::Unavailable)
    /// #     }
    /// # }
    /// let key = RootKey::from_provider(Arc::new(Kms("kms.example.org/keys/7")))?;
    /// assert_eq!(format!("{key:?}"), "RootKey(provider)");
    /// assert!(RootKey::from_provider(Arc::new(Kms(""))).is_err());
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// `KeyUnavailable` when its name is empty or longer than 255 bytes.
    pub fn from_provider(provider: Arc<dyn RootKeyProvider>) -> Result<Self> {
        Ok(Self(Source::Provider(Provider::new(provider)?)))
    }

    /// 32 bytes to seal one engine key file under, and how they are found again.
    pub(super) fn draw(&self) -> Result<(Secret<32>, RootPart)> {
        Ok(match &self.0 {
            Source::Bytes(secret) => (Secret::copy(secret.expose()), RootPart::Bytes),
            Source::Passphrase(passphrase) => {
                let stretch = Stretch::fresh()?;
                (passphrase.stretch(&stretch)?, RootPart::Passphrase(stretch))
            }
            Source::Provider(provider) => {
                let secret = Secret::random()?;
                let wrapped = provider.wrap(&secret)?;
                (secret, RootPart::Provider { name: provider.name().as_bytes().to_vec(), wrapped })
            }
        })
    }

    /// The bytes that [`Self::draw`] gave; `None` when the part is of another kind, or of a provider of another name.
    pub(super) fn find(&self, part: &RootPart) -> Result<Option<Secret<32>>> {
        Ok(match (&self.0, part) {
            (Source::Bytes(secret), RootPart::Bytes) => Some(Secret::copy(secret.expose())),
            (Source::Passphrase(passphrase), RootPart::Passphrase(stretch)) => Some(passphrase.stretch(stretch)?),
            (Source::Provider(provider), RootPart::Provider { name, wrapped })
                if provider.name().as_bytes() == name =>
            {
                Some(provider.unwrap(wrapped)?)
            }
            _ => None,
        })
    }
}

impl RootPart {
    pub(super) fn kind(&self) -> u32 {
        match self {
            Self::Bytes => ROOT_KIND_BYTES,
            Self::Passphrase(_) => ROOT_KIND_PASSPHRASE,
            Self::Provider { .. } => ROOT_KIND_PROVIDER,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes => Vec::new(),
            Self::Passphrase(stretch) => stretch.to_bytes(),
            Self::Provider { name, wrapped } => {
                // Both are bounded far below 64 KiB.
                let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
                [&length(name)[..], name, &length(wrapped), wrapped].concat()
            }
        }
    }

    /// Reads what [`Self::to_bytes`] wrote, and gives the rest.
    pub(super) fn from_bytes(kind: u32, bytes: &[u8]) -> Option<(Self, &[u8])> {
        match kind {
            ROOT_KIND_BYTES => Some((Self::Bytes, bytes)),
            ROOT_KIND_PASSPHRASE => Stretch::from_bytes(bytes).map(|(stretch, rest)| (Self::Passphrase(stretch), rest)),
            ROOT_KIND_PROVIDER => {
                let (name, rest) = led_by_length(bytes, PROVIDER_NAME_BYTES_MAX)?;
                let (wrapped, rest) = led_by_length(rest, PROVIDER_WRAPPED_BYTES_MAX)?;
                Some((Self::Provider { name: name.to_vec(), wrapped: wrapped.to_vec() }, rest))
            }
            _ => None,
        }
    }
}

fn led_by_length(bytes: &[u8], most: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    if length == 0 || length > most { None } else { rest.split_at_checked(length) }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Bytes(secret) => write!(f, "RootKey({secret:?})"),
            Source::Passphrase(_) => f.write_str("RootKey(passphrase)"),
            Source::Provider(_) => f.write_str("RootKey(provider)"),
        }
    }
}

/// Who could have put another key in the place of this one.
#[cfg(unix)]
fn check_owner(file: &std::fs::Metadata, path: &Path) -> Result<(), &'static str> {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    let is_trusted = |owner: u32| owner == user || owner == 0;
    if !is_trusted(file.uid()) {
        return Err("the file belongs to another user: chown");
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = std::fs::metadata(directory).map_err(|_| "the directory of the file cannot be inspected")?;
    if !is_trusted(directory.uid()) {
        return Err("the directory of the file belongs to another user: chown");
    }
    // With the sticky bit only the owner of a file may give its name away.
    if directory.mode() & 0o022 != 0 && directory.mode() & 0o1000 == 0 {
        return Err("others can write to the directory of the file: chmod go-w");
    }
    Ok(())
}

/// Reads a file to its end or to that of the buffer; gives how much was read.
fn read_into(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
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

    fn exposed(key: &RootKey) -> [u8; 32] {
        *key.find(&RootPart::Bytes).unwrap().unwrap().expose()
    }

    #[test]
    fn text_forms_give_the_same_key() {
        assert_eq!(exposed(&RootKey::from_text(HEX.as_bytes()).unwrap()), bytes());
        assert_eq!(exposed(&RootKey::from_text(format!("{}\n", HEX.to_uppercase()).as_bytes()).unwrap()), bytes());
        assert_eq!(exposed(&RootKey::from_text(STANDARD.encode(bytes()).as_bytes()).unwrap()), bytes());
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
        // Whoever can write to the directory can exchange the file; with the sticky bit only its owner can.
        for (mode, accepted) in [(0o755, true), (0o1777, true), (0o777, false), (0o770, false), (0o702, false)] {
            std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(RootKey::from_file(&path).is_ok(), accepted, "{mode:o}");
        }
    }
}
