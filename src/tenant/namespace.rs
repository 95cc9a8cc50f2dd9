//! Namespaces: tenant-wide, or one user's own.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::audit::{self, AuditAction, AuditEntry};
use super::change::Change;
use super::open::Tenant;
use super::place::{Area, Place};
use super::reembed::{Doom, Homes, StoredReembedding};
use super::settings::{NamespaceSettings, NamespaceUpdate};
use super::snapshot::Snapshot;
use super::user::{self, UserNumber};
use crate::access::gate::{Operation, Proof, Read};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::Namespace;
use crate::index::metric::Metric;
use crate::index::vector::{GivenVector, Vector};
use crate::store::codec::{self, Record};
use crate::store::database::Writer;
use crate::store::schema::{NAMESPACE_NUMBERS, NAMESPACES, USERS};

/// What is known of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceInfo {
    /// Its name.
    pub namespace: Namespace,
    /// Whether it is the caller's own.
    pub private: bool,
    /// How its vectors are compared.
    pub metric: Metric,
    /// Dimensions of its vectors; absent before the first vector, unless it was made with them.
    pub dimensions: Option<u32>,
    /// The embedding model of its vectors, where one was named.
    pub model: Option<String>,
    /// How long its memories live unless they say otherwise; absent for ever.
    pub expires_after: Option<Duration>,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NamespaceRecord {
    pub(super) number: u32,
    pub(super) metric: Metric,
    /// 0 until the first vector sets them.
    pub(super) dimensions: u32,
    pub(super) model: Option<String>,
    pub(super) expires_after: Option<Duration>,
    description: Option<String>,
    created_at: Timestamp,
    /// Of the place where its vectors are: its own number until they are replaced by those of another model.
    pub(super) vectors: u32,
    pub(super) reembedding: Option<StoredReembedding>,
}

impl Record for NamespaceRecord {
    const KIND: u8 = 18;
    const NAME: &'static str = "namespace";
}

impl NamespaceRecord {
    /// A namespace that is about to be made; it has no number yet.
    fn unmade(settings: &NamespaceSettings, at: Timestamp) -> Self {
        Self {
            number: 0,
            metric: settings.metric,
            dimensions: settings.dimensions.unwrap_or(0),
            model: settings.model.clone(),
            expires_after: settings.expires_after,
            description: settings.description.clone(),
            created_at: at,
            vectors: 0,
            reembedding: None,
        }
    }

    fn into_info(self, namespace: Namespace, private: bool) -> NamespaceInfo {
        NamespaceInfo {
            namespace,
            private,
            metric: self.metric,
            dimensions: (self.dimensions > 0).then_some(self.dimensions),
            model: self.model,
            expires_after: self.expires_after,
            description: self.description,
            created_at: self.created_at,
        }
    }

    pub(super) fn check_dimensions(&self, actual: u32) -> Result<()> {
        if self.dimensions == actual {
            return Ok(());
        }
        Err(Reason::Dimension { expected: self.dimensions, actual }.into())
    }

    /// A model that is not named on either side is taken to be the right one.
    pub(super) fn check_model(&self, actual: Option<&str>) -> Result<()> {
        match (&self.model, actual) {
            (Some(expected), Some(actual)) if expected != actual => {
                Err(Reason::Model { expected: expected.clone(), actual: actual.to_owned() }.into())
            }
            _ => Ok(()),
        }
    }

    /// Makes a vector ready for this namespace, which it may be the first to shape. Gives whether it did.
    pub(super) fn accept(&mut self, vector: &GivenVector, model: Option<&str>) -> Result<(Vector, bool)> {
        let shapes = self.dimensions == 0 || (self.model.is_none() && model.is_some());
        if self.dimensions > 0 {
            self.check_dimensions(vector.dimensions())?;
        }
        self.check_model(model)?;
        let ready = vector.ready(self.metric)?;
        self.dimensions = vector.dimensions();
        if let (None, Some(model)) = (&self.model, model) {
            self.model = Some(model.to_owned());
        }
        Ok((ready, shapes))
    }
}

/// A namespace that exists.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) record: NamespaceRecord,
}

/// Remembers where a namespace is, for as long as no namespace of the tenant changes.
#[derive(Debug, Default)]
pub(crate) struct KnownPlace(RwLock<Option<(u64, Arc<Found>)>>);

impl KnownPlace {
    /// The namespace in this snapshot; `None` reads as empty.
    pub(super) fn find<O: Operation>(
        &self,
        snapshot: &Snapshot,
        proof: &Proof<'_, O>,
        area: &Area,
    ) -> Result<Option<Arc<Found>>> {
        proof.check_about(&area.namespace, area.private)?;
        if let Some((changed, found)) = &*self.0.read()
            && *changed == snapshot.facts.namespaces_changed
        {
            return Ok(Some(found.clone()));
        }
        let Some(found) = find(snapshot, proof, area)?.map(Arc::new) else { return Ok(None) };
        *self.0.write() = Some((snapshot.facts.namespaces_changed, found.clone()));
        Ok(Some(found))
    }
}

impl Tenant {
    /// The namespaces of the tenant and the caller's own that the caller may read, each in byte order of their names.
    pub(crate) fn namespaces(&self, proof: &Proof<'_, Read>) -> Result<Vec<NamespaceInfo>> {
        self.database.read(|snapshot| {
            let visible = visible(snapshot, proof)?.into_iter();
            Ok(visible.map(|(name, found)| found.record.into_info(name, found.place.scope != 0)).collect())
        })
    }

    /// One namespace.
    ///
    /// # Errors
    /// `NotFound` when it does not exist.
    pub(crate) fn namespace(&self, proof: &Proof<'_, Read>, area: &Area) -> Result<NamespaceInfo> {
        self.find_namespace(proof, area)?.ok_or_else(Error::not_found)
    }

    /// One namespace, if it exists.
    pub(crate) fn find_namespace(&self, proof: &Proof<'_, Read>, area: &Area) -> Result<Option<NamespaceInfo>> {
        self.database.read(|snapshot| {
            let found = find(snapshot, proof, area)?;
            Ok(found.map(|found| found.record.into_info(area.namespace.clone(), area.private)))
        })
    }

    /// The embedding model of a namespace, where one is named.
    pub(crate) fn model_of<O: Operation>(
        &self,
        proof: &Proof<'_, O>,
        area: &Area,
        known: &KnownPlace,
    ) -> Result<Option<String>> {
        self.database.read(|snapshot| {
            let found = known.find(snapshot, proof, area)?;
            Ok(found.and_then(|found| found.record.model.clone()))
        })
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// `Conflict` when there is one of this name.
    pub(crate) fn create_namespace<O: Operation>(
        &self,
        proof: &Proof<'_, O>,
        area: &Area,
        settings: &NamespaceSettings,
    ) -> Result<NamespaceInfo> {
        settings.check()?;
        self.change(proof, |change| change.create_namespace(proof, area, settings))
    }

    /// Changes what can be changed of a namespace.
    pub(crate) fn update_namespace<O: Operation>(
        &self,
        proof: &Proof<'_, O>,
        area: &Area,
        update: &NamespaceUpdate,
    ) -> Result<NamespaceInfo> {
        update.check()?;
        self.change(proof, |change| change.update_namespace(proof, area, update))
    }

    /// Gives a namespace another name.
    ///
    /// # Errors
    /// `NotFound` when it does not exist, `Conflict` when the new name is taken.
    pub(crate) fn rename_namespace<O: Operation>(
        &self,
        proof: &Proof<'_, O>,
        area: &Area,
        to: &Namespace,
    ) -> Result<()> {
        self.change(proof, |change| change.rename_namespace(proof, area, to))
    }
}

/// The namespaces that a user can see: the tenant's, then its own.
pub(super) fn visible(snapshot: &Snapshot, proof: &Proof<'_, Read>) -> Result<Vec<(Namespace, Found)>> {
    let mut found = named_in(snapshot, 0)?;
    if let Some(UserNumber(own)) = user::find(&snapshot.users, proof.user())? {
        found.extend(named_in(snapshot, own)?);
    }
    let mut readable = Vec::with_capacity(found.len());
    for (name, found) in found {
        if proof.may_read(&name, found.place.scope != 0)? {
            readable.push((name, found));
        }
    }
    Ok(readable)
}

/// The namespaces of one scope: the tenant's for 0, else those of the user of this number.
fn named_in(snapshot: &Snapshot, scope: u32) -> Result<Vec<(Namespace, Found)>> {
    let first = scope.to_be_bytes();
    let rows = snapshot.namespaces.range(first.as_slice()..)?;
    rows.map_while(|row| {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error) => return Some(Err(error.into())),
        };
        let name = key.value().strip_prefix(&first)?;
        let described = || {
            let record: NamespaceRecord = codec::decode(value.value())?;
            check_number(&snapshot.namespace_numbers, record.number, key.value())?;
            Ok((stored_name(name)?, Found { place: Place { scope, namespace: record.number }, record }))
        };
        Some(described())
    })
    .collect()
}

fn stored_name(name: &[u8]) -> Result<Namespace> {
    let name = std::str::from_utf8(name).ok().and_then(|name| Namespace::new(name).ok());
    name.ok_or_else(|| Reason::DamagedRecord(NamespaceRecord::NAME).into())
}

/// The namespace of this name in the scope of the proof's user; `None` reads as empty.
pub(super) fn find<O>(snapshot: &Snapshot, proof: &Proof<'_, O>, area: &Area) -> Result<Option<Found>> {
    proof.check_about(&area.namespace, area.private)?;
    let scope = if area.private {
        // A user who has written nothing has no scope yet.
        let Some(UserNumber(own)) = user::find(&snapshot.users, proof.user())? else { return Ok(None) };
        own
    } else {
        0
    };
    let found = find_in(&snapshot.namespaces, scope, &area.namespace)?;
    if let Some(found) = &found {
        let key = name_key(scope, &area.namespace);
        check_number(&snapshot.namespace_numbers, found.place.namespace, &key)?;
    }
    Ok(found)
}

/// Whether a namespace still has the name that led to it. A row from before a namespace was renamed or deleted would open
/// it under the rules of another name, or once more.
fn check_number(numbers: &impl ReadableTable<u32, &'static [u8]>, number: u32, key: &[u8]) -> Result<()> {
    if numbers.get(number)?.is_some_and(|row| row.value() == key) {
        return Ok(());
    }
    Err(Reason::DamagedRecord("namespace under a name that it does not have").into())
}

fn find_in(
    namespaces: &impl ReadableTable<&'static [u8], &'static [u8]>,
    scope: u32,
    namespace: &Namespace,
) -> Result<Option<Found>> {
    let Some(row) = namespaces.get(name_key(scope, namespace).as_slice())? else { return Ok(None) };
    let record: NamespaceRecord = codec::decode(row.value())?;
    Ok(Some(Found { place: Place { scope, namespace: record.number }, record }))
}

/// Scope and name of a namespace that the file knows by number; `None` when it is gone.
pub(super) fn name_of(writer: &mut Writer<'_>, place: Place) -> Result<Option<Namespace>> {
    let numbers = writer.open_table(NAMESPACE_NUMBERS)?;
    let Some(row) = numbers.get(place.namespace)? else { return Ok(None) };
    match row.value().split_first_chunk::<4>() {
        Some((scope, name)) if u32::from_be_bytes(*scope) == place.scope => stored_name(name).map(Some),
        _ => Err(Reason::DamagedRecord(NamespaceRecord::NAME).into()),
    }
}

/// A namespace that the file knows by number; `None` when it is gone.
pub(super) fn found_at(writer: &mut Writer<'_>, place: Place) -> Result<Option<Found>> {
    let Some(namespace) = name_of(writer, place)? else { return Ok(None) };
    find_in(&writer.open_table(NAMESPACES)?, place.scope, &namespace)
}

fn name_key(scope: u32, namespace: &Namespace) -> Vec<u8> {
    let mut key = scope.to_be_bytes().to_vec();
    key.extend_from_slice(namespace.as_str().as_bytes());
    key
}

impl Change<'_> {
    /// The namespace of this name in the scope of the proof's user.
    pub(super) fn find_namespace<O>(&mut self, proof: &Proof<'_, O>, area: &Area) -> Result<Option<Found>> {
        proof.check_about(&area.namespace, area.private)?;
        let scope = if area.private {
            let Some(UserNumber(own)) = user::find(&self.writer.open_table(USERS)?, proof.user())? else {
                return Ok(None);
            };
            own
        } else {
            0
        };
        if let Some((name, found)) = &self.namespace
            && found.place.scope == scope
            && *name == area.namespace
        {
            return Ok(Some(found.clone()));
        }
        let found = find_in(&self.writer.open_table(NAMESPACES)?, scope, &area.namespace)?;
        if let Some(found) = &found {
            let key = name_key(scope, &area.namespace);
            check_number(&self.writer.open_table(NAMESPACE_NUMBERS)?, found.place.namespace, &key)?;
            self.homes = Some((found.place, found.homes()));
        }
        self.namespace = found.clone().map(|found| (area.namespace.clone(), found));
        Ok(found)
    }

    /// What a namespace is, or would be if the first put made it.
    pub(super) fn record_or_default(&self, found: Option<&Found>) -> NamespaceRecord {
        found.map_or_else(
            || NamespaceRecord::unmade(&NamespaceSettings::default(), self.at),
            |found| found.record.clone(),
        )
    }

    /// Refuses one more namespace when there are as many as there may be.
    pub(super) fn check_namespace_room(&self) -> Result<()> {
        self.facts.check_namespace_room()
    }

    /// Writes a namespace's first record and gives its place. The caller has checked that there is room.
    pub(super) fn make_namespace(
        &mut self,
        author: UserNumber,
        area: &Area,
        record: &mut NamespaceRecord,
    ) -> Result<Place> {
        let scope = if area.private { author.0 } else { 0 };
        let place = Place { scope, namespace: self.facts.take_namespace_number()? };
        (record.number, record.vectors) = (place.namespace, place.namespace);
        self.write_namespace(place, &area.namespace, record)?;
        Ok(place)
    }

    /// Writes a record that another one had before: what handles remember of it is no longer true.
    pub(super) fn reshape_namespace(&mut self, place: Place, name: &Namespace, record: &NamespaceRecord) -> Result<()> {
        self.facts.note_namespace_changed()?;
        self.write_namespace(place, name, record)
    }

    /// Forgets the namespace that was found last: it changes.
    fn write_namespace(&mut self, place: Place, name: &Namespace, record: &NamespaceRecord) -> Result<()> {
        (self.namespace, self.homes) = (None, None);
        let key = name_key(place.scope, name);
        let row = codec::encode(record)?;
        self.writer.open_table(NAMESPACES)?.insert(key.as_slice(), row.as_slice())?;
        self.writer.open_table(NAMESPACE_NUMBERS)?.insert(place.namespace, key.as_slice())?;
        Ok(())
    }

    fn create_namespace<O: Operation>(
        &mut self,
        proof: &Proof<'_, O>,
        area: &Area,
        settings: &NamespaceSettings,
    ) -> Result<NamespaceInfo> {
        if self.find_namespace(proof, area)?.is_some() {
            return Err(Reason::NamespaceExists.into());
        }
        self.check_namespace_room()?;
        self.begin_step()?;
        let author = self.author(proof)?;
        let mut record = NamespaceRecord::unmade(settings, self.at);
        self.make_namespace(author, area, &mut record)?;
        self.record(audit::entry(proof, self.at, AuditAction::CreateNamespace, area))?;
        Ok(record.into_info(area.namespace.clone(), area.private))
    }

    fn update_namespace<O: Operation>(
        &mut self,
        proof: &Proof<'_, O>,
        area: &Area,
        update: &NamespaceUpdate,
    ) -> Result<NamespaceInfo> {
        let Found { place, mut record } = self.find_namespace(proof, area)?.ok_or_else(Error::not_found)?;
        self.begin_step()?;
        if let Some(life) = update.expires_after {
            record.expires_after = life;
        }
        if let Some(description) = &update.description {
            record.description.clone_from(description);
        }
        self.reshape_namespace(place, &area.namespace, &record)?;
        self.record(audit::entry(proof, self.at, AuditAction::UpdateNamespace, area))?;
        Ok(record.into_info(area.namespace.clone(), area.private))
    }

    fn rename_namespace<O: Operation>(&mut self, proof: &Proof<'_, O>, area: &Area, to: &Namespace) -> Result<()> {
        let Found { place, record } = self.find_namespace(proof, area)?.ok_or_else(Error::not_found)?;
        // That the new name may be used was asked before.
        if find_in(&self.writer.open_table(NAMESPACES)?, place.scope, to)?.is_some() {
            return Err(Reason::NamespaceExists.into());
        }
        self.begin_step()?;
        self.writer.open_table(NAMESPACES)?.remove(name_key(place.scope, &area.namespace).as_slice())?;
        self.reshape_namespace(place, to, &record)?;
        let entry = audit::entry(proof, self.at, AuditAction::RenameNamespace, area);
        self.record(AuditEntry { renamed_to: Some(to.clone()), ..entry })
    }

    /// Takes the name away and leaves the content to the sweeps. Gives where it was, and where its vectors were.
    pub(super) fn doom_namespace<O: Operation>(&mut self, proof: &Proof<'_, O>, area: &Area) -> Result<(Place, Place)> {
        let found = self.find_namespace(proof, area)?.ok_or_else(Error::not_found)?;
        let (place, Homes { current, coming }) = (found.place, found.homes());
        self.begin_step()?;
        (self.namespace, self.homes) = (None, None);
        self.facts.give_back_namespace()?;
        self.writer.open_table(NAMESPACES)?.remove(name_key(place.scope, &area.namespace).as_slice())?;
        self.writer.open_table(NAMESPACE_NUMBERS)?.remove(place.namespace)?;
        self.doom(place, Doom::Everything)?;
        for vectors in [Some(current), coming].into_iter().flatten().filter(|vectors| *vectors != place) {
            self.doom(vectors, Doom::Vectors)?;
        }
        self.record(audit::entry(proof, self.at, AuditAction::DeleteNamespace, area))?;
        Ok((place, current))
    }
}
