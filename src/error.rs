//! The one public error: [`Error::kind`] says what to do next, [`Error::reason`] what happened.

use std::fmt;
use std::io;
use std::time::Duration;

/// The result of every fallible operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request can never succeed as it is: mend the input.
    InvalidInput,
    /// No valid identity: obtain a new token.
    Unauthenticated,
    /// Absent, foreign or forbidden; the three look the same on purpose.
    NotFound,
    /// The state is not the one the request assumed: read it again and decide.
    Conflict,
    /// A quota or bound is used up: free something, or wait for [`Error::retry_after`].
    Limit,
    /// A passing shortage: the same call may succeed after [`Error::retry_after`].
    RetryLater,
    /// The tenant or the engine cannot serve now: an operator's act or a device's recovery is needed.
    Unavailable,
    /// A write may or may not have happened: read before writing again.
    OutcomeUnknown,
    /// Bytes on disk are not what was written: restore, and report it.
    Damaged,
    /// A key is absent or wrong: provide the right one; no data was changed.
    KeyUnavailable,
    /// Written by a version of the engine that this one does not read.
    Incompatible,
}

/// What happened, without anything secret or foreign in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A value broke the rule of its type.
    Invalid {
        /// The thing that was refused, such as `tenant id`.
        what: &'static str,
        /// The rule it broke.
        rule: &'static str,
    },
    /// A value exceeds its limit.
    TooLarge {
        /// The thing that was refused.
        what: &'static str,
        /// The limit, in the unit of `what`.
        limit: u64,
        /// The value that was refused.
        actual: u64,
    },
    /// A bound of the tenant is used up.
    Full {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// A vector has another number of dimensions than its namespace.
    Dimension {
        /// Dimensions of the namespace.
        expected: u32,
        /// Dimensions of the vector.
        actual: u32,
    },
    /// A vector is of another embedding model than its namespace.
    Model {
        /// Model of the namespace.
        expected: String,
        /// Model of the vector, or of the question.
        actual: String,
    },
    /// The namespaces of one question compare vectors in different ways, or by different models: their scores cannot
    /// be held against each other.
    NotComparable,
    /// No embedder of this model is configured.
    NoEmbedder {
        /// Model of the namespace; absent when it has none.
        model: Option<String>,
    },
    /// The embedder refused the text.
    EmbedderRefused,
    /// The embedder cannot serve now.
    EmbedderUnavailable,
    /// The embedder answered with something that is not what it says of itself.
    EmbedderFaulty(&'static str),
    /// The bearer token was not accepted. There is one error for every rule a token can break.
    TokenRefused,
    /// The identity is past its expiry.
    IdentityExpired,
    /// The identity, its user or its API key was revoked at the tenant.
    IdentityRevoked,
    /// The issuer's key set could not be fetched.
    KeysUnavailable,
    /// The handle was revoked, or one that it was made from.
    HandleRevoked,
    /// Absent, foreign or forbidden.
    NotFound,
    /// A tenant of this name exists.
    TenantExists,
    /// A memory has another version than the one that was expected.
    Version {
        /// The version that was expected; 0 for an absent memory.
        expected: u64,
        /// The version it has; 0 when it is absent.
        actual: u64,
    },
    /// The policy has another version than the one it was made from: read it again.
    PolicyVersion {
        /// The version that it was made from; 0 for a tenant without a policy.
        expected: u64,
        /// The version it has.
        actual: u64,
    },
    /// A namespace of this name exists.
    NamespaceExists,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// Too many changes of this tenant wait already, or too large ones.
    Busy,
    /// All that is open is in use, and there is no room for one tenant more.
    NoRoom,
    /// Closing a file failed. What was acknowledged is durable; the next opening repairs the file.
    CloseFailed,
    /// The caller gave it up before it had changed anything.
    Cancelled,
    /// The transaction was given up by its own code; nothing of it was done.
    Aborted,
    /// Transactions of several tenants wait for each other, and would for ever. The wait that closed the ring was refused, so
    /// that the others go on: give the transaction around it up and run it again.
    Deadlock,
    /// The feed does not reach back to this position any more, or the tenant's file was put back to a copy from before
    /// the position was given out: begin again.
    FeedGone,
    /// The tenant is not in a state that allows this step of its lifecycle.
    TenantState,
    /// The tenant is suspended.
    TenantSuspended,
    /// The tenant is closed in this process after damage or an unconfirmed failed sync.
    Quarantined,
    /// Another process has the data directory open.
    InUse,
    /// The engine is closed.
    Closed,
    /// The engine was opened by another process, of which this one is a fork: open the directory after a fork, not before it.
    Forked,
    /// The device is full.
    DiskFull,
    /// The file system answered with an error before anything was committed.
    Io(io::ErrorKind),
    /// A commit failed at a point where it may or may not be durable.
    CommitUnknown,
    /// A page failed authentication.
    DamagedPage,
    /// A file is shorter than its authenticated length, empty, or not of its kind.
    DamagedFile(&'static str),
    /// A record could not be decoded or breaks an invariant.
    DamagedRecord(&'static str),
    /// The file belongs to another engine, tenant, epoch or kind.
    ForeignFile(&'static str),
    /// The root key does not open the engine key.
    RootKeyWrong,
    /// The root key's source is absent, malformed, or readable by others.
    RootKeySource(&'static str),
    /// The provider of the root key failed.
    RootKeyProvider(&'static str),
    /// A key is being rotated or retired by somebody else.
    RotationUnderWay,
    /// The version of the engine key cannot be retired: it is the newest one, or key files still need it.
    EngineKeyInUse {
        /// The version.
        version: u32,
        /// Key files that need it, or that cannot be read, so that nobody knows.
        key_files: u64,
    },
    /// A file or directory belongs to another user, or other users may write to it or read it. Nothing is wrong with what it
    /// holds: change its owner or its mode.
    Permissions {
        /// Its path. Below the data directory it is relative to that directory.
        path: String,
        /// What is wrong, and what would be right.
        rule: &'static str,
    },
    /// A file or directory that must be there is not, so that nobody can say whether it was destroyed or is only away: mount it,
    /// or put it back, and try again.
    Missing(&'static str),
    /// A key file is missing.
    KeyFileMissing(&'static str),
    /// Tenants in service have no key file at the moment. Their files may only be away, and would need the version of the
    /// engine key that is about to go.
    KeyFilesMissing {
        /// How many tenants.
        tenants: u64,
    },
    /// A key file is not the one that was written for this place.
    KeyFileRefused(&'static str),
    /// The operating system gave no randomness.
    Randomness,
    /// A format version this engine does not read.
    FormatVersion {
        /// The version found.
        found: u32,
        /// The newest version this engine reads.
        supported: u32,
    },
}

/// The error of every operation of this crate.
///
/// ```
/// use watertight::{ErrorKind, Reason, TenantId};
///
/// let refused = TenantId::new("../etc").unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::InvalidInput);
/// assert_eq!(refused.retry_after(), None);
/// let rule = "only A-Z, a-z, 0-9 and . _ @ - are allowed";
/// assert_eq!(*refused.reason(), Reason::Invalid { what: "tenant id", rule });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    reason: Reason,
    retry_after: Option<Duration>,
}

impl Error {
    /// What the caller does next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.reason {
            Reason::Invalid { .. }
            | Reason::TooLarge { .. }
            | Reason::Dimension { .. }
            | Reason::Model { .. }
            | Reason::NotComparable
            | Reason::NoEmbedder { .. }
            | Reason::EmbedderRefused => ErrorKind::InvalidInput,
            Reason::Full { .. } => ErrorKind::Limit,
            Reason::TokenRefused | Reason::IdentityExpired | Reason::IdentityRevoked | Reason::HandleRevoked => {
                ErrorKind::Unauthenticated
            }
            Reason::NotFound => ErrorKind::NotFound,
            Reason::TenantExists
            | Reason::TenantState
            | Reason::PolicyVersion { .. }
            | Reason::NamespaceExists
            | Reason::IdempotencyKeyReused
            | Reason::FeedGone
            | Reason::Aborted
            | Reason::Deadlock
            | Reason::RotationUnderWay
            | Reason::EngineKeyInUse { .. }
            | Reason::Cancelled
            | Reason::Version { .. } => ErrorKind::Conflict,
            Reason::EmbedderUnavailable | Reason::KeysUnavailable | Reason::Busy | Reason::NoRoom => {
                ErrorKind::RetryLater
            }
            Reason::TenantSuspended
            | Reason::Quarantined
            | Reason::InUse
            | Reason::Closed
            | Reason::Forked
            | Reason::DiskFull
            | Reason::Io(_)
            | Reason::Permissions { .. }
            | Reason::Missing(_)
            | Reason::EmbedderFaulty(_)
            | Reason::CloseFailed
            | Reason::Randomness => ErrorKind::Unavailable,
            Reason::CommitUnknown => ErrorKind::OutcomeUnknown,
            Reason::DamagedPage
            | Reason::DamagedFile(_)
            | Reason::DamagedRecord(_)
            | Reason::ForeignFile(_)
            | Reason::KeyFileRefused(_) => ErrorKind::Damaged,
            Reason::RootKeyWrong
            | Reason::RootKeySource(_)
            | Reason::RootKeyProvider(_)
            | Reason::KeyFileMissing(_)
            | Reason::KeyFilesMissing { .. } => ErrorKind::KeyUnavailable,
            Reason::FormatVersion { .. } => ErrorKind::Incompatible,
        }
    }

    /// What happened.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// How long to wait before the same call may succeed, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn invalid(what: &'static str, rule: &'static str) -> Self {
        Reason::Invalid { what, rule }.into()
    }

    /// `usize` lengths fit `u64` on every platform the crate builds for.
    pub(crate) fn too_large(what: &'static str, limit: usize, actual: usize) -> Self {
        Reason::TooLarge { what, limit: limit as u64, actual: actual as u64 }.into()
    }

    pub(crate) fn not_found() -> Self {
        Reason::NotFound.into()
    }

    /// Whether it speaks of the request or the state, and not of a file or device that failed.
    pub(crate) fn is_refusal(&self) -> bool {
        match self.kind() {
            ErrorKind::InvalidInput
            | ErrorKind::Unauthenticated
            | ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::Limit
            | ErrorKind::RetryLater => true,
            ErrorKind::Unavailable
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Damaged
            | ErrorKind::KeyUnavailable
            | ErrorKind::Incompatible => false,
        }
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_after: None }
    }
}

impl From<io::Error> for Error {
    /// An error of ours that went through one of the system's comes out as it was. Of any other one only the kind is kept: an
    /// operating-system message may carry a path.
    fn from(error: io::Error) -> Self {
        if let Some(own) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            return own.clone();
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull.into(),
            kind => Reason::Io(kind).into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Invalid { what, rule } => write!(f, "{what}: {rule}"),
            Reason::TooLarge { what, limit, actual } => write!(f, "{what} of {actual} exceeds the limit of {limit}"),
            Reason::Full { what, limit } => write!(f, "the limit of {limit} {what} is reached"),
            Reason::Dimension { expected, actual } => {
                write!(f, "a vector of {actual} dimensions in a namespace of {expected}")
            }
            Reason::Model { expected, actual } => {
                write!(f, "a vector of the model {actual:?} in a namespace of {expected:?}")
            }
            Reason::NotComparable => {
                f.write_str("the namespaces differ in metric or model: their scores do not compare")
            }
            Reason::NoEmbedder { model: Some(model) } => write!(f, "no embedder of the model {model:?} is configured"),
            Reason::NoEmbedder { model: None } => f.write_str("the namespace names no embedding model"),
            Reason::EmbedderRefused => f.write_str("the embedder refused the text"),
            Reason::EmbedderUnavailable => f.write_str("the embedder cannot serve now"),
            Reason::EmbedderFaulty(why) => write!(f, "the embedder is faulty: {why}"),
            Reason::TokenRefused => f.write_str("the token was not accepted"),
            Reason::IdentityExpired => f.write_str("the identity has expired"),
            Reason::IdentityRevoked => f.write_str("the identity was revoked"),
            Reason::KeysUnavailable => f.write_str("the issuer's key set could not be fetched"),
            Reason::HandleRevoked => f.write_str("the handle was revoked"),
            Reason::NotFound => f.write_str("not found"),
            Reason::TenantExists => f.write_str("a tenant of this name exists"),
            Reason::Version { expected, actual } => {
                write!(f, "version {expected} was expected, but the memory has version {actual} (0 is absent)")
            }
            Reason::PolicyVersion { expected, actual } => {
                write!(f, "version {expected} of the policy was expected, but it has version {actual}")
            }
            Reason::NamespaceExists => f.write_str("a namespace of this name exists"),
            Reason::IdempotencyKeyReused => f.write_str("the idempotency key was used for another request"),
            Reason::Busy => f.write_str("too many changes of the tenant wait already"),
            Reason::NoRoom => f.write_str("all open tenants are in use and there is no room for one more"),
            Reason::CloseFailed => f.write_str("closing a file failed; what was acknowledged is durable"),
            Reason::Aborted => f.write_str("the transaction was given up"),
            Reason::Deadlock => f.write_str("transactions of several tenants wait for each other: run this one again"),
            Reason::Cancelled => f.write_str("given up by its caller; nothing was changed"),
            Reason::FeedGone => f.write_str("the feed does not go on from this position: begin again"),
            Reason::TenantState => f.write_str("the tenant is not in a state that allows this"),
            Reason::TenantSuspended => f.write_str("the tenant is suspended"),
            Reason::Quarantined => f.write_str("the tenant's file is quarantined in this process"),
            Reason::InUse => f.write_str("another process has the data directory open"),
            Reason::Closed => f.write_str("the engine is closed"),
            Reason::Forked => f.write_str("the engine was opened by another process; open it after the fork"),
            Reason::DiskFull => f.write_str("the device is full; nothing was committed"),
            Reason::Io(kind) => write!(f, "input or output failed ({kind}); nothing was committed"),
            Reason::CommitUnknown => f.write_str("the commit failed where it may or may not be durable"),
            Reason::DamagedPage => f.write_str("a page failed authentication"),
            Reason::DamagedFile(why) => write!(f, "a file is damaged: {why}"),
            Reason::DamagedRecord(why) => write!(f, "a record is damaged: {why}"),
            Reason::ForeignFile(why) => write!(f, "a file is not ours: {why}"),
            Reason::RootKeyWrong => f.write_str("the root key does not open this engine"),
            Reason::RootKeySource(why) => write!(f, "the root key cannot be read: {why}"),
            Reason::RootKeyProvider(why) => write!(f, "the provider of the root key failed: {why}"),
            Reason::RotationUnderWay => f.write_str("a key is being rotated or retired already"),
            Reason::EngineKeyInUse { version, key_files } => {
                write!(f, "version {version} of the engine key is the newest, or needed by {key_files} key files")
            }
            // A path may have any characters.
            Reason::Permissions { path, rule } => write!(f, "{}: {rule}", path.escape_debug()),
            Reason::Missing(what) => write!(f, "{what} is not where it must be"),
            Reason::KeyFileMissing(what) => write!(f, "the {what} is missing"),
            Reason::KeyFilesMissing { tenants } => write!(f, "{tenants} tenants in service have no key file"),
            Reason::KeyFileRefused(what) => write!(f, "the {what} is not the one written for this place"),
            Reason::Randomness => f.write_str("the operating system gave no randomness"),
            Reason::FormatVersion { found, supported } => {
                write!(f, "format version {found} is not readable; the newest readable one is {supported}")
            }
        }
    }
}

impl std::error::Error for Error {}
