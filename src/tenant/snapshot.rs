//! One consistent state of a tenant's file, as readers see it.

use std::ops::Deref;

use redb::{ReadTransaction, WriteTransaction};

use super::usage::Facts;
use crate::error::Result;
use crate::store::database::Tables;
use crate::store::schema::TenantTables;

/// The tables with the facts that belong to them.
pub(crate) struct Snapshot {
    tables: TenantTables,
    pub(super) facts: Facts,
}

impl Tables for Snapshot {
    fn create(transaction: &WriteTransaction) -> Result<()> {
        TenantTables::create(transaction)
    }

    fn open(transaction: &ReadTransaction) -> Result<Self> {
        let tables = TenantTables::open(transaction)?;
        let facts = Facts::read(&tables.meta)?;
        Ok(Self { tables, facts })
    }
}

impl Deref for Snapshot {
    type Target = TenantTables;

    fn deref(&self) -> &TenantTables {
        &self.tables
    }
}
