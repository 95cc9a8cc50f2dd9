//! Receipts of what was destroyed: issued and authenticated by the engine that destroyed it.
//!
//! Text: base64url of `engine key version u32 | tag 32 | record`. The tag is HMAC-SHA256 over version and record, under a
//! key that is derived from the engine key of that version.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::core::Inner;
use crate::clock::Timestamp;
use crate::crypto::format::{RECEIPT_FORMAT, RECEIPT_TAG_BYTES};
use crate::crypto::mac::mac;
use crate::error::{Error, Result};
use crate::id::{Epoch, Incarnation, TenantId, UserId};
use crate::limits::RECEIPT_BYTES_MAX;
use crate::store::codec::{self, Record};
use crate::tenant::erase::ErasedUser;

/// The receipt of a purge, an erasure or a re-keying. It is text, safe in a URL, and not secret; that of an erasure names
/// the user.
///
/// [`Operator::verify_receipt`](crate::Operator::verify_receipt) tells what it says, if it is genuine.
///
/// ```
/// use watertight::*;
///
/// let (engine, authority) = Engine::in_memory()?;
/// let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// let acme = operator.provision(TenantSpec::new("acme")?)?.tenant;
/// let receipt = operator.purge(&acme)?;
/// let facts = operator.verify_receipt(&Receipt::from_text(receipt.as_str()))?;
/// assert_eq!((facts.tenant, facts.by), (acme, Actor::Operator("ops".to_owned())));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(String);

impl Receipt {
    /// What no receipt proves. It is part of what [`ReceiptFacts`] prints.
    pub const DOES_NOT_PROVE: &str = "This does not prove that no copy is left elsewhere: in a backup, a snapshot of the \
        file system, another machine, or blocks that the medium has set aside or remapped. Data in such copies stays \
        readable to whoever has a copy of its key, wrapped, and the keys above it.";

    /// Takes the text of one that was issued before. Whether it is genuine shows when it is verified.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Destroyed {
    /// A whole tenant: the keys and data files of all its epochs.
    Tenant,
    /// A tenant's former key and data file. What it holds was copied under another key, without what was deleted before.
    FormerKey,
    /// What belonged to a user, with the tenant's former key and data file.
    User(ErasedUser),
}

/// Who had it destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Actor {
    /// An operator of this name.
    Operator(String),
    /// A user of the tenant.
    User(UserId),
    /// Nobody whose name is known.
    Unknown,
}

/// What a genuine receipt says. It prints as a few plain sentences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReceiptFacts {
    /// What was destroyed.
    pub destroyed: Destroyed,
    /// Of which tenant.
    pub tenant: TenantId,
    /// Of which life of that name.
    pub incarnation: Incarnation,
    /// The last epoch of which key and data file are gone; those of earlier epochs are gone as well.
    pub last_epoch: Epoch,
    /// When it was done.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
}

impl Record for ReceiptFacts {
    const KIND: u8 = 13;
    const NAME: &'static str = "receipt";
}

impl fmt::Display for ReceiptFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, incarnation, last_epoch, .. } = self;
        match &self.destroyed {
            Destroyed::Tenant => write!(f, "The keys and data files of the tenant {tenant} were destroyed")?,
            Destroyed::FormerKey => write!(f, "The former key and data file of the tenant {tenant} were destroyed")?,
            Destroyed::User(gone) => write!(
                f,
                "The user {:?} of {:?} was erased from the tenant {tenant}: private namespaces {}, memories in them {}, \
                 credentials {}, idempotency keys {}, memories elsewhere {}. The tenant's former key and data file were \
                 destroyed",
                gone.user.subject(),
                gone.user.issuer().as_str(),
                gone.namespaces,
                gone.memories,
                gone.credentials,
                gone.idempotency_keys,
                gone.authored,
            )?,
        }
        write!(f, " (incarnation {incarnation}, up to epoch {last_epoch}), ")?;
        write!(f, "{} microseconds after the beginning of 1970, ", self.at.as_micros())?;
        match &self.by {
            Actor::Operator(name) => write!(f, "by the operator {name:?}. ")?,
            Actor::User(user) => write!(f, "by the user {:?} of {:?}. ", user.subject(), user.issuer().as_str())?,
            Actor::Unknown => f.write_str("by somebody whose name is not known. ")?,
        }
        f.write_str(Receipt::DOES_NOT_PROVE)
    }
}

impl Inner {
    pub(super) fn issue(&self, facts: &ReceiptFacts) -> Result<Receipt> {
        let record = codec::encode(facts)?;
        let tag = self.receipt_tag(&record);
        Ok(Receipt(URL_SAFE_NO_PAD.encode([&RECEIPT_FORMAT[..], &tag, &record].concat())))
    }

    pub(super) fn verify_receipt(&self, receipt: &Receipt) -> Result<ReceiptFacts> {
        if receipt.0.len() > RECEIPT_BYTES_MAX {
            return Err(Error::too_large("receipt", RECEIPT_BYTES_MAX, receipt.0.len()));
        }
        let bytes = URL_SAFE_NO_PAD.decode(&receipt.0).map_err(|_| refused())?;
        let rest = bytes.strip_prefix(&RECEIPT_FORMAT).ok_or_else(refused)?;
        let (claimed, record) = rest.split_first_chunk::<RECEIPT_TAG_BYTES>().ok_or_else(refused)?;
        if !bool::from(self.receipt_tag(record).ct_eq(claimed)) {
            return Err(refused());
        }
        codec::decode(record)
    }

    /// The tag of a record. Its key outlives rotations.
    fn receipt_tag(&self, record: &[u8]) -> [u8; RECEIPT_TAG_BYTES] {
        let key = self.keyring.keys().catalog().receipts();
        mac(&key, &[&RECEIPT_FORMAT, record])
    }
}

fn refused() -> Error {
    Error::invalid("receipt", "was not issued by this engine")
}
