//! Clearing away what is gone already: expired memories, the content of deleted namespaces, old outcomes.
//!
//! No operation sees any of it, swept or not. Every write sweeps a little beside its own work, so that files do not
//! grow; an idle tenant is swept by asking for it.

use redb::ReadableTable;

use super::change::Change;
use super::open::Tenant;
use super::place::{Area, Place, number_of};
use super::reembed::Doom;
use super::segment::clear_segments;
use super::write::Deleted;
use crate::access::gate::{Admin, Operation, Proof};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::RowId;
use crate::limits::SWEEP_ROWS_MAX;
use crate::store::schema::{CHANGES, DOOMED, EXPIRIES, MEMORIES, REEMBED, VECTORS};

/// What a sweep cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Memories that had expired.
    pub expired: u64,
    /// Memories of deleted namespaces.
    pub deleted: u64,
    /// Whether more is due; call again to go on.
    pub more: bool,
}

impl Tenant {
    /// Clears away at most 10,000 memories that no operation sees any more, and gives their usage back.
    pub(crate) fn sweep(&self, proof: &Proof<'_, Admin>) -> Result<Swept> {
        self.change(proof, |change| change.sweep(SWEEP_ROWS_MAX))
    }

    /// Deletes a namespace: it is gone at once, and so are the first 10,000 of its memories.
    pub(crate) fn delete_namespace<O: Operation>(&self, proof: &Proof<'_, O>, area: &Area) -> Result<Deleted> {
        let (vectors, deleted) = self.change(proof, |change| {
            let (place, vectors) = change.doom_namespace(proof, area)?;
            let mut left = SWEEP_ROWS_MAX;
            let count = change.clear(place, Doom::Everything, &mut left)?;
            // Its own rows only: what else is due is not told to whoever may delete this namespace.
            change.has_swept = true;
            Ok((vectors, Deleted { count: count as u64, more: left == 0 }))
        })?;
        self.forget_space(vectors);
        Ok(deleted)
    }
}

impl Change<'_> {
    /// Clears away at most this many rows of what is due.
    pub(super) fn sweep(&mut self, rows: usize) -> Result<Swept> {
        self.has_swept = true;
        let mut swept = Swept::default();
        let may_be_more = self.sweep_outcomes(rows)? == rows;
        let expired = self.sweep_expired(rows)?;
        let deleted = self.sweep_doomed(rows.saturating_sub(expired))?;
        (swept.expired, swept.deleted) = (expired as u64, deleted as u64);
        swept.more = may_be_more || self.facts.doomed > 0 || self.facts.next_expiry.is_some_and(|next| next <= self.at);
        Ok(swept)
    }

    fn sweep_expired(&mut self, rows: usize) -> Result<usize> {
        if self.facts.next_expiry.is_none_or(|next| next > self.at) {
            return Ok(0);
        }
        let mut due = Vec::new();
        let mut next = None;
        for entry in self.writer.open_table(EXPIRIES)?.iter()? {
            let (at, place, row) = parse_expiry(entry?.0.value())?;
            if at > self.at || due.len() == rows {
                next = Some(at);
                break;
            }
            due.push((place, row));
        }
        for (place, row) in &due {
            let memory = self.memory(*place, *row)?;
            self.expire_row(*place, *row, &memory)?;
        }
        self.facts.next_expiry = next;
        Ok(due.len())
    }

    /// Content of deleted namespaces, one namespace after the other. Gives how many memories those were.
    fn sweep_doomed(&mut self, rows: usize) -> Result<usize> {
        let (mut left, mut cleared) = (rows, 0);
        while self.facts.doomed > 0 && left > 0 {
            let doomed = self.writer.open_table(DOOMED)?;
            let first = doomed.first()?.map(|(key, mark)| (<[u8; 8]>::try_from(key.value()), Doom::of(mark.value())));
            drop(doomed);
            let Some((Ok(prefix), doom)) = first else {
                return Err(Reason::DamagedRecord("deleted namespace").into());
            };
            cleared += self.clear(Place::from_prefix(prefix), doom, &mut left)?;
        }
        Ok(cleared)
    }

    /// Clears away content of a deleted namespace, first its memories, then its feed and its index, and in the end forgets it;
    /// or what is left of vectors that were replaced. Each row
    /// counts against `left`; none is left over if it comes to an end. Gives how many memories were cleared away.
    fn clear(&mut self, place: Place, doom: Doom, left: &mut usize) -> Result<usize> {
        let (rows, tables) = match doom {
            Doom::Everything => (self.numbers_of(MEMORIES, place, *left)?, &[CHANGES, VECTORS, REEMBED][..]),
            Doom::Vectors => (Vec::new(), &[VECTORS, REEMBED][..]),
        };
        for row in &rows {
            let memory = self.memory(place, RowId(*row))?;
            self.clear_row(place, RowId(*row), &memory)?;
        }
        *left -= rows.len();
        for table in tables {
            let numbers = self.numbers_of(*table, place, *left)?;
            for number in &numbers {
                self.writer.open_table(*table)?.remove(place.numbered(*number).as_slice())?;
            }
            *left -= numbers.len();
        }
        *left -= clear_segments(&mut self.writer, place, *left)?;
        if *left > 0 {
            self.writer.open_table(DOOMED)?.remove(place.prefix().as_slice())?;
            self.facts.doomed = self.facts.doomed.checked_sub(1).ok_or(Reason::DamagedRecord("deleted namespace"))?;
        }
        Ok(rows.len())
    }

    /// The numbers of the first keys of a namespace in a table of numbered keys.
    fn numbers_of(
        &mut self,
        table: redb::TableDefinition<'static, &'static [u8], &'static [u8]>,
        place: Place,
        limit: usize,
    ) -> Result<Vec<u64>> {
        let (first, last) = place.all();
        let table = self.writer.open_table(table)?;
        let keys = table.range(first.as_slice()..=last.as_slice())?.take(limit);
        keys.map(|entry| number_of(entry?.0.value())).collect()
    }
}

fn parse_expiry(key: &[u8]) -> Result<(Timestamp, Place, RowId)> {
    let damaged = || Error::from(Reason::DamagedRecord("expiry"));
    let (at, rest) = key.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (prefix, row) = rest.split_first_chunk::<{ Place::BYTES }>().ok_or_else(damaged)?;
    let row = <[u8; 8]>::try_from(row).map_err(|_| damaged())?;
    let at = Timestamp::from_micros(u64::from_be_bytes(*at));
    Ok((at, Place::from_prefix(*prefix), RowId(u64::from_be_bytes(row))))
}
