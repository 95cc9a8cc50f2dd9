//! What selections ask of memories, kept beside an index: which vectors are wanted is known before any is compared.
//!
//! They decide nothing. What they let through is looked at once more in its record, so they may let through too much,
//! but never too little.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use super::filter::Filter;
use super::memory::{MetadataValue, StoredMemory};
use super::selection::Resolved;
use crate::clock::Timestamp;
use crate::id::RowId;
use crate::index::bits::Bits;
use crate::limits::{COLUMN_TEXT_BYTES_MAX, COLUMNS_MAX};

/// Rows of one namespace, each in a slot that it keeps, with what is known of them.
#[derive(Debug, Default)]
pub(super) struct Columns {
    slots: HashMap<RowId, u32>,
    /// Slots in use.
    live: Bits,
    free: Vec<u32>,
    /// By slot.
    rows: Vec<Row>,
    fields: BTreeMap<String, Field>,
}

/// What every row has.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// In microseconds.
    created_at: u64,
    expires_at: Option<u64>,
    author: u32,
}

/// One metadata field of all rows.
#[derive(Debug, Default)]
struct Field {
    /// Each value once.
    values: Vec<MetadataValue>,
    numbers: HashMap<Distinct, u32>,
    /// By slot: the number of its value, or one of those below.
    of: Vec<u32>,
    text_bytes: usize,
}

/// The row has no such field.
const ABSENT: u32 = u32::MAX;
/// The value is too long to be kept.
const UNKNOWN: u32 = u32::MAX - 1;

/// A value as a key: floats by their bits.
#[derive(Debug, Clone)]
struct Distinct(MetadataValue);

impl PartialEq for Distinct {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (MetadataValue::Float(a), MetadataValue::Float(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }
}

impl Eq for Distinct {}

impl Hash for Distinct {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.0).hash(state);
        match &self.0 {
            MetadataValue::Bool(value) => value.hash(state),
            MetadataValue::Integer(value) => value.hash(state),
            MetadataValue::Float(value) => value.to_bits().hash(state),
            MetadataValue::Text(value) => value.hash(state),
            MetadataValue::Time(value) => value.as_micros().hash(state),
        }
    }
}

impl Columns {
    /// None yet, of these fields.
    pub(super) fn new(fields: BTreeSet<String>) -> Self {
        Self { fields: fields.into_iter().map(|name| (name, Field::default())).collect(), ..Self::default() }
    }

    /// The fields that columns for this selection must have, with those that these have already; `None` when they are
    /// too many.
    pub(super) fn wanted(columns: Option<&Self>, filter: Option<&Filter>) -> Option<BTreeSet<String>> {
        let needed: BTreeSet<String> = filter.into_iter().flat_map(Filter::names).map(str::to_owned).collect();
        if needed.len() > COLUMNS_MAX {
            return None;
        }
        let known = columns.into_iter().flat_map(|columns| columns.fields.keys().cloned());
        let all: BTreeSet<String> = needed.iter().cloned().chain(known).collect();
        Some(if all.len() > COLUMNS_MAX { needed } else { all })
    }

    /// Whether it has all that the filter asks for.
    pub(super) fn cover(&self, filter: Option<&Filter>) -> bool {
        filter.is_none_or(|filter| filter.names().all(|name| self.fields.contains_key(name)))
    }

    /// Keeps what is known of a row now. Gives its slot.
    pub(super) fn set(&mut self, row: RowId, memory: &StoredMemory) -> u32 {
        let slot = match self.slots.get(&row) {
            Some(slot) => *slot,
            None => {
                let slot = self.free.pop().unwrap_or_else(|| u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
                self.slots.insert(row, slot);
                self.live.insert(slot);
                slot
            }
        };
        let expires_at = memory.expires_at.map(Timestamp::as_micros);
        place(
            &mut self.rows,
            slot,
            Row { created_at: memory.created_at.as_micros(), expires_at, author: memory.author },
        );
        for (name, field) in &mut self.fields {
            let number = field.number(memory.metadata.get(name));
            place(&mut field.of, slot, number);
        }
        slot
    }

    pub(super) fn remove(&mut self, row: RowId) {
        if let Some(slot) = self.slots.remove(&row) {
            self.live.remove(slot);
            self.free.push(slot);
        }
    }

    /// The slot of a row, by which an index can be narrowed.
    pub(super) fn slot(&self, row: RowId) -> u32 {
        self.slots.get(&row).copied().unwrap_or(u32::MAX)
    }

    /// Slots of rows that may be selected: all that are, and perhaps others.
    pub(super) fn select(&self, selection: &Resolved<'_>) -> Bits {
        let mut selected = match selection.filter() {
            Some(filter) => filter.select(self),
            None => self.live.clone(),
        };
        let is_out = |slot: &u32| {
            let row = self.rows.get(*slot as usize);
            row.is_none_or(|row| !selection.may_select(row.created_at, row.expires_at, row.author))
        };
        let out: Bits = selected.iter().filter(is_out).collect();
        selected.subtract(&out);
        selected
    }

    /// Slots in use.
    pub(super) fn live(&self) -> &Bits {
        &self.live
    }

    /// Slots whose field of this name is as is asked, and, if `unknown` says so, those of which it is not known.
    pub(super) fn matching(&self, name: &str, unknown: bool, asks: impl Fn(Option<&MetadataValue>) -> bool) -> Bits {
        let Some(field) = self.fields.get(name) else {
            return if unknown { self.live.clone() } else { Bits::default() };
        };
        let values: Vec<bool> = field.values.iter().map(|value| asks(Some(value))).collect();
        let absent = asks(None);
        let matches = |number: u32| match number {
            ABSENT => absent,
            UNKNOWN => unknown,
            number => values.get(number as usize).copied().unwrap_or(unknown),
        };
        let mut matching: Bits =
            (0..).zip(&field.of).filter(|(_, number)| matches(**number)).map(|(slot, _)| slot).collect();
        matching.intersect(&self.live);
        matching
    }

    /// Memory that they take, about.
    pub(super) fn bytes(&self) -> u64 {
        let rows = self.slots.capacity() * 20 + self.rows.capacity() * size_of::<Row>();
        let fields = self
            .fields
            .values()
            .map(|field| field.of.capacity() * 4 + field.values.capacity() * 100 + 2 * field.text_bytes);
        (rows + self.live.bytes() + fields.sum::<usize>()) as u64
    }
}

impl Field {
    fn number(&mut self, value: Option<&MetadataValue>) -> u32 {
        let Some(value) = value else { return ABSENT };
        let length = if let MetadataValue::Text(text) = value { text.len() } else { 0 };
        if length > COLUMN_TEXT_BYTES_MAX {
            return UNKNOWN;
        }
        let key = Distinct(value.clone());
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).unwrap_or(UNKNOWN).min(UNKNOWN);
        if number < UNKNOWN {
            self.text_bytes += length;
            self.values.push(value.clone());
            self.numbers.insert(key, number);
        }
        number
    }
}

/// Sets an item of a list, or adds it: slots are given one after the other.
fn place<T>(list: &mut Vec<T>, slot: u32, item: T) {
    match list.get_mut(slot as usize) {
        Some(place) => *place = item,
        None => list.push(item),
    }
}
