//! The conditions that a filter is made of, each with its rule and its answer.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter;
use std::mem;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::index::bits::Bits;
use crate::limits::{METADATA_NAME_BYTES_MAX, METADATA_TEXT_BYTES_MAX};
use crate::tenant::columns::Columns;
use crate::tenant::memory::MetadataValue;

/// Never nested deeper than [`FILTER_DEPTH_MAX`](crate::limits::FILTER_DEPTH_MAX), so that every walk over it, `Drop` included, may recurse.
///
/// The order of the variants is that of the transport form's tags.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Node {
    Eq(Named<MetadataValue>),
    Ne(Named<MetadataValue>),
    In(Named<Values>),
    Range(Named<Span>),
    Exists(String),
    Contains(Named<String>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// Stands for what was built too deep. It is only ever the root, and `check` refuses it.
    #[serde(skip)]
    TooDeep,
}

/// What is asked of the field of this name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Named<T>(pub(super) String, pub(super) T);

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Values(pub(super) Vec<MetadataValue>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    pub(super) from: Bound<MetadataValue>,
    pub(super) to: Bound<MetadataValue>,
}

impl Node {
    pub(super) fn matches(&self, fields: &BTreeMap<String, MetadataValue>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(fields)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(fields)),
            Self::Not(node) => !node.matches(fields),
            leaf => leaf.name().is_some_and(|name| leaf.asks(fields.get(name))),
        }
    }

    /// The field that a leaf asks for.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Eq(Named(name, _)) | Self::Ne(Named(name, _)) => Some(name),
            Self::In(Named(name, _)) => Some(name),
            Self::Range(Named(name, _)) => Some(name),
            Self::Exists(name) | Self::Contains(Named(name, _)) => Some(name),
            Self::All(_) | Self::Any(_) | Self::Not(_) | Self::TooDeep => None,
        }
    }

    /// Whether the field of a leaf is as it asks.
    fn asks(&self, field: Option<&MetadataValue>) -> bool {
        match self {
            Self::Eq(Named(_, value)) => field == Some(value),
            Self::Ne(Named(_, value)) => field != Some(value),
            Self::In(Named(_, values)) => field.is_some_and(|field| values.0.contains(field)),
            Self::Range(Named(_, span)) => field.is_some_and(|field| span.holds(field)),
            Self::Exists(_) => field.is_some(),
            Self::Contains(Named(_, text)) => {
                matches!(field, Some(MetadataValue::Text(field)) if field.contains(text.as_str()))
            }
            Self::All(_) | Self::Any(_) | Self::Not(_) | Self::TooDeep => false,
        }
    }

    /// Slots of rows that may match if `unknown`, and of those that surely do if not.
    pub(super) fn select(&self, columns: &Columns, unknown: bool) -> Bits {
        match self {
            Self::All(nodes) => nodes.iter().fold(columns.live().clone(), |mut selected, node| {
                selected.intersect(&node.select(columns, unknown));
                selected
            }),
            Self::Any(nodes) => nodes.iter().fold(Bits::default(), |mut selected, node| {
                selected.unite(&node.select(columns, unknown));
                selected
            }),
            Self::Not(node) => {
                let mut selected = columns.live().clone();
                selected.subtract(&node.select(columns, !unknown));
                selected
            }
            leaf => {
                leaf.name().map_or_else(Bits::default, |name| columns.matching(name, unknown, |field| leaf.asks(field)))
            }
        }
    }

    /// This node and all below it.
    pub(super) fn walk(&self) -> impl Iterator<Item = &Node> {
        let mut open = vec![self];
        iter::from_fn(move || {
            let node = open.pop()?;
            match node {
                Self::All(nodes) | Self::Any(nodes) => open.extend(nodes),
                Self::Not(node) => open.push(node),
                _ => {}
            }
            Some(node)
        })
    }

    pub(super) fn values(&self) -> usize {
        if let Self::In(Named(_, values)) = self { values.0.len() } else { 0 }
    }

    /// Checks this node without those below it.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Eq(Named(name, value)) | Self::Ne(Named(name, value)) => {
                check_name(name)?;
                check_value(value)
            }
            Self::In(Named(name, values)) => {
                check_name(name)?;
                values.0.iter().try_for_each(check_value)
            }
            Self::Range(Named(name, span)) => {
                check_name(name)?;
                span.check()
            }
            Self::Exists(name) => check_name(name),
            Self::Contains(Named(name, text)) => {
                check_name(name)?;
                check_text(text)
            }
            Self::All(_) | Self::Any(_) | Self::Not(_) | Self::TooDeep => Ok(()),
        }
    }
}

impl Span {
    fn holds(&self, field: &MetadataValue) -> bool {
        let from = match &self.from {
            Bound::Included(from) => order(field, from).is_some_and(Ordering::is_ge),
            Bound::Excluded(from) => order(field, from).is_some_and(Ordering::is_gt),
            Bound::Unbounded => true,
        };
        let to = match &self.to {
            Bound::Included(to) => order(field, to).is_some_and(Ordering::is_le),
            Bound::Excluded(to) => order(field, to).is_some_and(Ordering::is_lt),
            Bound::Unbounded => true,
        };
        from && to
    }

    fn check(&self) -> Result<()> {
        let value = |bound: &Bound<MetadataValue>| match bound {
            Bound::Included(value) | Bound::Excluded(value) => {
                check_value(value).map(|()| Some(mem::discriminant(value)))
            }
            Bound::Unbounded => Ok(None),
        };
        match (value(&self.from)?, value(&self.to)?) {
            (None, None) => Err(Error::invalid("filter range", "must have a bound")),
            (Some(from), Some(to)) if from != to => {
                Err(Error::invalid("filter range", "both bounds must be of one type"))
            }
            _ => Ok(()),
        }
    }
}

/// The order of two values of one type; values of two types, and NaN, have none.
fn order(left: &MetadataValue, right: &MetadataValue) -> Option<Ordering> {
    use MetadataValue::{Bool, Float, Integer, Text, Time};
    match (left, right) {
        (Bool(left), Bool(right)) => Some(left.cmp(right)),
        (Integer(left), Integer(right)) => Some(left.cmp(right)),
        (Float(left), Float(right)) => left.partial_cmp(right),
        (Text(left), Text(right)) => Some(left.cmp(right)),
        (Time(left), Time(right)) => Some(left.cmp(right)),
        // Spelled out, so that a new type has to say its order here.
        (Bool(_) | Integer(_) | Float(_) | Text(_) | Time(_), _) => None,
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("filter name", "must not be empty"));
    }
    if name.len() > METADATA_NAME_BYTES_MAX {
        return Err(Error::too_large("filter name", METADATA_NAME_BYTES_MAX, name.len()));
    }
    Ok(())
}

fn check_text(text: &str) -> Result<()> {
    if text.len() > METADATA_TEXT_BYTES_MAX {
        return Err(Error::too_large("filter text", METADATA_TEXT_BYTES_MAX, text.len()));
    }
    Ok(())
}

fn check_value(value: &MetadataValue) -> Result<()> {
    match value {
        MetadataValue::Text(text) => check_text(text),
        MetadataValue::Float(number) if !number.is_finite() => Err(Error::invalid("filter float", "must be finite")),
        MetadataValue::Bool(_) | MetadataValue::Integer(_) | MetadataValue::Float(_) | MetadataValue::Time(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::*;
    use crate::clock::Timestamp;
    use crate::error::Reason;

    fn field(value: impl Into<MetadataValue>) -> BTreeMap<String, MetadataValue> {
        BTreeMap::from([("f".to_owned(), value.into())])
    }

    fn refusal(filter: Filter) -> Reason {
        filter.check().unwrap_err().reason().clone()
    }

    #[test]
    fn types_are_never_converted() {
        let time = Timestamp::from_micros(1);
        let values: [MetadataValue; 5] = [true.into(), 1.into(), 1.0.into(), "1".into(), time.into()];
        for (at, asked) in values.iter().enumerate() {
            for (stored_at, stored) in values.iter().enumerate() {
                let fields = field(stored.clone());
                let same = at == stored_at;
                assert_eq!(Filter::eq("f", asked.clone()).matches(&fields), same);
                assert_eq!(Filter::ne("f", asked.clone()).matches(&fields), !same);
                assert_eq!(Filter::one_of("f", [asked.clone()]).matches(&fields), same);
                assert_eq!(Filter::at_least("f", asked.clone()).matches(&fields), same);
                assert_eq!(Filter::at_most("f", asked.clone()).matches(&fields), same);
                assert!(!Filter::greater_than("f", asked.clone()).matches(&fields));
                assert!(!Filter::less_than("f", asked.clone()).matches(&fields));
            }
        }
        assert!(!Filter::contains("f", "1").matches(&field(1)));
    }

    #[test]
    fn an_absent_field_matches_only_a_negation() {
        let absent = BTreeMap::new();
        assert!(Filter::ne("f", 1).matches(&absent));
        assert!(Filter::eq("f", 1).not().matches(&absent));
        assert!(Filter::exists("f").not().matches(&absent));
        for filter in [
            Filter::eq("f", 1),
            Filter::one_of("f", [1]),
            Filter::at_least("f", i64::MIN),
            Filter::exists("f"),
            Filter::contains("f", ""),
        ] {
            assert!(!filter.matches(&absent), "{filter:?}");
        }
    }

    #[test]
    fn ranges_are_of_one_type_and_bounded() {
        let int = |value: i64| MetadataValue::from(value);
        let holds = |filter: Filter| [1, 2, 3].map(|value| filter.matches(&field(value)));
        assert_eq!(holds(Filter::range("f", int(1)..int(3))), [true, true, false]);
        assert_eq!(holds(Filter::range("f", int(2)..=int(3))), [false, true, true]);
        assert_eq!(holds(Filter::range("f", (Bound::Excluded(int(1)), Bound::Unbounded))), [false, true, true]);
        assert_eq!(holds(Filter::range("f", int(3)..int(1))), [false; 3]);

        let what = "filter range";
        assert_eq!(refusal(Filter::range("f", ..)), Reason::Invalid { what, rule: "must have a bound" });
        let mixed = Filter::range("f", int(1)..MetadataValue::from(2.0));
        assert_eq!(refusal(mixed), Reason::Invalid { what, rule: "both bounds must be of one type" });
    }

    #[test]
    fn each_type_has_its_order() {
        for (less, more) in [
            (MetadataValue::from(false), MetadataValue::from(true)),
            (i64::MIN.into(), i64::MAX.into()),
            (f64::MIN.into(), f64::MIN_POSITIVE.into()),
            ("Z".into(), "a".into()),
            ("z".into(), "é".into()),
            (Timestamp::from_micros(0).into(), Timestamp::from_micros(u64::MAX).into()),
        ] {
            assert!(Filter::less_than("f", more.clone()).matches(&field(less.clone())));
            assert!(Filter::greater_than("f", less.clone()).matches(&field(more.clone())));
            assert!(!Filter::at_least("f", more).matches(&field(less)));
        }
        assert!(Filter::eq("f", -0.0).matches(&field(0.0)) && Filter::at_least("f", 0.0).matches(&field(-0.0)));
    }

    #[test]
    fn contains_is_bytewise() {
        let fields = field("Überfall");
        for (text, found) in
            [("", true), ("ber", true), ("Ü", true), ("U", false), ("über", false), ("Überfalls", false)]
        {
            assert_eq!(Filter::contains("f", text).matches(&fields), found, "{text}");
        }
    }

    #[test]
    fn names_texts_and_floats_are_bounded() {
        let long = "x".repeat(4_097);
        let name = Reason::TooLarge { what: "filter name", limit: 64, actual: 65 };
        let text = Reason::TooLarge { what: "filter text", limit: 4_096, actual: 4_097 };
        let float = Reason::Invalid { what: "filter float", rule: "must be finite" };
        let empty = Reason::Invalid { what: "filter name", rule: "must not be empty" };
        let constructors: [fn(&str, MetadataValue) -> Filter; 5] = [
            |name, value| Filter::eq(name, value),
            |name, value| Filter::ne(name, value),
            |name, value| Filter::one_of(name, [value]),
            |name, value| Filter::at_least(name, value),
            |name, value| Filter::less_than(name, value),
        ];
        for make in constructors {
            assert_eq!(refusal(make(&long[..65], 1.into())), name);
            assert_eq!(refusal(make("", 1.into())), empty);
            assert_eq!(refusal(make("f", long.as_str().into())), text);
            for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert_eq!(refusal(make("f", number.into())), float);
            }
            assert!(make(&long[..64], long[..4_096].into()).check().is_ok());
        }
        assert_eq!(refusal(Filter::exists(&long[..65])), name);
        assert_eq!(refusal(Filter::contains("", "")), empty);
        assert_eq!(refusal(Filter::contains("f", long)), text);
    }
}
