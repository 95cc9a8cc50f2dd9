//! A new file, filled from the rows of another one in transactions of a bounded size.

use std::io::ErrorKind;

use redb::{Key, ReadableTable, TableDefinition, WriteTransaction};

use super::database::Writer;
use super::shield::Shielded;
use crate::error::{Reason, Result};
use crate::limits::COPY_BATCH_BYTES;

/// A file that has no name yet: whatever stops its making, it never was.
pub(crate) struct NewFile {
    /// Dropped before the database under it.
    transaction: Option<Shielded<WriteTransaction>>,
    redb: Shielded<redb::Database>,
    /// Written in the transaction under way.
    bytes: usize,
}

/// What becomes of a row.
#[derive(Debug)]
pub(crate) enum Fate {
    Copied,
    /// Copied with another value.
    Changed(Vec<u8>),
    LeftOut,
}

impl NewFile {
    pub(super) fn new(redb: redb::Database) -> Self {
        Self { transaction: None, redb: Shielded::new(redb), bytes: 0 }
    }

    /// The transaction under way.
    pub(crate) fn writer(&mut self) -> Result<Writer<'_>> {
        let transaction = match self.transaction.take() {
            Some(transaction) => transaction,
            None => {
                let mut transaction = self.redb.begin_write()?;
                transaction.set_two_phase_commit(true);
                Shielded::new(transaction)
            }
        };
        Ok(Writer(self.transaction.insert(transaction)))
    }

    /// Copies the rows of a table. `fate` is told the bytes of each key and value.
    pub(crate) fn copy<K: Key + 'static>(
        &mut self,
        from: &mut Writer<'_>,
        table: TableDefinition<'static, K, &'static [u8]>,
        mut fate: impl FnMut(&[u8], &[u8]) -> Result<Fate>,
    ) -> Result<()> {
        let source = from.open_table(table)?;
        let mut rows = source.iter()?;
        loop {
            let (whole, bytes) = {
                let mut writer = self.writer()?;
                let mut target = writer.open_table(table)?;
                let mut bytes = 0;
                loop {
                    let Some(row) = rows.next().transpose()? else { break (true, bytes) };
                    let (key, value) = (row.0.value(), row.1.value());
                    let told = {
                        let key = K::as_bytes(&key);
                        bytes += key.as_ref().len() + value.len();
                        fate(key.as_ref(), value)?
                    };
                    match told {
                        Fate::Copied => drop(target.insert(&key, value)?),
                        Fate::Changed(value) => drop(target.insert(&key, value.as_slice())?),
                        Fate::LeftOut => {}
                    }
                    if bytes >= COPY_BATCH_BYTES {
                        break (false, bytes);
                    }
                }
            };
            self.wrote(bytes)?;
            if whole {
                return Ok(());
            }
        }
    }

    /// Commits when enough was written.
    pub(crate) fn wrote(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        if self.bytes < COPY_BATCH_BYTES {
            return Ok(());
        }
        self.commit()
    }

    fn commit(&mut self) -> Result<()> {
        self.bytes = 0;
        // A failure is one for certain: a file without a name is not opened again.
        match self.transaction.take().map_or(Ok(()), |transaction| transaction.into_inner().commit()) {
            Ok(()) => Ok(()),
            Err(redb::CommitError::Storage(error)) => Err(error.into()),
            Err(_) => Err(Reason::Io(ErrorKind::Other).into()),
        }
    }

    pub(super) fn close(mut self) -> Result<()> {
        self.commit()
    }
}
