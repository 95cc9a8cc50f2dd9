//! The change feed of a namespace: first what is there, then what changes, in order, without holding a snapshot.

use super::change::ChangeRecord;
use super::cursor::{self, CursorScope, FeedPosition};
use super::history::Moment;
use super::memory::{MemoryRecord, StoredMemory};
use super::namespace::KnownPlace;
use super::open::Tenant;
use super::place::{Area, Place, number_of};
use super::snapshot::Snapshot;
use crate::access::gate::{Proof, Read};
use crate::clock::Timestamp;
use crate::crypto::secret::fill_random;
use crate::error::{Error, Reason, Result};
use crate::id::{MemoryId, RowId};
use crate::limits::{ANSWER_BYTES_MAX, FEED_CHANGES_KEPT, FEED_PAGE_MAX};
use crate::store::codec;

/// What a consumer of a feed does next.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FeedEvent {
    /// The memory is there, or has another version: put it into the cache or the other system.
    Put(MemoryRecord),
    /// The memory is gone, deleted or expired: take it out. It may be one that the consumer has never seen.
    Removed {
        /// Its id.
        id: MemoryId,
        /// Its key.
        key: String,
    },
}

/// One page of a feed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FeedPage {
    /// What happened, in order. Only the last of several changes of one memory is told.
    pub events: Vec<FeedEvent>,
    /// From where to ask the next time, at once or later.
    pub next: FeedPosition,
    /// Whether there is more already.
    pub more: bool,
}

/// Where a consumer stands.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// Rows up to this one have been told; `DONE` when all that there was at the beginning has been.
    row: u64,
    /// Changes up to this one are told, or began before the first row was.
    sequence: u64,
    /// The number of the namespace, 0 when there was none.
    namespace: u64,
    /// The file has come through this moment, or it is not the one that gave the position out.
    moment: Moment,
}

const DONE: u64 = u64::MAX;

impl Position {
    const START: Self = Self { row: 0, sequence: 0, namespace: 0, moment: Moment::BEGINNING };

    /// With a random one, so that no two positions are the same: whether others have written, in their private
    /// namespaces too, is not to be seen from one that stays as it was.
    fn numbers(self) -> Result<[u64; 6]> {
        let mut random = [0; 8];
        fill_random(&mut random)?;
        let [entries, mark] = self.moment.numbers();
        Ok([self.row, self.sequence, self.namespace, entries, mark, u64::from_le_bytes(random)])
    }
}

/// A page that is being filled.
struct Filling {
    events: Vec<FeedEvent>,
    bytes: usize,
    limit: usize,
}

impl Filling {
    /// A page ends early when its memories are large, so that no reader can make the process hold gigabytes.
    fn is_full(&self) -> bool {
        self.events.len() >= self.limit || self.bytes > ANSWER_BYTES_MAX
    }
}

impl Tenant {
    /// At most `limit` events behind a position, or from the beginning.
    pub(crate) fn changes(
        &self,
        proof: &Proof<'_, Read>,
        area: &Area,
        known: &KnownPlace,
        since: Option<&FeedPosition>,
        limit: usize,
    ) -> Result<FeedPage> {
        if limit == 0 {
            return Err(Error::invalid("feed limit", "must be at least 1"));
        }
        if limit > FEED_PAGE_MAX {
            return Err(Error::too_large("feed limit", FEED_PAGE_MAX, limit));
        }
        let (keys, scope) = (self.keys(), CursorScope { user: proof.user(), area, query: b"feed" });
        let since = match since {
            Some(position) => {
                let [row, sequence, namespace, entries, mark, _] = cursor::open(&position.0, &keys.cursors, &scope)?;
                Position { row, sequence, namespace, moment: Moment::from_numbers([entries, mark]) }
            }
            None => Position::START,
        };
        let mut page = Filling { events: Vec::new(), bytes: 0, limit };
        let (next, more) = self.database.read(|snapshot| {
            let found = known.find(snapshot, proof, area)?;
            let place = found.map(|found| found.place);
            self.fill(snapshot, place, since, proof.at(), &mut page)
        })?;
        let next = FeedPosition(cursor::seal(next.numbers()?, &keys.cursors, &scope));
        Ok(FeedPage { events: page.events, next, more })
    }

    fn fill(
        &self,
        snapshot: &Snapshot,
        place: Option<Place>,
        since: Position,
        at: Timestamp,
        page: &mut Filling,
    ) -> Result<(Position, bool)> {
        // A consumer that has seen another future of this file, or a later state, is not told of what differs.
        if !since.moment.is_past(snapshot)? || since.sequence > snapshot.facts.sequence {
            return Err(Reason::FeedGone.into());
        }
        let moment = Moment::of(snapshot);
        let mut position = match place {
            // It starts when the namespace is made.
            None if since.namespace == 0 => return Ok((Position::START, false)),
            Some(place) if since.namespace == 0 => {
                Position { sequence: snapshot.facts.sequence, namespace: u64::from(place.namespace), ..since }
            }
            Some(place) if since.namespace == u64::from(place.namespace) => since,
            // Another namespace has the name, or none.
            _ => return Err(Reason::FeedGone.into()),
        };
        position.moment = moment;
        let Some(place) = place else { return Err(Reason::FeedGone.into()) };
        let reaches_back = changes_kept_from(snapshot, place)?;
        if position.sequence < reaches_back {
            return Err(Reason::FeedGone.into());
        }
        if position.row != DONE && !self.fill_rows(snapshot, place, &mut position, at, page)? {
            return Ok((position, true));
        }
        let more = !self.fill_changes(snapshot, place, &mut position, at, page)?;
        Ok((position, more))
    }

    /// What is there. Gives whether that was all.
    fn fill_rows(
        &self,
        snapshot: &Snapshot,
        place: Place,
        position: &mut Position,
        at: Timestamp,
        page: &mut Filling,
    ) -> Result<bool> {
        let (from, to) = place.rows(Some(RowId(position.row)), true);
        let bounds = (from.as_ref().map(<[u8; 16]>::as_slice), to.as_ref().map(<[u8; 16]>::as_slice));
        let mut authors = self.authors(snapshot);
        for entry in snapshot.memories.range::<&[u8]>(bounds)? {
            if page.is_full() {
                return Ok(false);
            }
            let (key, record) = entry?;
            let memory: StoredMemory = codec::decode(record.value())?;
            if memory.is_live(at) {
                page.bytes = page.bytes.saturating_add(record.value().len());
                page.events.push(FeedEvent::Put(authors.name(memory)?));
            }
            position.row = number_of(key.value())?;
        }
        position.row = DONE;
        Ok(true)
    }

    /// What has changed. Gives whether that was all.
    fn fill_changes(
        &self,
        snapshot: &Snapshot,
        place: Place,
        position: &mut Position,
        at: Timestamp,
        page: &mut Filling,
    ) -> Result<bool> {
        let mut authors = self.authors(snapshot);
        for entry in changes_after(snapshot, place, position.sequence)? {
            if page.is_full() {
                return Ok(false);
            }
            let (sequence, change) = entry?;
            match change {
                ChangeRecord::Remove { id, key, .. } => page.events.push(FeedEvent::Removed { id, key }),
                ChangeRecord::Put { row } => {
                    let record = snapshot.memories.get(place.row_key(row).as_slice())?;
                    // What was removed or put again since is told by a later change.
                    if let Some(record) = record {
                        let memory: StoredMemory = codec::decode(record.value())?;
                        if memory.sequence == sequence && memory.is_live(at) {
                            page.bytes = page.bytes.saturating_add(record.value().len());
                            page.events.push(FeedEvent::Put(authors.name(memory)?));
                        } else if memory.sequence == sequence {
                            page.events.push(FeedEvent::Removed { id: memory.id, key: memory.key });
                        }
                    }
                }
            }
            position.sequence = sequence;
        }
        // Changes of other namespaces do not make this position an old one.
        position.sequence = snapshot.facts.sequence;
        Ok(true)
    }
}

/// All changes of a namespace behind this sequence are still there.
pub(super) fn changes_kept_from(snapshot: &Snapshot, place: Place) -> Result<u64> {
    let (first, last) = place.all();
    let newest = snapshot.changes.range(first.as_slice()..=last.as_slice())?.next_back();
    let newest = newest.transpose()?.map(|(key, _)| number_of(key.value())).transpose()?;
    Ok(newest.map_or(0, |newest| newest.saturating_sub(FEED_CHANGES_KEPT)))
}

/// The changes of a namespace behind a sequence, in order.
pub(super) fn changes_after(
    snapshot: &Snapshot,
    place: Place,
    sequence: u64,
) -> Result<impl Iterator<Item = Result<(u64, ChangeRecord)>>> {
    let (first, last) = (place.numbered(sequence.saturating_add(1)), place.all().1);
    let entries = snapshot.changes.range(first.as_slice()..=last.as_slice())?;
    Ok(entries.map(|entry| {
        let (key, record) = entry?;
        Ok((number_of(key.value())?, codec::decode(record.value())?))
    }))
}
