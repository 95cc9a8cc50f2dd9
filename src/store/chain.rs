//! An append-only chain: each entry's hash covers the one before it, so an edit, insertion, removal or exchange
//! shows when the chain is walked.

use redb::{ReadableTable, Table};
use sha2::{Digest, Sha256};

use super::codec::{self, Record};
use crate::crypto::format::AUDIT_ENTRY_DOMAIN;
use crate::error::{Error, Reason, Result};

const HASH_BYTES: usize = 32;

/// The last link of a chain: how many entries it has and the hash of the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ChainHead {
    /// Entries in the chain.
    pub entries: u64,
    /// SHA-256 over the newest entry and, through it, over all before it.
    pub hash: [u8; HASH_BYTES],
}

/// Appends an entry in the caller's transaction. A row is `hash 32 | record`.
pub(crate) fn append<R: Record>(table: &mut Table<'_, u64, &[u8]>, head: &mut ChainHead, entry: &R) -> Result<()> {
    let record = codec::encode(entry)?;
    let next = link(*head, &record)?;
    let mut row = next.hash.to_vec();
    row.extend_from_slice(&record);
    table.insert(next.entries, row.as_slice())?;
    *head = next;
    Ok(())
}

/// The entry of a stored row, without its hash.
pub(crate) fn entry<R: Record>(row: &[u8]) -> Result<R> {
    let (_, record) = row.split_first_chunk::<HASH_BYTES>().ok_or_else(broken)?;
    codec::decode(record)
}

/// Walks the whole chain and compares it with the head that was kept apart from it.
///
/// # Errors
/// `Damaged` at the first entry that is missing, moved, edited or too many.
pub(crate) fn verify(table: &impl ReadableTable<u64, &'static [u8]>, expected: ChainHead) -> Result<()> {
    let mut head = ChainHead::default();
    for row in table.range::<u64>(..)? {
        let (number, row) = row?;
        let (hash, record) = row.value().split_first_chunk::<HASH_BYTES>().ok_or_else(broken)?;
        head = link(head, record)?;
        if number.value() != head.entries || *hash != head.hash {
            return Err(broken());
        }
    }
    if head == expected { Ok(()) } else { Err(broken()) }
}

fn link(head: ChainHead, record: &[u8]) -> Result<ChainHead> {
    let entries = head.entries.checked_add(1).ok_or_else(broken)?;
    let mut hasher = Sha256::new();
    hasher.update(AUDIT_ENTRY_DOMAIN);
    hasher.update(entries.to_le_bytes());
    hasher.update(head.hash);
    hasher.update(record);
    Ok(ChainHead { entries, hash: hasher.finalize().into() })
}

fn broken() -> Error {
    Reason::DamagedRecord("audit chain").into()
}
