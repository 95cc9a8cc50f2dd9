//! Where every file of a data directory is. No path holds anything that a caller chose.

use std::path::{Path, PathBuf};

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

/// The first two hexadecimal digits: 256 directories keep each one short.
fn fan_out(incarnation: Incarnation) -> String {
    incarnation.to_string().chars().take(2).collect()
}
