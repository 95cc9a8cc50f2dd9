//! JSON merge patches (RFC 7396) of a memory's content.

use serde::Serialize;
use serde_json::{Map, Value};

use super::memory::checked_content;
use crate::error::{Error, Reason, Result};
use crate::id::check_key;
use crate::limits::{CONTENT_BYTES_MAX, CONTENT_DEPTH_MAX};

/// A change of a memory's JSON content: members of the patch replace or add, and `null` removes (RFC 7396).
///
/// ```
/// use serde_json::json;
/// use watertight::Patch;
///
/// let patch = Patch::new("meeting-17", json!({"room": "B4", "cancelled": null})).if_version(3);
/// # let _ = patch;
/// ```
#[derive(Debug, Clone)]
pub struct Patch {
    pub(super) key: String,
    merge: Value,
    pub(super) expected_version: Option<u64>,
}

impl Patch {
    /// A merge patch for the content of this key.
    #[must_use]
    pub fn new(key: impl Into<String>, merge: Value) -> Self {
        Self { key: key.into(), merge, expected_version: None }
    }

    /// Patches only if the memory has this version now; another is a `Conflict` that names it.
    #[must_use]
    pub fn if_version(mut self, version: u64) -> Self {
        self.expected_version = Some(version);
        self
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Bounds the patch before it is merged, which recurses. Gives its length in bytes.
    pub(crate) fn check(&self) -> Result<u64> {
        check_key(&self.key)?;
        checked_content(&self.merge).map(|text| text.len() as u64)
    }

    /// What is asked for, by which a repeated patch is known. The patch is in it as text: a JSON value in a format
    /// that does not say its types would be the same for `1`, `-1` and `true`.
    pub(super) fn request(&self) -> impl Serialize {
        (&self.key, self.merge.to_string(), self.expected_version)
    }

    /// The content after the patch, within the limits of content.
    pub(super) fn apply(&self, content: Option<&str>) -> Result<String> {
        let mut value = match content {
            Some(text) => serde_json::from_str(text).map_err(|_| Error::from(Reason::DamagedRecord("content")))?,
            None => Value::Null,
        };
        merge(&mut value, &self.merge);
        checked_content(&value)
    }
}

/// RFC 7396, section 2. Recursion ends at the depth of the patch, which was bounded before.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, member) in members {
        if member.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.as_str()).or_insert(Value::Null), member);
        }
    }
}

const _: () = assert!(CONTENT_DEPTH_MAX <= 128 && CONTENT_BYTES_MAX > 0, "merge recurses once for each level");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The cases of RFC 7396, appendix A.
    #[test]
    fn rfc_7396_appendix_a() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let patched = Patch::new("k", patch.clone()).apply(Some(&target.to_string())).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&patched).unwrap(), result, "{target} with {patch}");
        }
        assert_eq!(Patch::new("k", json!({"a": 1, "b": null})).apply(None).unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn a_patch_cannot_grow_content_past_its_limit() {
        let half = "x".repeat(CONTENT_BYTES_MAX / 2);
        let patch = Patch::new("k", json!({"b": half, "c": half}));
        assert!(patch.check().is_err());
        let patch = Patch::new("k", json!({"b": half}));
        assert!(patch.check().is_ok());
        assert!(patch.apply(Some(&json!({"a": half}).to_string())).is_err());
    }
}
