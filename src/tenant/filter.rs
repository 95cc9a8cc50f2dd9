//! Metadata filters: what they ask of a memory's fields, and how much of it one filter may ask.

mod node;
#[cfg(test)]
mod property;
mod wire;

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use self::node::{Named, Node, Span, Values};
use super::columns::Columns;
use super::memory::MetadataValue;
use crate::error::{Error, Result};
use crate::index::bits::Bits;
use crate::limits::{FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_VALUES_MAX};

/// A question about the metadata of a memory, answered with yes or no.
///
/// Types are never converted: the integer 1 equals neither the float 1.0 nor the text "1". Texts compare as bytes,
/// and the float -0.0 equals 0.0. A field that is absent matches nothing but [`Filter::ne`] and a negation.
///
/// Nothing is checked while a filter is built, so that the calls chain. The operation that takes it refuses one of
/// more than 256 conditions, 16 levels or 1,024 listed values, and one that asks for a name, text or float that no
/// memory can have; the error names the limit and the value.
///
/// # Transport
/// `Filter` implements serde's traits. Only a filter within the limits is written or read, and depth and numbers are
/// bounded while reading, before they cost stack or memory; the length of the message is for its carrier to bound.
/// Each condition is an object of one member; another member, and an unknown one, is refused. In JSON:
///
/// | built with | written as |
/// |---|---|
/// | `Filter::eq("lang", "en")` | `{"eq":["lang",{"text":"en"}]}` |
/// | `Filter::ne("done", true)` | `{"ne":["done",{"bool":true}]}` |
/// | `Filter::one_of("n", [1, 2])` | `{"in":["n",[{"integer":1},{"integer":2}]]}` |
/// | `Filter::at_least("score", 0.5)` | `{"range":["score",{"from":{"Included":{"float":0.5}},"to":"Unbounded"}]}` |
/// | `Filter::less_than("due", time)` | `{"range":["due",{"from":"Unbounded","to":{"Excluded":{"time":5000000}}}]}` |
/// | `Filter::exists("draft")` | `{"exists":"draft"}` |
/// | `Filter::contains("title", "Q3")` | `{"contains":["title","Q3"]}` |
/// | `Filter::all([a, b])`, `Filter::any([a, b])` | `{"all":[a,b]}`, `{"any":[a,b]}` |
/// | `a.not()` | `{"not":a}` |
///
/// A value is an object of its type, which is never guessed; a time is in microseconds since 1970-01-01 UTC.
///
/// ```
/// use watertight::Filter;
///
/// let filter = Filter::eq("lang", "en").and(Filter::exists("draft").not());
/// let json = r#"{"all":[{"eq":["lang",{"text":"en"}]},{"not":{"exists":"draft"}}]}"#;
/// assert_eq!(serde_json::to_string(&filter).unwrap(), json);
/// assert_eq!(serde_json::from_str::<Filter>(json).unwrap(), filter);
///
/// let too_deep = format!("{}{}{}", r#"{"not":"#.repeat(16), r#"{"exists":"draft"}"#, "}".repeat(16));
/// let refused = serde_json::from_str::<Filter>(&too_deep).unwrap_err();
/// assert!(refused.to_string().starts_with("filter depth of 17 exceeds the limit of 16"));
/// assert!(serde_json::from_str::<Filter>(r#"{"eq":["lang","en"]}"#).is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    node: Node,
    /// Levels of `node`, as they were built.
    depth: usize,
}

impl Filter {
    /// The field has this value, of this type.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// assert_ne!(Filter::eq("priority", 1), Filter::eq("priority", 1.0));
    /// // A float that is not finite is in no memory: such a filter is refused.
    /// assert!(serde_json::to_string(&Filter::eq("score", f64::NAN)).is_err());
    /// ```
    #[must_use]
    pub fn eq(name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        Self::leaf(Node::Eq(Named(name.into(), value.into())))
    }

    /// The field is absent or has another value: matches whatever [`Filter::eq`] does not.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// // Matches a memory without `lang` too; this one does not:
    /// let filter = Filter::exists("lang").and(Filter::ne("lang", "en"));
    /// assert!(serde_json::to_string(&filter).is_ok());
    /// assert!(serde_json::to_string(&Filter::ne("", "en")).is_err());
    /// ```
    #[must_use]
    pub fn ne(name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        Self::leaf(Node::Ne(Named(name.into(), value.into())))
    }

    /// The field has one of these values; they may be of several types. An empty list matches nothing.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// assert!(serde_json::to_string(&Filter::one_of("lang", ["en", "fr"])).is_ok());
    /// let refused = serde_json::to_string(&Filter::one_of("n", 0..1_025)).unwrap_err();
    /// assert_eq!(refused.to_string(), "filter values of 1025 exceeds the limit of 1024");
    /// ```
    #[must_use]
    pub fn one_of(name: impl Into<String>, values: impl IntoIterator<Item = impl Into<MetadataValue>>) -> Self {
        Self::leaf(Node::In(Named(name.into(), Values(values.into_iter().map(Into::into).collect()))))
    }

    /// The field has a value of the bounds' type that lies between them. A range that ends before it starts matches
    /// nothing.
    ///
    /// False comes before true, and texts are in the order of their bytes. A range without any bound names no type
    /// and is refused, as are bounds of two types.
    ///
    /// ```
    /// use watertight::{Filter, MetadataValue};
    ///
    /// let filter = Filter::range("priority", MetadataValue::from(1)..MetadataValue::from(5));
    /// assert_eq!(serde_json::from_str::<Filter>(&serde_json::to_string(&filter).unwrap()).unwrap(), filter);
    ///
    /// let mixed = Filter::range("priority", MetadataValue::from(1)..=MetadataValue::from(5.0));
    /// assert!(serde_json::to_string(&mixed).is_err());
    /// assert!(serde_json::to_string(&Filter::range("priority", ..)).is_err());
    /// ```
    #[must_use]
    pub fn range(name: impl Into<String>, bounds: impl RangeBounds<MetadataValue>) -> Self {
        let span = Span { from: bounds.start_bound().cloned(), to: bounds.end_bound().cloned() };
        Self::leaf(Node::Range(Named(name.into(), span)))
    }

    /// The field has this value or a greater one of its type.
    ///
    /// ```
    /// use watertight::{Filter, MetadataValue};
    ///
    /// assert_eq!(Filter::at_least("n", 3), Filter::range("n", MetadataValue::from(3)..));
    /// assert!(serde_json::to_string(&Filter::at_least("n", f64::NEG_INFINITY)).is_err());
    /// ```
    #[must_use]
    pub fn at_least(name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        Self::range(name, (Bound::Included(value.into()), Bound::Unbounded))
    }

    /// The field has this value or a lesser one of its type.
    ///
    /// ```
    /// use watertight::{Filter, MetadataValue};
    ///
    /// assert_eq!(Filter::at_most("n", 3), Filter::range("n", ..=MetadataValue::from(3)));
    /// assert!(serde_json::to_string(&Filter::at_most("n", f64::NAN)).is_err());
    /// ```
    #[must_use]
    pub fn at_most(name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        Self::range(name, (Bound::Unbounded, Bound::Included(value.into())))
    }

    /// The field has a greater value than this one, of its type.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// assert_ne!(Filter::greater_than("n", 3), Filter::at_least("n", 3));
    /// assert!(serde_json::to_string(&Filter::greater_than("n", f64::NAN)).is_err());
    /// ```
    #[must_use]
    pub fn greater_than(name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        Self::range(name, (Bound::Excluded(value.into()), Bound::Unbounded))
    }

    /// The field has a lesser value than this one, of its type.
    ///
    /// ```
    /// use watertight::{Filter, MetadataValue};
    ///
    /// assert_eq!(Filter::less_than("n", 3), Filter::range("n", ..MetadataValue::from(3)));
    /// assert!(serde_json::to_string(&Filter::less_than("n", f64::NAN)).is_err());
    /// ```
    #[must_use]
    pub fn less_than(name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        Self::range(name, (Bound::Unbounded, Bound::Excluded(value.into())))
    }

    /// The field is there, with any value of any type.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// assert_eq!(serde_json::to_string(&Filter::exists("draft")).unwrap(), r#"{"exists":"draft"}"#);
    /// let refused = serde_json::to_string(&Filter::exists("x".repeat(65))).unwrap_err();
    /// assert_eq!(refused.to_string(), "filter name of 65 exceeds the limit of 64");
    /// ```
    #[must_use]
    pub fn exists(name: impl Into<String>) -> Self {
        Self::leaf(Node::Exists(name.into()))
    }

    /// The field is a text that has this text in it, byte for byte; the empty text is in every text.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// assert!(serde_json::to_string(&Filter::contains("title", "Q3")).is_ok());
    /// let refused = serde_json::to_string(&Filter::contains("title", "x".repeat(4_097))).unwrap_err();
    /// assert_eq!(refused.to_string(), "filter text of 4097 exceeds the limit of 4096");
    /// ```
    #[must_use]
    pub fn contains(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::leaf(Node::Contains(Named(name.into(), text.into())))
    }

    /// Every one of the filters matches; true when there is none.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// assert_eq!(serde_json::to_string(&Filter::all([])).unwrap(), r#"{"all":[]}"#);
    /// let refused = serde_json::to_string(&Filter::all(vec![Filter::exists("n"); 256])).unwrap_err();
    /// assert_eq!(refused.to_string(), "filter nodes of 257 exceeds the limit of 256");
    /// ```
    #[must_use]
    pub fn all(filters: impl IntoIterator<Item = Filter>) -> Self {
        Self::over(filters, Node::All)
    }

    /// At least one of the filters matches; false when there is none.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// assert_eq!(serde_json::to_string(&Filter::any([])).unwrap(), r#"{"any":[]}"#);
    /// assert!(serde_json::to_string(&Filter::any(vec![Filter::exists("n"); 256])).is_err());
    /// ```
    #[must_use]
    pub fn any(filters: impl IntoIterator<Item = Filter>) -> Self {
        Self::over(filters, Node::Any)
    }

    /// This filter does not match.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// assert_eq!(serde_json::to_string(&Filter::exists("n").not()).unwrap(), r#"{"not":{"exists":"n"}}"#);
    /// let deep = (0..16).fold(Filter::exists("n"), |filter, _| filter.not());
    /// let refused = serde_json::to_string(&deep).unwrap_err();
    /// assert_eq!(refused.to_string(), "filter depth of 17 exceeds the limit of 16");
    /// ```
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "it chains without an import, as `and` and `or` do")]
    pub fn not(self) -> Self {
        Self::nested(self.depth + 1, Node::Not(Box::new(self.node)))
    }

    /// Both match. The other one joins this one's list where it is [`Filter::all`], so that a long chain stays flat.
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// let [a, b, c] = ["a", "b", "c"].map(Filter::exists);
    /// let flat = Filter::all([a.clone(), b.clone(), c.clone()]);
    /// assert_eq!(a.and(b).and(c), flat);
    /// assert!(serde_json::to_string(&flat.and(Filter::exists(""))).is_err());
    /// ```
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self.node {
            Node::All(mut nodes) => {
                nodes.push(other.node);
                Self::nested(self.depth.max(other.depth + 1), Node::All(nodes))
            }
            _ => Self::all([self, other]),
        }
    }

    /// At least one of the two matches. The other one joins this one's list where it is [`Filter::any`].
    ///
    /// ```
    /// use watertight::Filter;
    ///
    /// let [a, b, c] = ["a", "b", "c"].map(Filter::exists);
    /// let flat = Filter::any([a.clone(), b.clone(), c.clone()]);
    /// assert_eq!(a.or(b).or(c), flat);
    /// assert!(serde_json::to_string(&flat.or(Filter::exists(""))).is_err());
    /// ```
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self.node {
            Node::Any(mut nodes) => {
                nodes.push(other.node);
                Self::nested(self.depth.max(other.depth + 1), Node::Any(nodes))
            }
            _ => Self::any([self, other]),
        }
    }

    /// Refuses what exceeds a limit or can match nothing by its types.
    ///
    /// # Errors
    /// `InvalidInput`, naming the limit and the value.
    pub(crate) fn check(&self) -> Result<()> {
        if self.depth > FILTER_DEPTH_MAX {
            return Err(Error::too_large("filter depth", FILTER_DEPTH_MAX, self.depth));
        }
        let nodes = self.node.walk().count();
        if nodes > FILTER_NODES_MAX {
            return Err(Error::too_large("filter nodes", FILTER_NODES_MAX, nodes));
        }
        let values = self.node.walk().map(Node::values).sum();
        if values > FILTER_VALUES_MAX {
            return Err(Error::too_large("filter values", FILTER_VALUES_MAX, values));
        }
        self.node.walk().try_for_each(Node::check)
    }

    /// Whether these fields are what a checked filter asks for.
    pub(crate) fn matches(&self, fields: &BTreeMap<String, MetadataValue>) -> bool {
        self.node.matches(fields)
    }

    /// The fields that it asks for.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.node.walk().filter_map(Node::name)
    }

    /// Slots of rows that may match: all that do, and those of which it is not known.
    pub(super) fn select(&self, columns: &Columns) -> Bits {
        self.node.select(columns, true)
    }

    fn leaf(node: Node) -> Self {
        Self { node, depth: 1 }
    }

    fn over(filters: impl IntoIterator<Item = Filter>, list: fn(Vec<Node>) -> Node) -> Self {
        let mut depth = 0;
        let nodes = filters
            .into_iter()
            .map(|filter| {
                depth = depth.max(filter.depth);
                filter.node
            })
            .collect();
        Self::nested(depth + 1, list(nodes))
    }

    /// Lets go of what is too deep at once: a caller may nest further than the stack that drops it reaches.
    fn nested(depth: usize, node: Node) -> Self {
        Self { node: if depth > FILTER_DEPTH_MAX { Node::TooDeep } else { node }, depth }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn refusal(filter: Filter) -> Reason {
        filter.check().unwrap_err().reason().clone()
    }

    #[test]
    fn empty_lists_are_their_neutral_elements() {
        let fields = BTreeMap::new();
        assert!(Filter::all([]).matches(&fields));
        assert!(!Filter::any([]).matches(&fields));
        assert!(!Filter::one_of("f", Vec::<i64>::new()).matches(&fields));
        assert!(Filter::all([Filter::all([]), Filter::any([]).not()]).check().is_ok());
    }

    #[test]
    fn nodes_depth_and_values_are_bounded() {
        let leaf = || Filter::exists("f");
        assert!(Filter::any(vec![leaf(); 255]).check().is_ok());
        let nodes = |actual| Reason::TooLarge { what: "filter nodes", limit: 256, actual };
        assert_eq!(refusal(Filter::any(vec![leaf(); 256])), nodes(257));
        assert_eq!(refusal(Filter::all(vec![leaf().not(); 200])), nodes(401));

        let values = |actual| Reason::TooLarge { what: "filter values", limit: 1_024, actual };
        assert!(Filter::one_of("f", 0..1_024).check().is_ok());
        assert_eq!(refusal(Filter::one_of("f", 0..1_025)), values(1_025));
        assert_eq!(refusal(Filter::one_of("f", 0..1_000).or(Filter::one_of("g", 0..25))), values(1_025));

        let nots = |levels| (1..levels).fold(leaf(), |filter, _| filter.not());
        assert!(nots(16).check().is_ok());
        assert_eq!(refusal(nots(17)), Reason::TooLarge { what: "filter depth", limit: 16, actual: 17 });
        for (inner, actual) in [(15, 16), (16, 17)] {
            for filter in
                [leaf().and(nots(inner)), Filter::all([leaf(), leaf()]).and(nots(inner)), nots(inner).or(leaf())]
            {
                assert_eq!((filter.depth, filter.check().is_ok()), (actual, actual == 16));
            }
        }
    }

    /// Each of these would overflow the stack if the filter kept what it was given.
    #[test]
    fn a_million_levels_are_refused_and_dropped() {
        let deep = (1..1_000_000).fold(Filter::exists("f"), |filter, _| filter.not());
        let again = Filter::all([deep.clone(), Filter::exists("f")]);
        assert_eq!(deep.clone(), deep);
        assert!(format!("{deep:?}").len() < 100);
        assert_eq!(refusal(deep), Reason::TooLarge { what: "filter depth", limit: 16, actual: 1_000_000 });
        assert_eq!(refusal(again), Reason::TooLarge { what: "filter depth", limit: 16, actual: 1_000_001 });
    }

    #[test]
    fn a_long_chain_stays_flat() {
        let chain = (0..254).fold(Filter::exists("f"), |filter, n| filter.and(Filter::ne("n", n)));
        assert_eq!(chain.depth, 2);
        assert!(chain.check().is_ok());
        // Another operator starts a list of its own: `and` never widens an `any`.
        let [a, b, c] = ["a", "b", "c"].map(Filter::exists);
        let fields = BTreeMap::from([("a".to_owned(), MetadataValue::Bool(false))]);
        assert!(!a.clone().or(b.clone()).and(c.clone()).matches(&fields));
        assert!(a.or(b.and(c)).matches(&fields));
    }
}
