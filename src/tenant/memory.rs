//! A memory: what a caller gives, what it gets back, and what is stored.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings::{check_life, check_model};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{MemoryId, UserId, check_key};
use crate::index::vector::GivenVector;
use crate::limits::{
    CONTENT_BYTES_MAX, CONTENT_DEPTH_MAX, METADATA_FIELDS_MAX, METADATA_NAME_BYTES_MAX, METADATA_TEXT_BYTES_MAX,
    TEXT_BYTES_MAX,
};
use crate::store::codec::Record;

/// A memory to put: a key that is unique in its namespace, and any of text, JSON content, metadata and a vector.
///
/// Nothing is checked before it is put, so that the calls chain; `put` names the limit that was exceeded.
///
/// ```
/// use std::time::Duration;
///
/// use serde_json::json;
/// use watertight::{Memory, Timestamp};
///
/// let memory = Memory::new("meeting-17")
///     .text("We agreed to ship on Friday.")
///     .content(json!({"attendees": ["ada", "grace"]}))
///     .metadata("project", "apollo")
///     .metadata("priority", 2)
///     .vector(vec![0.1, 0.7, -0.2])
///     .model("all-MiniLM-L6-v2");
///
/// let passing = Memory::new("session-4").expires_after(Duration::from_secs(3_600)).if_version(0);
/// let dated = Memory::new("offer-9").expires_at(Timestamp::from_seconds(4_000_000_000));
/// let lasting = Memory::new("name").never_expires();
/// # let _ = (memory, passing, dated, lasting);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Memory {
    key: String,
    text: Option<String>,
    content: Option<Value>,
    metadata: BTreeMap<String, MetadataValue>,
    vector: Option<Vec<f32>>,
    model: Option<String>,
    expiry: Expiry,
    expected_version: Option<u64>,
}

/// When a memory goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
enum Expiry {
    /// When its namespace says.
    #[default]
    Unsaid,
    Never,
    At(Timestamp),
    After(Duration),
}

impl Memory {
    /// An empty memory of this key: 1 to 512 bytes of UTF-8.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }

    /// Text, at most 1 MiB of UTF-8, kept as given.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// JSON content, at most 1 MiB once written out and 64 levels deep.
    #[must_use]
    pub fn content(mut self, content: Value) -> Self {
        self.content = Some(content);
        self
    }

    /// One typed metadata field; at most 64, the last of a name counts.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// The vector that recall compares: 1 to 4,096 finite components, under cosine not all zero. The first vector of a
    /// namespace sets its dimension, unless the namespace was made with one.
    #[must_use]
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.vector = Some(vector.into());
        self
    }

    /// Which embedding model the vector is of; at most 128 bytes. A namespace of another model refuses it, and one
    /// without a model takes it as its own.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// From when on the memory is gone, whatever the namespace's default; a time that has passed is refused.
    #[must_use]
    pub fn expires_at(mut self, at: Timestamp) -> Self {
        self.expiry = Expiry::At(at);
        self
    }

    /// How long after this put the memory is gone, whatever the namespace's default.
    #[must_use]
    pub fn expires_after(mut self, life: Duration) -> Self {
        self.expiry = Expiry::After(life);
        self
    }

    /// Keeps the memory for ever, whatever the namespace's default.
    #[must_use]
    pub fn never_expires(mut self) -> Self {
        self.expiry = Expiry::Never;
        self
    }

    /// Puts only if the memory has this version now; 0 means that the key must be absent. Another version is a
    /// `Conflict` that names it ([`Reason::Version`]).
    #[must_use]
    pub fn if_version(mut self, version: u64) -> Self {
        self.expected_version = Some(version);
        self
    }

    /// Checks everything that can be checked without the tenant's file.
    pub(super) fn check(self) -> Result<Draft> {
        check_key(&self.key)?;
        let text_bytes = self.text.as_ref().map_or(0, String::len);
        if text_bytes > TEXT_BYTES_MAX {
            return Err(Error::too_large("text", TEXT_BYTES_MAX, text_bytes));
        }
        let content = self.content.as_ref().map(checked_content).transpose()?;
        let metadata_bytes = check_metadata(&self.metadata)?;
        let vector = self.vector.as_deref().map(GivenVector::new).transpose()?;
        self.model.as_deref().map_or(Ok(()), check_model)?;
        if let Expiry::After(life) = self.expiry {
            check_life(life)?;
        }
        let vector_bytes = vector.as_ref().map_or(0, GivenVector::bytes);
        let content_bytes = content.as_ref().map_or(0, String::len);
        let bytes = (self.key.len() + text_bytes + content_bytes + metadata_bytes + vector_bytes) as u64;
        let Self { key, text, metadata, model, expiry, expected_version, .. } = self;
        Ok(Draft { key, text, content, metadata, vector, model, expiry, expected_version, bytes })
    }
}

/// A checked memory.
#[derive(Debug, Serialize)]
pub(crate) struct Draft {
    pub(super) key: String,
    pub(super) text: Option<String>,
    pub(super) content: Option<String>,
    pub(super) metadata: BTreeMap<String, MetadataValue>,
    pub(super) vector: Option<GivenVector>,
    pub(super) model: Option<String>,
    expiry: Expiry,
    pub(super) expected_version: Option<u64>,
    /// What it adds to [`Usage::bytes`](crate::Usage::bytes).
    pub(super) bytes: u64,
}

impl Draft {
    /// The text that an embedder would turn into the vector, if there is none.
    pub(super) fn text_to_embed(&self) -> Option<&str> {
        if self.vector.is_some() { None } else { self.text.as_deref() }
    }

    pub(super) fn embed(&mut self, model: &str, vector: GivenVector) {
        self.bytes = self.bytes.saturating_add(vector.bytes() as u64);
        self.model = Some(model.to_owned());
        self.vector = Some(vector);
    }

    /// When the memory goes if it is put now into a namespace with this default.
    ///
    /// # Errors
    /// `InvalidInput` when that time has passed.
    pub(super) fn expires_at(&self, now: Timestamp, default: Option<Duration>) -> Result<Option<Timestamp>> {
        match self.expiry {
            Expiry::Unsaid => Ok(default.map(|life| now.after(life))),
            Expiry::Never => Ok(None),
            Expiry::After(life) => Ok(Some(now.after(life))),
            Expiry::At(at) if at > now => Ok(Some(at)),
            Expiry::At(_) => Err(Error::invalid("expiry", "must be in the future")),
        }
    }
}

pub(super) fn checked_content(content: &Value) -> Result<String> {
    let depth = depth(content);
    if depth > CONTENT_DEPTH_MAX {
        return Err(Error::too_large("content depth", CONTENT_DEPTH_MAX, depth));
    }
    let text = content.to_string();
    if text.len() > CONTENT_BYTES_MAX {
        return Err(Error::too_large("content", CONTENT_BYTES_MAX, text.len()));
    }
    Ok(text)
}

/// Levels of nesting, walked with a stack of its own: a caller's value may be deeper than the thread's stack.
fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 1)];
    while let Some((value, level)) = open.pop() {
        deepest = deepest.max(level);
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, level + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|field| (field, level + 1))),
            _ => {}
        }
    }
    deepest
}

/// Gives the bytes that the fields count for.
fn check_metadata(fields: &BTreeMap<String, MetadataValue>) -> Result<usize> {
    if fields.len() > METADATA_FIELDS_MAX {
        return Err(Error::too_large("metadata fields", METADATA_FIELDS_MAX, fields.len()));
    }
    let mut bytes = 0;
    for (name, value) in fields {
        if name.is_empty() {
            return Err(Error::invalid("metadata name", "must not be empty"));
        }
        if name.len() > METADATA_NAME_BYTES_MAX {
            return Err(Error::too_large("metadata name", METADATA_NAME_BYTES_MAX, name.len()));
        }
        bytes += name.len();
        bytes += match value {
            MetadataValue::Text(text) if text.len() > METADATA_TEXT_BYTES_MAX => {
                return Err(Error::too_large("metadata text", METADATA_TEXT_BYTES_MAX, text.len()));
            }
            MetadataValue::Float(number) if !number.is_finite() => {
                return Err(Error::invalid("metadata float", "must be finite"));
            }
            MetadataValue::Text(text) => text.len(),
            MetadataValue::Bool(_) => 1,
            MetadataValue::Integer(_) | MetadataValue::Float(_) | MetadataValue::Time(_) => 8,
        };
    }
    Ok(bytes)
}

/// A typed metadata value. Types are kept: the integer 1, the float 1.0 and the text "1" are three values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MetadataValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// Text of at most 4,096 bytes.
    Text(String),
    /// A point in time.
    Time(Timestamp),
}

macro_rules! metadata_from {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for MetadataValue {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
metadata_from!(bool => Bool, i64 => Integer, i32 => Integer, u32 => Integer, f64 => Float, f32 => Float, &str => Text, String => Text, Timestamp => Time);

/// JSON text as it was stored; parsed only when asked.
///
/// ```
/// # use watertight::*;
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
/// # let notes = tenant.memories("notes")?;
/// notes.put(Memory::new("k").content(serde_json::json!({"n": [1, 2]})))?;
/// let content = notes.get("k")?.content.unwrap();
/// assert_eq!(content.as_str(), r#"{"n":[1,2]}"#);
/// assert_eq!(content.parse()?["n"][1], 2);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// The JSON text, without insignificant space.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parsed value.
    ///
    /// # Errors
    /// `Damaged` when the stored text is not JSON, which nothing of this crate writes.
    pub fn parse(&self) -> Result<Value> {
        serde_json::from_str(&self.0).map_err(|_| Reason::DamagedRecord("content").into())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A memory as it is stored.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MemoryRecord {
    /// Random, and kept when the memory is put again.
    pub id: MemoryId,
    /// The application's key.
    pub key: String,
    /// The text, as given.
    pub text: Option<String>,
    /// The JSON content.
    pub content: Option<Json>,
    /// The metadata fields, by name.
    pub metadata: BTreeMap<String, MetadataValue>,
    /// Whether recall can find it.
    pub has_vector: bool,
    /// Who put this version.
    pub author: UserId,
    /// When the key was first put.
    pub created_at: Timestamp,
    /// When this version was put.
    pub updated_at: Timestamp,
    /// 1 for the first version, one more with each put.
    pub version: u64,
    /// From when on it is gone; absent when it stays.
    pub expires_at: Option<Timestamp>,
}

/// The record of a memory in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredMemory {
    pub(super) id: MemoryId,
    pub(super) key: String,
    pub(super) text: Option<String>,
    pub(super) content: Option<String>,
    pub(super) metadata: BTreeMap<String, MetadataValue>,
    pub(super) has_vector: bool,
    pub(super) author: u32,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) version: u64,
    pub(super) expires_at: Option<Timestamp>,
    /// The step of the tenant's history that put this version.
    pub(super) sequence: u64,
    pub(super) bytes: u64,
}

impl Record for StoredMemory {
    const KIND: u8 = 19;
    const NAME: &'static str = "memory";
}

impl StoredMemory {
    /// Whether it is there at this time; an expired memory is not, swept or not.
    pub(super) fn is_live(&self, at: Timestamp) -> bool {
        self.expires_at.is_none_or(|expiry| at < expiry)
    }

    pub(super) fn into_record(self, author: UserId) -> MemoryRecord {
        MemoryRecord {
            id: self.id,
            key: self.key,
            text: self.text,
            content: self.content.map(|text| Json(text.into())),
            metadata: self.metadata,
            has_vector: self.has_vector,
            author,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
            expires_at: self.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(memory: Memory) -> Reason {
        memory.check().unwrap_err().reason().clone()
    }

    #[test]
    fn each_limit_names_itself() {
        let too_large =
            |what, limit: usize, actual: usize| Reason::TooLarge { what, limit: limit as u64, actual: actual as u64 };
        assert_eq!(refusal(Memory::new("k".repeat(513))), too_large("key", 512, 513));
        assert_eq!(refusal(Memory::new("k").text("é".repeat(600_000))), too_large("text", 1 << 20, 1_200_000));
        assert_eq!(
            refusal(Memory::new("k").content(json!("x".repeat(1 << 20)))),
            too_large("content", 1 << 20, (1 << 20) + 2)
        );
        assert_eq!(
            refusal(Memory::new("k").metadata("n", "x".repeat(5_000))),
            too_large("metadata text", 4_096, 5_000)
        );
        assert_eq!(refusal(Memory::new("k").vector(vec![1.0; 5_000])), too_large("vector dimensions", 4_096, 5_000));
        assert!(matches!(refusal(Memory::new("k").metadata("n", f64::NAN)), Reason::Invalid { .. }));
        assert!(matches!(refusal(Memory::new("")), Reason::Invalid { .. }));
        assert!(matches!(refusal(Memory::new("k").metadata("", true)), Reason::Invalid { .. }));
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let mut value = json!(1);
        for _ in 0..63 {
            value = json!([value]);
        }
        assert!(Memory::new("k").content(value.clone()).check().is_ok());
        assert_eq!(
            refusal(Memory::new("k").content(json!([value]))),
            Reason::TooLarge { what: "content depth", limit: 64, actual: 65 }
        );
    }
}
