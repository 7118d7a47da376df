use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::model::{AddressRange, Endpoint, HostName, ListenAddress, PathPrefix};

fn wrong<T: FromStr<Err = Illegal> + std::fmt::Debug>(texts: &[&str]) -> String {
    let messages = texts.iter().map(|text| T::from_str(text).unwrap_err().to_string() + "\n");
    messages.collect()
}

proptest! {
    #[test]
    fn a_weight_of_any_basis_points_reads_as_it_is_written(basis_points in 0_u16..=10_000) {
        let weight = Weight::from_basis_points(basis_points).unwrap();
        prop_assert_eq!(weight.to_string().parse::<Weight>(), Ok(weight));
        let padded = format!("{}.{:02}%", basis_points / 100, basis_points % 100);
        prop_assert_eq!(padded.parse::<Weight>(), Ok(weight));
    }

    #[test]
    fn a_weight_finer_than_a_basis_point_is_refused(basis_points in 0_u16..10_000, finer in 1_u16..100) {
        let text = format!("{}.{:02}{:02}%", basis_points / 100, basis_points % 100, finer);
        prop_assert!(text.parse::<Weight>().is_err());
    }

    #[test]
    fn a_quantile_reads_as_it_is_written(hundredths in 100_u32..=9_999) {
        let text = format!("p{}", f64::from(hundredths) / 100.0);
        prop_assert_eq!(text.parse::<Quantile>().unwrap().to_string(), text);
    }

    #[test]
    fn percentages_of_requests_and_of_latency_read_as_they_are_written(millionths in 0_u32..=1_000_000) {
        let fraction = f64::from(millionths) / 1e6;
        let written = Fraction::new(fraction).unwrap().to_string();
        prop_assert_eq!(written.parse::<Fraction>().map(Fraction::get), Ok(fraction));
        let written = Stretch::new(fraction * 64.0).unwrap().to_string();
        prop_assert_eq!(written.parse::<Stretch>().map(Stretch::get), Ok(fraction * 64.0));
    }

    #[test]
    fn a_duration_is_the_sum_of_its_parts(h in 0_u64..100, m in 0_u64..100, s in 0_u64..100, ms in 0_u64..5000) {
        let total = Duration::from_millis(((h * 60 + m) * 60 + s) * 1000 + ms);
        prop_assert_eq!(duration(&format!("{h}h{m}m{s}s{ms}ms")), Ok(total));
        prop_assert_eq!(duration(&spelt(total)), Ok(total));
    }

    #[test]
    fn no_text_makes_a_literal_panic(text in "\\PC{0,40}|[0-9.:%pmsh/\\[\\]*@-]{0,20}") {
        drop((text.parse::<Weight>(), text.parse::<Fraction>(), text.parse::<Alpha>(), text.parse::<Quantile>()));
        drop((text.parse::<Beta>(), text.parse::<Stretch>()));
        if let Some(path) = PathPrefix::new(&text) {
            prop_assert_eq!(PathPrefix::new(path.as_str()), Some(path));
        }
        drop((duration(&text), address(&text), text.parse::<HostName>(), text.parse::<PathPrefix>()));
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
        }
        if let Ok(address) = text.parse::<ListenAddress>() {
            prop_assert_eq!(address.to_string().parse::<ListenAddress>(), Ok(address));
        }
        if let Ok(range) = text.parse::<AddressRange>() {
            prop_assert_eq!(range.to_string().parse::<AddressRange>(), Ok(range));
        }
        if let Ok(bytes) = text.parse::<Bytes>() {
            prop_assert_eq!(bytes.to_string().parse::<Bytes>(), Ok(bytes));
        }
    }
}

#[test]
fn percentages_are_the_nearest_number_to_what_is_written() {
    assert_eq!("0.1%".parse::<Fraction>().map(Fraction::get), Ok(0.001));
    assert_eq!("0.05%".parse::<Fraction>().map(Fraction::get), Ok(0.0005));
    assert_eq!("1%".parse::<Alpha>().map(Alpha::get), Ok(0.01));
    assert_eq!("2.5%".parse::<Beta>().map(Beta::get), Ok(0.025));
    assert_eq!("5%".parse::<Stretch>().map(Stretch::get), Ok(0.05));
    assert_eq!("10000%".parse::<Stretch>().map(Stretch::get), Ok(100.0));
    assert_eq!("p99.9".parse::<Quantile>().map(Quantile::get), Ok(0.999));
}

#[test]
fn percentages_that_are_none_are_refused_with_what_is_legal() {
    let all = wrong::<Alpha>(&["0%", "50.1%", "1"]) + &wrong::<Beta>(&["0%", "100%", "5 %"]);
    expect![[r#"
        `0%` is out of range; legal is 0.0001% to 50%
        `50.1%` is out of range; legal is 0.0001% to 50%
        `1` has no %; a percentage is written like 1%; did you mean `1%`?
        `0%` is out of range; legal is 0.0001% to 50%
        `100%` is out of range; legal is 0.0001% to 50%
        `5 %` is not a percentage; legal is 0.0001% to 50%, like 5%; did you mean `5%`?
        `10001%` is out of range; legal is 0% to 10000%
        `-5%` is not a percentage; legal is 0% to 10000%, like 10%
        `1.1` has no %; a percentage is written like 10%; did you mean `1.1%`?
        `NaN%` is not a percentage; legal is 0% to 10000%, like 10%
        `inf` is not a percentage; legal is 0% to 10000%, like 10%
    "#]]
    .assert_eq(&(all + &wrong::<Stretch>(&["10001%", "-5%", "1.1", "NaN%", "inf"])));
}

#[test]
fn percentages_are_shown_as_people_write_them() {
    let fractions = [0.0, 0.07, 0.001, 0.29, 1.0, 1e-12, f64::MIN_POSITIVE].map(|value| Fraction::new(value).unwrap());
    let shown: Vec<String> = fractions[..6].iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["0%", "7%", "0.1%", "29%", "100%", "0.0000000001%"]);
    assert_ne!(fractions[6].to_string(), "0%");
    assert_eq!(Stretch::new(0.07).unwrap().to_string(), "7%");
}

#[test]
fn weights_that_are_none_are_refused_with_what_is_legal() {
    expect![[r#"
        `10` has no %; a weight is written like 10%; did you mean `10%`?
        `0.1` has no %; a weight is written like 10%; did you mean `10%` or `0.1%`?
        `10 %` is not a weight; legal is 0% to 100% in steps of 0.01%, like 10%; did you mean `10%`?
        `-1%` is not a weight; legal is 0% to 100% in steps of 0.01%, like 10%
        `ten` is not a weight; legal is 0% to 100% in steps of 0.01%, like 10%
        `0.005%` is finer than 0.01%; legal is 0% to 100% in steps of 0.01%
        `101%` is more than everything; legal is 0% to 100% in steps of 0.01%
        `700000%` is more than everything; legal is 0% to 100% in steps of 0.01%
    "#]]
    .assert_eq(&wrong::<Weight>(&["10", "0.1", "10 %", "-1%", "ten", "0.005%", "101%", "700000%"]));
}

#[test]
fn durations_that_are_none_are_refused_with_what_is_legal() {
    let wrong: String =
        ["10", "", "5", "1.5h", "10 s", "30m1h", "1h1h", "m", "5d", "9000h", "99999999999999999999s", "-5s"]
            .iter()
            .map(|text| duration(text).unwrap_err().to_string() + "\n")
            .collect();
    expect![[r#"
        `10` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `10s`?
        `` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
        `5` has no unit; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m; did you mean `5s`?
        `1.5h` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
        `10 s` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
        `30m1h` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
        `1h1h` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
        `m` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
        `5d` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
        `9000h` is longer than a year; legal is at most 8784h
        `99999999999999999999s` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
        `-5s` is not a time; legal is whole numbers with units, like 500ms, 10s, 5m, 1h30m
    "#]]
    .assert_eq(&wrong);
    assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
}
