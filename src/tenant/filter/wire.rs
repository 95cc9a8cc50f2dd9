//! The transport form of filters.
//!
//! What reads it comes from anywhere and in any of serde's formats. Depth and numbers are therefore counted here,
//! before the reader goes a level deeper or keeps another value: a format need not have a limit of its own.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, SeqAccess, VariantAccess, Visitor};
use serde::ser::{self, Serialize, Serializer};

use super::Filter;
use super::node::{Named, Node, Span, Values};
use crate::error::Error;
use crate::limits::{FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_VALUES_MAX};
use crate::tenant::memory::MetadataValue;

impl Serialize for Filter {
    /// Writes only what [`Filter`] would read again.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.check().map_err(ser::Error::custom)?;
        self.node.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut read = Read::default();
        let node = NodeSeed { read: &mut read, level: 1 }.deserialize(deserializer)?;
        let filter = Filter { node, depth: read.depth };
        filter.check().map_err(de::Error::custom)?;
        Ok(filter)
    }
}

/// What has been read of one filter.
#[derive(Default)]
struct Read {
    depth: usize,
    nodes: usize,
    values: usize,
}

/// In the order of the variants of [`Node`]: some formats write the number instead of the name.
#[derive(serde::Deserialize)]
#[serde(variant_identifier, rename_all = "snake_case")]
enum Tag {
    Eq,
    Ne,
    In,
    Range,
    Exists,
    Contains,
    All,
    Any,
    Not,
}

const TAGS: &[&str] = &["eq", "ne", "in", "range", "exists", "contains", "all", "any", "not"];

/// Reads one node at this level.
struct NodeSeed<'r> {
    read: &'r mut Read,
    level: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        if self.level > FILTER_DEPTH_MAX {
            return Err(de::Error::custom(Error::too_large("filter depth", FILTER_DEPTH_MAX, self.level)));
        }
        self.read.nodes += 1;
        if self.read.nodes > FILTER_NODES_MAX {
            return Err(de::Error::custom(Error::too_large("filter nodes", FILTER_NODES_MAX, self.read.nodes)));
        }
        self.read.depth = self.read.depth.max(self.level);
        deserializer.deserialize_enum("Filter", TAGS, self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a filter")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Node, A::Error> {
        let (tag, content) = data.variant::<Tag>()?;
        let Self { read, level } = self;
        Ok(match tag {
            Tag::Eq => Node::Eq(content.newtype_variant()?),
            Tag::Ne => Node::Ne(content.newtype_variant()?),
            Tag::In => {
                let values: Named<Values> = content.newtype_variant()?;
                read.values += values.1.0.len();
                check_values(read.values)?;
                Node::In(values)
            }
            Tag::Range => Node::Range(content.newtype_variant::<Named<Span>>()?),
            Tag::Exists => Node::Exists(content.newtype_variant()?),
            Tag::Contains => Node::Contains(content.newtype_variant()?),
            Tag::All => Node::All(content.newtype_variant_seed(ListSeed { read, level: level + 1 })?),
            Tag::Any => Node::Any(content.newtype_variant_seed(ListSeed { read, level: level + 1 })?),
            Tag::Not => Node::Not(Box::new(content.newtype_variant_seed(NodeSeed { read, level: level + 1 })?)),
        })
    }
}

/// Reads the nodes of a list, each at this level.
struct ListSeed<'r> {
    read: &'r mut Read,
    level: usize,
}

impl<'de> DeserializeSeed<'de> for ListSeed<'_> {
    type Value = Vec<Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Node>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed<'_> {
    type Value = Vec<Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of filters")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Node>, A::Error> {
        let Self { read, level } = self;
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element_seed(NodeSeed { read: &mut *read, level })? {
            nodes.push(node);
        }
        Ok(nodes)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of metadata values")
    }

    /// The length that the input claims is not believed: memory grows with what was read.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element::<MetadataValue>()? {
            values.push(value);
            check_values(values.len())?;
        }
        Ok(Values(values))
    }
}

fn check_values<E: de::Error>(values: usize) -> Result<(), E> {
    if values > FILTER_VALUES_MAX {
        return Err(de::Error::custom(Error::too_large("filter values", FILTER_VALUES_MAX, values)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn refusal(json: &str) -> String {
        serde_json::from_str::<Filter>(json).unwrap_err().to_string()
    }

    #[test]
    fn the_form_is_as_documented() {
        let [a, b] = ["a", "b"].map(Filter::exists);
        let time = Timestamp::from_seconds(5);
        for (filter, json) in [
            (Filter::eq("lang", "en"), r#"{"eq":["lang",{"text":"en"}]}"#),
            (Filter::ne("done", true), r#"{"ne":["done",{"bool":true}]}"#),
            (Filter::one_of("n", [1, 2]), r#"{"in":["n",[{"integer":1},{"integer":2}]]}"#),
            (
                Filter::at_least("score", 0.5),
                r#"{"range":["score",{"from":{"Included":{"float":0.5}},"to":"Unbounded"}]}"#,
            ),
            (
                Filter::less_than("due", time),
                r#"{"range":["due",{"from":"Unbounded","to":{"Excluded":{"time":5000000}}}]}"#,
            ),
            (Filter::contains("title", "Q3"), r#"{"contains":["title","Q3"]}"#),
            (Filter::all([a.clone(), b.clone()]), r#"{"all":[{"exists":"a"},{"exists":"b"}]}"#),
            (Filter::any([a.clone(), b]), r#"{"any":[{"exists":"a"},{"exists":"b"}]}"#),
            (a.not(), r#"{"not":{"exists":"a"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&filter).unwrap(), json);
            assert_eq!(serde_json::from_str::<Filter>(json).unwrap(), filter);
        }
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        for json in [
            "{}",
            "[]",
            "null",
            r#""exists""#,
            r#"{"exists":"a","not":{"exists":"a"}}"#,
            r#"{"exists":"a","note":1}"#,
            r#"{"exists":"a","exists":"b"}"#,
            r#"{"Exists":"a"}"#,
            r#"{"too_deep":null}"#,
            r#""too_deep""#,
            r#"{"all":{"exists":"a"}}"#,
            r#"{"eq":["a"]}"#,
            r#"{"eq":["a",{"integer":1},{"integer":2}]}"#,
            r#"{"eq":["a",1]}"#,
            r#"{"eq":["a",{"integer":"1"}]}"#,
            r#"{"eq":["a",{"integer":1.0}]}"#,
            r#"{"eq":["a",{"integer":9223372036854775808}]}"#,
            r#"{"eq":["a",{"float":null}]}"#,
            r#"{"eq":["a",{"float":1e999}]}"#,
            r#"{"eq":["a",{"integer":1,"Text":"1"}]}"#,
            r#"{"range":["a",{"from":{"Included":{"integer":1}}}]}"#,
            r#"{"range":["a",{"from":{"Included":{"integer":1}},"to":"Unbounded","step":1}]}"#,
        ] {
            assert!(serde_json::from_str::<Filter>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_is_read_is_checked() {
        let long = "x".repeat(4_097);
        for (json, message) in [
            (format!(r#"{{"exists":"{}"}}"#, &long[..65]), "filter name of 65 exceeds the limit of 64"),
            (format!(r#"{{"contains":["a","{long}"]}}"#), "filter text of 4097 exceeds the limit of 4096"),
            (r#"{"not":{"exists":""}}"#.to_owned(), "filter name: must not be empty"),
            (r#"{"range":["a",{"from":"Unbounded","to":"Unbounded"}]}"#.to_owned(), "filter range: must have a bound"),
        ] {
            assert!(refusal(&json).starts_with(message), "{}", refusal(&json));
        }
        // Formats other than JSON can carry a NaN.
        let mut bytes = postcard::to_stdvec(&Filter::eq("a", 1.0)).unwrap();
        let number = bytes.len() - 8;
        bytes[number..].copy_from_slice(&f64::NAN.to_le_bytes());
        assert!(postcard::from_bytes::<Filter>(&bytes).is_err());
    }

    #[test]
    fn numbers_are_bounded_while_reading() {
        let leaves = |count: usize| vec![r#"{"exists":"a"}"#; count].join(",");
        assert!(serde_json::from_str::<Filter>(&format!(r#"{{"all":[{}]}}"#, leaves(255))).is_ok());
        // Each message breaks off behind the value that is too many: the reader must not get that far.
        let nodes = format!(r#"{{"all":[{},"#, leaves(256));
        assert!(refusal(&nodes).starts_with("filter nodes of 257 exceeds the limit of 256"), "{}", refusal(&nodes));

        let values = |count: usize| vec![r#"{"integer":1}"#; count].join(",");
        assert!(serde_json::from_str::<Filter>(&format!(r#"{{"in":["a",[{}]]}}"#, values(1_024))).is_ok());
        let one_list = format!(r#"{{"in":["a",[{},"#, values(1_025));
        let two_lists = format!(r#"{{"any":[{{"in":["a",[{}]]}},{{"in":["b",[{}]]}},"#, values(1_000), values(25));
        for json in [one_list, two_lists] {
            assert!(
                refusal(&json).starts_with("filter values of 1025 exceeds the limit of 1024"),
                "{}",
                refusal(&json)
            );
        }
    }

    /// postcard has no limit of depth of its own.
    #[test]
    fn a_hostile_depth_is_an_error_and_not_a_stack_overflow() {
        let not = |levels: usize| [vec![8; levels], postcard::to_stdvec(&Filter::exists("a")).unwrap()].concat();
        assert_eq!(postcard::from_bytes::<Filter>(&not(15)).unwrap().depth, 16);
        assert!(postcard::from_bytes::<Filter>(&not(16)).is_err());
        assert!(postcard::from_bytes::<Filter>(&not(10_000_000)).is_err());
        for list in [[6, 1], [7, 1]] {
            assert!(postcard::from_bytes::<Filter>(&list.repeat(5_000_000)).is_err());
        }
        // A list that claims more elements than memory holds.
        assert!(postcard::from_bytes::<Filter>(&[6, 255, 255, 255, 255, 15]).is_err());
        assert!(postcard::from_bytes::<Filter>(&[2, 1, b'a', 255, 255, 255, 255, 15]).is_err());

        let json = r#"{"not":"#.repeat(100_000);
        assert!(refusal(&json).starts_with("filter depth of 17 exceeds the limit of 16"), "{}", refusal(&json));
    }

    /// The last digit of a float must survive, or an equality would silently match nothing.
    #[test]
    fn floats_are_read_exactly() {
        let roots = (2..1_000).flat_map(|n| [-200, -7, 0, 200].map(|scale| f64::from(n).sqrt() * 10_f64.powi(scale)));
        for number in roots.chain([0.1, 5e-324, f64::MAX, f64::MIN_POSITIVE]) {
            let filter = Filter::eq("a", number);
            assert_eq!(serde_json::from_str::<Filter>(&serde_json::to_string(&filter).unwrap()).unwrap(), filter);
        }
    }
}
