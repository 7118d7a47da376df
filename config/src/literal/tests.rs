use expect_test::expect;
use proptest::prelude::*;

use super::*;

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
fn a_path_is_within_another_by_whole_segments() {
    let within = |one: &str, other: &str| PathPrefix::new(one).unwrap().is_within(&PathPrefix::new(other).unwrap());
    for (one, other) in [("/shop", "/"), ("/shop/cart", "/shop"), ("/shop", "/shop"), ("/shop/", "/shop"), ("/", "/")] {
        assert!(within(one, other), "{one} in {other}");
    }
    for (one, other) in [("/", "/shop"), ("/shopping", "/shop"), ("/shop", "/shop/cart"), ("/cart", "/shop")] {
        assert!(!within(one, other), "{one} in {other}");
    }
    assert_eq!(PathPrefix::new("shop"), None);
}

#[test]
fn weights_that_are_none_are_refused_with_what_is_legal() {
    expect![[r#"
        `10` has no %; a weight is written like 10%; did you mean `10%`?
        `0.1` has no %; a weight is written like 10%; did you mean `0.1%`?
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

#[test]
fn endpoints_that_are_none_are_refused_with_what_is_legal() {
    let texts = [
        "nonsense",
        "10.0.0.1",
        "10.0.0.1:0",
        "10.0.0.1:70000",
        "10.0.0.1:+80",
        ":80",
        "http://10.0.0.1:80/",
        "::1",
        "::1:80x",
        "[::1]",
        "[nonsense]:80",
        "a:b:80",
        "256.1.1.1:80",
        "sh op:80",
    ];
    expect![[r#"
        `nonsense` has no port; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `10.0.0.1` has no port; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `10.0.0.1:0` has no port from 1 to 65535; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `10.0.0.1:70000` has no port from 1 to 65535; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `10.0.0.1:+80` has no port from 1 to 65535; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `:80` has no host; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `http://10.0.0.1:80/` is a URL; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080, without `http://`; did you mean `10.0.0.1:80`?
        `::1` has no port; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080; did you mean `[::1]:80`?
        `::1:80x` has no port from 1 to 65535; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `[::1]` has no port from 1 to 65535; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `[nonsense]:80` has no IPv6 address in its brackets; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `a:b:80` holds more than one colon (an IPv6 address needs brackets); legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `256.1.1.1:80` has no legal host; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `sh op:80` has no legal host; legal is host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
    "#]]
    .assert_eq(&wrong::<Endpoint>(&texts));
}

#[test]
fn an_endpoint_may_be_an_address_of_either_family_or_a_name() {
    for text in ["10.0.0.1:8080", "[::1]:1", "shop:65535", "my_shop.internal:80"] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
    }
}

#[test]
fn addresses_hosts_and_paths_that_are_none_are_refused_with_what_is_legal() {
    let addresses: String = ["8080", ":8080", "localhost:8080", "example.com:80", "0.0.0.0"]
        .iter()
        .map(|text| address(text).unwrap_err().to_string() + "\n")
        .collect();
    expect![[r#"
        `8080` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080; did you mean `0.0.0.0:8080`?
        `:8080` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080; did you mean `0.0.0.0:8080`?
        `localhost:8080` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080; did you mean `127.0.0.1:8080`?
        `example.com:80` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080
        `0.0.0.0` is no address to listen on; legal is IP:PORT, like 0.0.0.0:8080 or [::]:8080
    "#]]
    .assert_eq(&addresses);
    expect![[r#"
        `*.example.com` has a wildcard, which is known and not built yet; write each host exactly
        `shop.example.com:80` is no host name; legal is an exact host name, like shop.example.com, without scheme, port or path; did you mean `shop.example.com`?
        `https://shop.example.com/x` is no host name; legal is an exact host name, like shop.example.com, without scheme, port or path; did you mean `shop.example.com`?
        `bücher.example` is not ASCII; legal is an exact host name, like shop.example.com; write an international name as xn--...
        `a..b` is no host name; legal is an exact host name, like shop.example.com, without scheme, port or path
    "#]]
    .assert_eq(&wrong::<HostName>(&[
        "*.example.com",
        "shop.example.com:80",
        "https://shop.example.com/x",
        "bücher.example",
        "a..b",
    ]));
    expect![[r#"
        `checkout` does not begin with /; legal is a path of whole segments that begins with /, like /checkout; did you mean `/checkout`?
        `/a?b` holds a character that no path prefix may (space, ?, #, *, \, or beyond ASCII); legal is a path of whole segments that begins with /, like /checkout
        `/a/../b` holds an empty segment, . or ..; legal is a path of whole segments that begins with /, like /checkout
        `//` holds an empty segment, . or ..; legal is a path of whole segments that begins with /, like /checkout
    "#]]
    .assert_eq(&wrong::<PathPrefix>(&["checkout", "/a?b", "/a/../b", "//"]));
}

#[test]
fn a_trailing_slash_and_upper_case_do_not_make_another_route() {
    assert_eq!("/shop/".parse::<PathPrefix>().unwrap().as_str(), "/shop");
    assert_eq!("Shop.Example.COM".parse::<HostName>().unwrap().as_str(), "shop.example.com");
}
