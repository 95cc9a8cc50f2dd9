//! A memory: what a caller gives, what it gets back, and what is stored.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{MemoryId, UserId, check_key};
use crate::index::vector::UnitVector;
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
/// use serde_json::json;
/// use watertight::Memory;
///
/// let memory = Memory::new("meeting-17")
///     .text("We agreed to ship on Friday.")
///     .content(json!({"attendees": ["ada", "grace"]}))
///     .metadata("project", "apollo")
///     .metadata("priority", 2)
///     .vector(vec![0.1, 0.7, -0.2]);
/// # let _ = memory;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Memory {
    key: String,
    text: Option<String>,
    content: Option<Value>,
    metadata: BTreeMap<String, MetadataValue>,
    vector: Option<Vec<f32>>,
    expected_version: Option<u64>,
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

    /// The vector that recall compares: 1 to 4,096 finite components, not all zero. The first vector of a namespace
    /// sets its dimension.
    #[must_use]
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.vector = Some(vector.into());
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
        let vector = self.vector.as_deref().map(UnitVector::new).transpose()?;
        let vector_bytes = vector.as_ref().map_or(0, |vector| size_of_val(vector.components()));
        let content_bytes = content.as_ref().map_or(0, String::len);
        let bytes = (self.key.len() + text_bytes + content_bytes + metadata_bytes + vector_bytes) as u64;
        let Self { key, text, metadata, expected_version, .. } = self;
        Ok(Draft { key, text, content, metadata, vector, expected_version, bytes })
    }
}

/// A checked memory.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) key: String,
    pub(super) text: Option<String>,
    pub(super) content: Option<String>,
    pub(super) metadata: BTreeMap<String, MetadataValue>,
    pub(super) vector: Option<UnitVector>,
    pub(super) expected_version: Option<u64>,
    /// What it adds to [`Usage::bytes`](crate::Usage::bytes).
    pub(super) bytes: u64,
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
}

/// The record of a memory in the file.
#[derive(Debug, Serialize, Deserialize)]
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
    pub(super) bytes: u64,
}

impl Record for StoredMemory {
    const KIND: u8 = 19;
    const NAME: &'static str = "memory";
}

impl StoredMemory {
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
