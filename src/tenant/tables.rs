//! Every table of a tenant's file: how its rows go over to a file of the next epoch, and how they name a user who is
//! erased on the way. A table that is not listed here fails a test.

use redb::{TableDefinition, TableHandle};

use crate::id::UserId;
use crate::store::schema::{
    AUDIT, CHANGES, CREDENTIAL_SECRETS, CREDENTIALS, DOOMED, EXPIRIES, MEMORIES, MEMORY_KEYS, META, NAMESPACE_NUMBERS,
    NAMESPACES, OUTCOME_TIMES, OUTCOMES, POLICY, REEMBED, SEGMENTS, USER_NUMBERS, USER_SALTS, USERS, VECTORS,
};

/// A table, by the type of its keys.
#[derive(Clone, Copy)]
pub(super) enum Rows {
    Text(TableDefinition<'static, &'static str, &'static [u8]>),
    Bytes(TableDefinition<'static, &'static [u8], &'static [u8]>),
    Number32(TableDefinition<'static, u32, &'static [u8]>),
    Number64(TableDefinition<'static, u64, &'static [u8]>),
}

/// How rows go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// Byte for byte: nothing in them depends on the file's epoch or key.
    Copied,
    /// As copied, but for the rows that say whose file it is and what it holds, which are written anew.
    CopiedButFacts,
    /// Not at all: it is made anew from the others, and may hold what an erasure takes out of those.
    LeftOut,
    /// Opened and sealed again under the key of the next epoch.
    Resealed,
}

/// How rows name the user they belong to, which is how an erasure knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfUser {
    /// They belong to nobody.
    Nobody,
    /// The key begins with the user's number, u32 big-endian: as a scope or as such.
    Leading,
    /// The key does so behind a time, u64 big-endian.
    BehindTime,
    /// The value does so.
    LeadingValue,
    /// The key is the number, u32 little-endian as redb has it.
    Number,
    /// The key is the user's whole name.
    Name,
    /// The key is the number, and the row stays under a name that tells nothing: what the user wrote elsewhere points to
    /// it.
    Pseudonym,
    /// What names the user is taken out before the rows go over.
    Beforehand,
    /// They stay without what was private to the user, and why.
    Redacted(&'static str),
}

/// The rule of one table.
#[derive(Clone, Copy)]
pub(super) struct TableRule {
    pub(super) rows: Rows,
    pub(super) carried: Carried,
    pub(super) of_user: OfUser,
}

const fn text(
    table: TableDefinition<'static, &'static str, &'static [u8]>,
    carried: Carried,
    of_user: OfUser,
) -> TableRule {
    TableRule { rows: Rows::Text(table), carried, of_user }
}

const fn bytes(table: TableDefinition<'static, &'static [u8], &'static [u8]>, of_user: OfUser) -> TableRule {
    TableRule { rows: Rows::Bytes(table), carried: Carried::Copied, of_user }
}

const fn number(table: TableDefinition<'static, u32, &'static [u8]>, of_user: OfUser) -> TableRule {
    TableRule { rows: Rows::Number32(table), carried: Carried::Copied, of_user }
}

/// All tables. Rows go over in this order.
pub(super) const TABLES: [TableRule; 20] = [
    text(META, Carried::CopiedButFacts, OfUser::Nobody),
    bytes(USERS, OfUser::Name),
    number(USER_NUMBERS, OfUser::Pseudonym),
    bytes(NAMESPACES, OfUser::Leading),
    number(NAMESPACE_NUMBERS, OfUser::LeadingValue),
    bytes(DOOMED, OfUser::Leading),
    bytes(MEMORY_KEYS, OfUser::Leading),
    bytes(MEMORIES, OfUser::Leading),
    bytes(VECTORS, OfUser::Leading),
    bytes(REEMBED, OfUser::Leading),
    TableRule { rows: Rows::Bytes(SEGMENTS), carried: Carried::LeftOut, of_user: OfUser::Leading },
    bytes(CHANGES, OfUser::Leading),
    bytes(EXPIRIES, OfUser::BehindTime),
    bytes(OUTCOMES, OfUser::Leading),
    bytes(OUTCOME_TIMES, OfUser::BehindTime),
    number(USER_SALTS, OfUser::Number),
    bytes(CREDENTIALS, OfUser::Leading),
    TableRule { rows: Rows::Bytes(CREDENTIAL_SECRETS), carried: Carried::Resealed, of_user: OfUser::Leading },
    text(POLICY, Carried::Copied, OfUser::Beforehand),
    TableRule {
        rows: Rows::Number64(AUDIT),
        carried: Carried::Copied,
        of_user: OfUser::Redacted("who erases a user must not erase the traces of what that user did"),
    },
];

impl TableRule {
    pub(super) fn name(&self) -> &str {
        match &self.rows {
            Rows::Text(table) => table.name(),
            Rows::Bytes(table) => table.name(),
            Rows::Number32(table) => table.name(),
            Rows::Number64(table) => table.name(),
        }
    }
}

impl OfUser {
    /// Whether a row belongs to the user of this number and name.
    pub(super) fn is_of(self, number: u32, user: &UserId, key: &[u8], value: &[u8]) -> bool {
        let leads = |bytes: &[u8]| bytes.starts_with(&number.to_be_bytes());
        match self {
            // Which ones are the user's is said in the record.
            Self::Nobody | Self::Beforehand | Self::Redacted(_) => false,
            Self::Leading => leads(key),
            Self::BehindTime => key.get(8..).is_some_and(leads),
            Self::LeadingValue => leads(value),
            Self::Number | Self::Pseudonym => key == number.to_le_bytes(),
            Self::Name => key == user.to_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::id::Issuer;
    use crate::store::schema::{CatalogTables, TenantTables};

    #[test]
    fn every_table_of_the_schema_has_one_rule() {
        let listed: BTreeSet<_> = TABLES.iter().map(TableRule::name).collect();
        assert_eq!(listed, TenantTables::names());
        assert_eq!(listed.len(), TABLES.len(), "a table is listed twice");
    }

    /// Whoever adds a table that belongs to nobody says so here as well.
    #[test]
    fn few_tables_hold_nothing_of_a_user() {
        let nobodys: Vec<_> =
            TABLES.iter().filter(|table| table.of_user == OfUser::Nobody).map(TableRule::name).collect();
        assert_eq!(nobodys, ["meta"]);
    }

    /// The catalog is the operators': it holds nothing that a user of a tenant has written.
    #[test]
    fn every_table_of_the_catalog_is_known_to_hold_no_users_data() {
        let known = [
            ("meta", "times and counts"),
            ("tenants", "owners, whom operators name and take away"),
            ("unfinished", "steps of tenants"),
            ("tombstones", "tenants that were"),
            ("operator_audit", "what operators did"),
            ("api_keys", "keys that a user made, which end with the user"),
            ("tenant_api_keys", "the same by tenant"),
            ("revocations", "who may not come in; it must outlive the user, for as long as the user's tokens may live"),
            ("revocation_ends", "the same by end"),
        ];
        assert_eq!(known.map(|(name, _)| name).into_iter().collect::<BTreeSet<_>>(), CatalogTables::names());
    }

    #[test]
    fn rows_are_known_by_their_user_alone() {
        let [alice, bob] = ["alice", "bob"].map(|name| UserId::new(Issuer::authority(), name).unwrap());
        let key = |number: u32| [&number.to_be_bytes()[..], b"rest"].concat();
        let timed = |number: u32| [&9_u64.to_be_bytes()[..], &key(number)].concat();
        let is_of = |rule: OfUser, key: &[u8], value: &[u8]| rule.is_of(7, &alice, key, value);
        assert!(is_of(OfUser::Leading, &key(7), b"") && !is_of(OfUser::Leading, &key(8), b""));
        assert!(is_of(OfUser::BehindTime, &timed(7), b"") && !is_of(OfUser::BehindTime, &timed(0), b""));
        assert!(is_of(OfUser::LeadingValue, b"", &key(7)) && !is_of(OfUser::LeadingValue, &key(7), &key(8)));
        assert!(is_of(OfUser::Number, &[7, 0, 0, 0], b"") && !is_of(OfUser::Number, &[0, 0, 0, 7], b""));
        assert!(is_of(OfUser::Pseudonym, &[7, 0, 0, 0], b""));
        assert!(is_of(OfUser::Name, &alice.to_bytes(), b"") && !is_of(OfUser::Name, &bob.to_bytes(), b""));
        assert!(!is_of(OfUser::Nobody, &key(7), &key(7)) && !is_of(OfUser::Redacted("a reason"), &key(7), &key(7)));
        for short in [&b""[..], &[0, 0, 0], &[0; 11]] {
            assert!(!is_of(OfUser::Leading, short, short) && !is_of(OfUser::BehindTime, short, short));
        }
    }
}
