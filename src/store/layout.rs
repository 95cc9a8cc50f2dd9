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
        parse_epoch(name.strip_prefix(&incarnation.to_string())?.strip_prefix('.')?.strip_suffix(".key")?)
    }

    /// The epoch that the name of a data file says, also of one that was being written.
    pub(crate) fn epoch_of_data(name: &str) -> Option<Epoch> {
        let name = name.strip_suffix(TEMPORARY).unwrap_or(name);
        parse_epoch(name.strip_prefix("data.")?.strip_suffix(".redb")?)
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

/// Only as we write it: `+1` or `01` are not names of ours.
fn parse_epoch(text: &str) -> Option<Epoch> {
    text.parse().ok().map(Epoch).filter(|epoch| epoch.to_string() == text)
}

/// The first two hexadecimal digits: 256 directories keep each one short.
fn fan_out(incarnation: Incarnation) -> String {
    incarnation.to_string().chars().take(2).collect()
}
