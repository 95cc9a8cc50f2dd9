//! An append-only chain: each entry's hash covers the one before it, so an edit, insertion, removal or exchange
//! shows when the chain is walked.
//!
//! An entry may have a detail that can be taken out later: the chain covers a digest of it, which stays. A row is
//! `hash 32 | 0 | record`, or `hash 32 | 1 | digest 32 | length of the record u32 | record | detail`, where the detail is
//! `salt 32 | record`, or nothing when it was taken out. Integers are little-endian.

use redb::{ReadableTable, Table};
use sha2::{Digest, Sha256};

use super::codec::{self, Record};
use crate::crypto::format::{AUDIT_DETAIL_DOMAIN, AUDIT_ENTRY_DOMAIN};
use crate::crypto::secret::fill_random;
use crate::error::{Error, Reason, Result};

const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
const PLAIN: u8 = 0;
const DETAILED: u8 = 1;

/// The last link of a chain: how many entries it has and the hash of the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ChainHead {
    /// Entries in the chain.
    pub entries: u64,
    /// SHA-256 over the newest entry and, through it, over all before it.
    pub hash: [u8; HASH_BYTES],
}

/// Appends an entry in the caller's transaction.
pub(crate) fn append<R: Record>(table: &mut Table<'_, u64, &[u8]>, head: &mut ChainHead, entry: &R) -> Result<()> {
    let record = codec::encode(entry)?;
    append_body(table, head, &[&[PLAIN], record.as_slice()].concat(), &[])
}

/// Appends an entry with a detail that [`without_detail`] takes out.
pub(crate) fn append_with_detail<R: Record, D: Record>(
    table: &mut Table<'_, u64, &[u8]>,
    head: &mut ChainHead,
    entry: &R,
    detail: &D,
) -> Result<()> {
    // Salted, so that a digest that stays does not let anybody try what the detail was.
    let mut salted = vec![0; SALT_BYTES];
    fill_random(&mut salted)?;
    salted.extend(codec::encode(detail)?);
    let record = codec::encode(entry)?;
    let length = u32::try_from(record.len()).map_err(|_| broken())?.to_le_bytes();
    let body = [&[DETAILED][..], &digest(&salted), &length, &record].concat();
    append_body(table, head, &body, &salted)
}

fn append_body(table: &mut Table<'_, u64, &[u8]>, head: &mut ChainHead, body: &[u8], detail: &[u8]) -> Result<()> {
    let next = link(*head, body)?;
    if table.insert(next.entries, [&next.hash[..], body, detail].concat().as_slice())?.is_some() {
        // The head is older than the chain, and so is every number that stands beside it: none may be given out again.
        return Err(broken());
    }
    *head = next;
    Ok(())
}

/// Compares the newest entry with the head that was kept apart from it. It reads one row, where [`verify`] reads all: a
/// head that is older than its chain, or a chain that is older than its head, is found.
///
/// # Errors
/// `Damaged` when they differ.
pub(crate) fn check_newest(table: &impl ReadableTable<u64, &'static [u8]>, head: ChainHead) -> Result<()> {
    let newest = match table.last()? {
        Some((number, row)) => ChainHead { entries: number.value(), hash: *Row::parse(row.value())?.hash },
        None => ChainHead::default(),
    };
    if newest == head { Ok(()) } else { Err(broken()) }
}

/// The hash of an entry, which covers all entries before it; `None` when the chain does not reach so far.
pub(crate) fn hash_of(table: &impl ReadableTable<u64, &'static [u8]>, number: u64) -> Result<Option<[u8; HASH_BYTES]>> {
    table.get(number)?.map(|row| Ok(*Row::parse(row.value())?.hash)).transpose()
}

/// The entry of a stored row.
pub(crate) fn entry<R: Record>(row: &[u8]) -> Result<R> {
    codec::decode(Row::parse(row)?.record)
}

/// The detail of a stored row, if it has one that was not taken out.
pub(crate) fn detail<D: Record>(row: &[u8]) -> Result<Option<D>> {
    match Row::parse(row)?.detail {
        [] => Ok(None),
        detail => codec::decode(detail.get(SALT_BYTES..).ok_or_else(broken)?).map(Some),
    }
}

/// The row without its detail. The chain stays as it is.
pub(crate) fn without_detail(row: &[u8]) -> Result<Vec<u8>> {
    let Row { hash, body, .. } = Row::parse(row)?;
    Ok([&hash[..], body].concat())
}

/// The parts of a row.
struct Row<'a> {
    hash: &'a [u8; HASH_BYTES],
    /// What the hash covers.
    body: &'a [u8],
    record: &'a [u8],
    /// Empty where there is none.
    detail: &'a [u8],
}

impl<'a> Row<'a> {
    fn parse(row: &'a [u8]) -> Result<Self> {
        let parsed = || {
            let (hash, rest) = row.split_first_chunk::<HASH_BYTES>()?;
            match rest.split_first()? {
                (&PLAIN, record) => Some(Self { hash, body: rest, record, detail: &[] }),
                (&DETAILED, more) => {
                    let (_, more) = more.split_first_chunk::<HASH_BYTES>()?;
                    let (length, more) = more.split_first_chunk::<4>()?;
                    let (record, detail) = more.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                    let body = rest.get(..rest.len() - detail.len())?;
                    Some(Self { hash, body, record, detail })
                }
                _ => None,
            }
        };
        parsed().ok_or_else(broken)
    }

    /// A detail that is there must be the one that the entry was appended with.
    fn check_detail(&self) -> Result<()> {
        let claimed = self.body.get(1..1 + HASH_BYTES);
        if self.detail.is_empty() || claimed == Some(&digest(self.detail)[..]) { Ok(()) } else { Err(broken()) }
    }
}

/// Walks the whole chain and compares it with the head that was kept apart from it.
///
/// # Errors
/// `Damaged` at the first entry that is missing, moved, edited or too many.
pub(crate) fn verify(table: &impl ReadableTable<u64, &'static [u8]>, expected: ChainHead) -> Result<()> {
    let mut head = ChainHead::default();
    for row in table.range::<u64>(..)? {
        let (number, row) = row?;
        let row = Row::parse(row.value())?;
        head = link(head, row.body)?;
        if number.value() != head.entries || *row.hash != head.hash {
            return Err(broken());
        }
        row.check_detail()?;
    }
    if head == expected { Ok(()) } else { Err(broken()) }
}

fn link(head: ChainHead, body: &[u8]) -> Result<ChainHead> {
    let entries = head.entries.checked_add(1).ok_or_else(broken)?;
    let mut hasher = Sha256::new();
    hasher.update(AUDIT_ENTRY_DOMAIN);
    hasher.update(entries.to_le_bytes());
    hasher.update(head.hash);
    hasher.update(body);
    Ok(ChainHead { entries, hash: hasher.finalize().into() })
}

fn digest(salted: &[u8]) -> [u8; HASH_BYTES] {
    Sha256::new().chain_update(AUDIT_DETAIL_DOMAIN).chain_update(salted).finalize().into()
}

fn broken() -> Error {
    Reason::DamagedRecord("audit chain").into()
}

#[cfg(test)]
mod tests {
    use redb::{Database, TableDefinition};

    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Note(String);
    impl Record for Note {
        const KIND: u8 = 251;
        const NAME: &'static str = "note";
    }

    const TABLE: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("chain");

    /// A chain of plain and detailed entries in turn, with one row changed.
    fn verified(change: impl FnOnce(&mut Table<'_, u64, &'static [u8]>)) -> Result<()> {
        let builder = redb::Builder::new();
        let database: Database = builder.create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(TABLE).unwrap();
        let mut head = ChainHead::default();
        for number in 0..6 {
            let (entry, note) = (Note(format!("entry {number}")), Note(format!("detail {number}")));
            if number % 2 == 0 {
                append(&mut table, &mut head, &entry).unwrap();
            } else {
                append_with_detail(&mut table, &mut head, &entry, &note).unwrap();
            }
        }
        change(&mut table);
        verify(&table, head)
    }

    fn row(table: &Table<'_, u64, &'static [u8]>, number: u64) -> Vec<u8> {
        table.get(number).unwrap().unwrap().value().to_vec()
    }

    #[test]
    fn a_detail_can_be_taken_out_and_nothing_else_can() {
        verified(|_| ()).unwrap();
        verified(|table| {
            for number in [2, 6] {
                let before = row(table, number);
                assert_eq!(detail::<Note>(&before).unwrap(), Some(Note(format!("detail {}", number - 1))));
                let after = without_detail(&before).unwrap();
                assert_eq!(detail::<Note>(&after).unwrap(), None);
                assert_eq!(entry::<Note>(&after).unwrap(), Note(format!("entry {}", number - 1)));
                assert!(!after.windows(6).any(|part| part == b"detail"));
                table.insert(number, after.as_slice()).unwrap();
            }
        })
        .unwrap();
        // A plain entry has none.
        verified(|table| {
            let plain = row(table, 1);
            assert_eq!(without_detail(&plain).unwrap(), plain);
            assert_eq!(detail::<Note>(&plain).unwrap(), None);
        })
        .unwrap();
        assert!(verified(|table| drop(table.remove(6).unwrap())).is_err());
        let exchanged = |table: &mut Table<'_, u64, &'static [u8]>| {
            let (a, b) = (row(table, 2), row(table, 4));
            table.insert(2, b.as_slice()).unwrap();
            table.insert(4, a.as_slice()).unwrap();
        };
        assert!(verified(exchanged).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_row_is_found() {
        for number in [1, 2] {
            let bits = {
                let mut bits = 0;
                verified(|table| bits = row(table, number).len() * 8).unwrap();
                bits
            };
            for bit in 0..bits {
                let flipped = verified(|table| {
                    let mut bad = row(table, number);
                    bad[bit / 8] ^= 1 << (bit % 8);
                    table.insert(number, bad.as_slice()).unwrap();
                });
                assert!(flipped.is_err(), "bit {bit} of entry {number}");
            }
        }
    }
}
