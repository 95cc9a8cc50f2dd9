//! Random filters over random fields, against an evaluator that shares no code with the one under test.

use std::ops::Bound;

use proptest::prelude::*;

use super::Filter;
use crate::clock::Timestamp;
use crate::tenant::memory::MetadataValue;

/// A filter as it is written down, kept apart from the code under test.
#[derive(Debug, Clone)]
enum Plan {
    Eq(String, MetadataValue),
    Ne(String, MetadataValue),
    OneOf(String, Vec<MetadataValue>),
    Range(String, Option<(bool, MetadataValue)>, Option<(bool, MetadataValue)>),
    Exists(String),
    Contains(String, String),
    All(Vec<Plan>),
    Any(Vec<Plan>),
    Not(Box<Plan>),
    And(Box<Plan>, Box<Plan>),
    Or(Box<Plan>, Box<Plan>),
}

impl Plan {
    fn build(&self) -> Filter {
        let bound = |bound: &Option<(bool, MetadataValue)>| match bound.clone() {
            Some((true, value)) => Bound::Included(value),
            Some((false, value)) => Bound::Excluded(value),
            None => Bound::Unbounded,
        };
        match self {
            Self::Eq(name, value) => Filter::eq(name, value.clone()),
            Self::Ne(name, value) => Filter::ne(name, value.clone()),
            Self::OneOf(name, values) => Filter::one_of(name, values.clone()),
            Self::Range(name, from, to) => Filter::range(name, (bound(from), bound(to))),
            Self::Exists(name) => Filter::exists(name),
            Self::Contains(name, text) => Filter::contains(name, text),
            Self::All(plans) => Filter::all(plans.iter().map(Self::build)),
            Self::Any(plans) => Filter::any(plans.iter().map(Self::build)),
            Self::Not(plan) => plan.build().not(),
            Self::And(left, right) => left.build().and(right.build()),
            Self::Or(left, right) => left.build().or(right.build()),
        }
    }

    /// The answer in the plainest way: every field is looked at, every part is evaluated.
    fn naive(&self, fields: &[(String, MetadataValue)]) -> bool {
        let some = |name: &String, test: &dyn Fn(&MetadataValue) -> bool| {
            fields.iter().filter(|(field, value)| field == name && test(value)).count() == 1
        };
        match self {
            Self::Eq(name, asked) => some(name, &|value| key(value) == key(asked)),
            Self::Ne(name, asked) => !some(name, &|value| key(value) == key(asked)),
            Self::OneOf(name, asked) => some(name, &|value| asked.iter().any(|asked| key(value) == key(asked))),
            Self::Range(name, from, to) => some(name, &|value| {
                [(from, true), (to, false)].iter().all(|(bound, below)| match bound {
                    None => true,
                    Some((included, bound)) => {
                        let (value, bound) = (key(value), key(bound));
                        let inside = if *below { bound.1 < value.1 } else { value.1 < bound.1 };
                        bound.0 == value.0 && (inside || (*included && value == bound))
                    }
                })
            }),
            Self::Exists(name) => some(name, &|_| true),
            Self::Contains(name, text) => some(name, &|value| match value {
                MetadataValue::Text(value) => {
                    (0..=value.len()).any(|at| value.as_bytes()[at..].starts_with(text.as_bytes()))
                }
                _ => false,
            }),
            Self::All(plans) => plans.iter().filter(|plan| !plan.naive(fields)).count() == 0,
            Self::Any(plans) => plans.iter().filter(|plan| plan.naive(fields)).count() > 0,
            Self::Not(plan) => !plan.naive(fields),
            Self::And(left, right) => left.naive(fields) & right.naive(fields),
            Self::Or(left, right) => left.naive(fields) | right.naive(fields),
        }
    }
}

/// Type and bytes, ordered as the values of the type are.
fn key(value: &MetadataValue) -> (u8, Vec<u8>) {
    match value {
        MetadataValue::Bool(value) => (0, vec![u8::from(*value)]),
        MetadataValue::Integer(value) => (1, (i128::from(*value) + (1 << 64)).to_be_bytes().to_vec()),
        MetadataValue::Float(value) => {
            // Adding 0.0 makes one zero of two.
            let bits = (value + 0.0).to_bits();
            (2, if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }.to_be_bytes().to_vec())
        }
        MetadataValue::Text(value) => (3, value.clone().into_bytes()),
        MetadataValue::Time(value) => (4, value.as_micros().to_be_bytes().to_vec()),
    }
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[abc]", 1 => ".{1,16}"]
}

/// Mostly from few values, so that filters and fields meet.
fn any_value() -> impl Strategy<Value = MetadataValue> {
    prop_oneof![
        any::<bool>().prop_map(MetadataValue::Bool),
        prop_oneof![3 => -2..3_i64, 1 => any::<i64>()].prop_map(MetadataValue::Integer),
        prop_oneof![
            3 => proptest::sample::select(vec![-1.5, -0.0, 0.0, 1.0, 2.5]),
            1 => any::<f64>().prop_filter("finite", |number| number.is_finite()),
        ]
        .prop_map(MetadataValue::Float),
        prop_oneof![3 => "[01é]{0,3}", 1 => ".{0,12}"].prop_map(MetadataValue::Text),
        prop_oneof![3 => 0..4_u64, 1 => any::<u64>()].prop_map(|time| Timestamp::from_micros(time).into()),
    ]
}

fn any_range() -> impl Strategy<Value = Plan> {
    let bound = || (any::<bool>(), any_value());
    let pair = (any_name(), bound(), bound(), 0..3_u8);
    pair.prop_map(|(name, from, to, kind)| match kind {
        0 => Plan::Range(name, Some(from), None),
        1 => Plan::Range(name, None, Some(to)),
        _ if key(&from.1).0 == key(&to.1).0 => Plan::Range(name, Some(from), Some(to)),
        _ => Plan::Range(name, Some(from.clone()), Some((to.0, from.1))),
    })
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let leaf = prop_oneof![
        (any_name(), any_value()).prop_map(|(name, value)| Plan::Eq(name, value)),
        (any_name(), any_value()).prop_map(|(name, value)| Plan::Ne(name, value)),
        (any_name(), prop::collection::vec(any_value(), 0..6)).prop_map(|(name, list)| Plan::OneOf(name, list)),
        any_range(),
        any_range(),
        any_name().prop_map(Plan::Exists),
        (any_name(), "[01é]{0,2}").prop_map(|(name, text)| Plan::Contains(name, text)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..4);
        let one = || inner.clone().prop_map(Box::new);
        prop_oneof![
            list().prop_map(Plan::All),
            list().prop_map(Plan::Any),
            one().prop_map(Plan::Not),
            (one(), one()).prop_map(|(left, right)| Plan::And(left, right)),
            (one(), one()).prop_map(|(left, right)| Plan::Or(left, right)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_naive_evaluator(
        plan in any_plan(),
        rows in prop::collection::vec(prop::collection::btree_map(any_name(), any_value(), 0..4), 1..6),
    ) {
        let filter = plan.build();
        prop_assert!(filter.check().is_ok());
        for fields in rows {
            let listed: Vec<_> = fields.clone().into_iter().collect();
            prop_assert_eq!(filter.matches(&fields), plan.naive(&listed), "{:?}", fields);
        }
    }

    #[test]
    fn reads_what_it_writes(plan in any_plan()) {
        let filter = plan.build();
        let json = serde_json::to_string(&filter).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Filter>(&json).unwrap(), &filter);
        let value = serde_json::to_value(&filter).unwrap();
        prop_assert_eq!(&serde_json::from_value::<Filter>(value).unwrap(), &filter);
        let bytes = postcard::to_stdvec(&filter).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<Filter>(&bytes).unwrap(), &filter);
    }
}
