use meter::LATENCY_BUCKETS;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn numbers_are_written_as_everybody_writes_them(value: u64) {
        let mut out = Vec::new();
        number(&mut out, value);
        prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }

    #[test]
    fn latencies_are_written_as_everybody_writes_them(
        held in prop::collection::btree_map(0..LATENCY_BUCKETS, prop_oneof![1u64..20, any::<u64>()], 1..200),
    ) {
        let mut counts = LatencyCounts::default();
        held.iter().for_each(|(bucket, count)| counts.add(*bucket, (*count).max(1)));
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        latency(&mut object, "latency", &counts);
        object.end();
        let expected: Vec<(usize, u64)> = counts.iter().collect();
        prop_assert_eq!(out, serde_json::to_vec(&serde_json::json!({ "latency": expected })).unwrap());
    }

    #[test]
    fn a_list_is_written_as_everybody_writes_it(
        tuples in prop::collection::vec(prop::collection::vec(any::<u64>(), 1..=List::MOST), 0..5),
    ) {
        let (mut out, mut list) = (Vec::new(), List::begin());
        tuples.iter().for_each(|tuple| list.tuple(&mut out, tuple));
        list.end(&mut out);
        prop_assert_eq!(out, serde_json::to_vec(&tuples).unwrap());
    }
}
