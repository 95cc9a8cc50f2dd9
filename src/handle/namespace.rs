//! The namespace itself: its settings, its name, its end.

use super::memories::Memories;
use crate::access::gate::{Admin, Delete, Read, Write};
use crate::error::Result;
use crate::id::Namespace;
use crate::tenant::namespace::NamespaceInfo;
use crate::tenant::place::Area;
use crate::tenant::settings::{NamespaceSettings, NamespaceUpdate};
use crate::tenant::write::Deleted;

impl Memories {
    /// Makes the namespace with settings, before anything is put into it. Needs the scope `write`. Without this the first
    /// put makes it, with the defaults of [`NamespaceSettings`].
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// let info = notes.create(&NamespaceSettings::new().metric(Metric::L2).dimensions(2).model("points-1"))?;
    /// assert_eq!((info.metric, info.dimensions), (Metric::L2, Some(2)));
    ///
    /// let other = notes.put(Memory::new("k").vector(vec![1.0, 2.0]).model("points-2")).unwrap_err();
    /// assert_eq!(other.to_string(), r#"a vector of the model "points-2" in a namespace of "points-1""#);
    /// assert_eq!(*notes.create(&NamespaceSettings::new()).unwrap_err().reason(), Reason::NamespaceExists);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Conflict` when the namespace exists, `InvalidInput` when a setting is out of range, `Limit` when the tenant has
    /// as many namespaces as it may.
    pub fn create(&self, settings: &NamespaceSettings) -> Result<NamespaceInfo> {
        self.run::<Write, _>(|tenant, proof| tenant.create_namespace(proof, &self.area, settings))
    }

    /// The namespace's settings. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k").vector(vec![0.6, 0.8]))?;
    /// assert_eq!((notes.info()?.metric, notes.info()?.dimensions), (Metric::Cosine, Some(2)));
    /// assert_eq!(tenant.memories("absent")?.info().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when it does not exist.
    pub fn info(&self) -> Result<NamespaceInfo> {
        self.run::<Read, _>(|tenant, proof| tenant.namespace(proof, &self.area))
    }

    /// Changes what can be changed of the settings. Needs the scope `admin`, or `write` for a private namespace.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.create(&NamespaceSettings::new())?;
    /// let info = notes.update(&NamespaceUpdate::new().description(Some("meetings".into())))?;
    /// assert_eq!(info.description.as_deref(), Some("meetings"));
    /// assert!(tenant.memories("absent")?.update(&NamespaceUpdate::new()).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when it does not exist, `InvalidInput` when a setting is out of range.
    pub fn update(&self, update: &NamespaceUpdate) -> Result<NamespaceInfo> {
        if self.area.private {
            self.run::<Write, _>(|tenant, proof| tenant.update_namespace(proof, &self.area, update))
        } else {
            self.run::<Admin, _>(|tenant, proof| tenant.update_namespace(proof, &self.area, update))
        }
    }

    /// Gives the namespace another name, and a handle for that. Needs the scope `admin`, or `write` for a private
    /// namespace, under both names. Handles of the old name find nothing from then on; cursors and feed positions of the old name end.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k"))?;
    /// let archive = notes.rename("archive")?;
    /// assert!(archive.exists("k")? && !notes.exists("k")?);
    /// assert_eq!(notes.rename("elsewhere").unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when it does not exist, `Conflict` when the new name is taken, `InvalidInput` when the new name breaks
    /// the rule of [`Namespace`].
    pub fn rename(&self, to: &str) -> Result<Self> {
        let to = Namespace::new(to)?;
        let renamed = Self::new(self.access.clone(), Area { namespace: to.clone(), private: self.area.private });
        if self.area.private {
            self.run::<Write, _>(|tenant, proof| {
                renamed.admit::<Write>()?;
                tenant.rename_namespace(proof, &self.area, &to)
            })?;
        } else {
            self.run::<Admin, _>(|tenant, proof| {
                renamed.admit::<Admin>()?;
                tenant.rename_namespace(proof, &self.area, &to)
            })?;
        }
        Ok(renamed)
    }

    /// Deletes the namespace with all its memories. Needs the scope `admin`, or `delete` for a private namespace.
    ///
    /// It is gone at once, in one durable step with one audit entry. Its memories are cleared away 10,000 at a time: the
    /// first by this call, which counts them, the others beside later writes or by [`TenantHandle::sweep`](crate::TenantHandle::sweep).
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k"))?;
    /// let deleted = notes.delete_namespace()?;
    /// assert_eq!((deleted.count, deleted.more), (1, false));
    /// assert!(!notes.exists("k")?);
    /// assert_eq!(notes.delete_namespace().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when it does not exist; `OutcomeUnknown` as for [`Memories::put`].
    pub fn delete_namespace(&self) -> Result<Deleted> {
        if self.area.private {
            self.run::<Delete, _>(|tenant, proof| tenant.delete_namespace(proof, &self.area))
        } else {
            self.run::<Admin, _>(|tenant, proof| tenant.delete_namespace(proof, &self.area))
        }
    }
}
