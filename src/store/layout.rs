//! Where every file of a data directory is. No path holds anything that a caller chose.

use std::path::{Path, PathBuf};

use super::directory::TEMPORARY;
use crate::id::{Epoch, Incarnation};

/// The paths of one data directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog.redb")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub(crate) fn tenants(&self) -> PathBuf {
        self.root.join("tenants")
    }

    pub(crate) fn engine_key(&self, version: u32) -> PathBuf {
        self.keys().join(format!("engine.{version}.key"))
    }

    /// The name of an engine key file that nothing needs any more, until it is destroyed.
    pub(crate) fn retired_engine_key(&self, version: u32) -> PathBuf {
        self.keys().join(format!("engine.{version}.retired"))
    }

    /// All directories that hold tenants' key files, whether they exist or not.
    pub(crate) fn key_directories(&self) -> impl Iterator<Item = PathBuf> {
        (0..=u8::MAX).map(|first| self.keys().join(format!("{first:02x}")))
    }

    /// `keys/ab`: the fan-out directory of a tenant's key files.
    pub(crate) fn key_directory(&self, incarnation: Incarnation) -> PathBuf {
        self.keys().join(fan_out(incarnation))
    }

    pub(crate) fn tenant_key(&self, incarnation: Incarnation, epoch: Epoch) -> PathBuf {
        self.key_directory(incarnation).join(format!("{incarnation}.{}.key", epoch.0))
    }

    /// The epoch that the name of a key file of this tenant says, also of one that was being written.
    pub(crate) fn epoch_of_key(incarnation: Incarnation, name: &str) -> Option<Epoch> {
        let name = name.strip_suffix(TEMPORARY).unwrap_or(name);
        tenant_key_owner(name).filter(|(owner, _)| *owner == incarnation).map(|(_, epoch)| epoch)
    }

    /// The epoch that the name of a data file says, also of one that was being written.
    pub(crate) fn epoch_of_data(name: &str) -> Option<Epoch> {
        let name = name.strip_suffix(TEMPORARY).unwrap_or(name);
        number(name.strip_prefix("data.")?.strip_suffix(".redb")?).map(Epoch)
    }

    /// `tenants/ab`: the fan-out directory above a tenant's own.
    pub(crate) fn tenant_fan_out(&self, incarnation: Incarnation) -> PathBuf {
        self.tenants().join(fan_out(incarnation))
    }

    pub(crate) fn tenant_directory(&self, incarnation: Incarnation) -> PathBuf {
        self.tenant_fan_out(incarnation).join(incarnation.to_string())
    }

    pub(crate) fn tenant_data(&self, incarnation: Incarnation, epoch: Epoch) -> PathBuf {
        self.tenant_directory(incarnation).join(format!("data.{}.redb", epoch.0))
    }
}

/// The version that a name in `keys` has with this ending; `None` for any other name.
pub(crate) fn engine_key_version(name: &str, ending: &str) -> Option<u32> {
    number(name.strip_prefix("engine.")?.strip_suffix(ending)?)
}

/// Whose key file a name in a directory of them is; `None` for any other name.
pub(crate) fn tenant_key_owner(name: &str) -> Option<(Incarnation, Epoch)> {
    let (incarnation, epoch) = name.strip_suffix(".key")?.split_once('.')?;
    Some((Incarnation::from_hex(incarnation)?, Epoch(number(epoch)?)))
}

/// A number as this module writes it, without a sign or zeros before it.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The first two hexadecimal digits: 256 directories keep each one short.
fn fan_out(incarnation: Incarnation) -> String {
    incarnation.to_string().chars().take(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        let layout = Layout::new(Path::new("/data"));
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let incarnation = Incarnation::random().unwrap();
        assert_eq!(tenant_key_owner(&name(layout.tenant_key(incarnation, Epoch(7)))), Some((incarnation, Epoch(7))));
        assert!(layout.key_directories().any(|path| path == layout.key_directory(incarnation)));
        assert_eq!(engine_key_version(&name(layout.engine_key(12)), ".key"), Some(12));
        assert_eq!(engine_key_version(&name(layout.retired_engine_key(12)), ".retired"), Some(12));
        let digits = incarnation.to_string();
        for bad in [
            digits.clone(),
            format!("{digits}.1.key.tmp"),
            format!("{digits}.01.key"),
            format!("{digits}.+1.key"),
            format!("{digits}.4294967296.key"),
            format!("{}.1.key", &digits[1..]),
            format!("+{}.1.key", &digits[1..]),
            format!("{}A.1.key", &digits[1..]),
        ] {
            assert_eq!(tenant_key_owner(&bad), None, "{bad}");
        }
        for bad in
            ["engine.key", "engine.01.key", "engine.1.key.tmp", "engine.-1.key", "engine..key", "engine.1.retired"]
        {
            assert_eq!(engine_key_version(bad, ".key"), None, "{bad}");
        }
    }
}
