use expect_test::expect;

use super::*;

fn wrong<T: FromStr<Err = Illegal> + std::fmt::Debug>(texts: &[&str]) -> String {
    let messages = texts.iter().map(|text| T::from_str(text).unwrap_err().to_string() + "\n");
    messages.collect()
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
        `nonsense` has no port; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `10.0.0.1` has no port; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `10.0.0.1:0` has no port from 1 to 65535; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `10.0.0.1:70000` has no port from 1 to 65535; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `10.0.0.1:+80` has no port from 1 to 65535; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `:80` has no host; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `http://10.0.0.1:80/` is a URL; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080, without `http://`; did you mean `10.0.0.1:80`?
        `::1` has no port; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080; did you mean `[::1]:80`?
        `::1:80x` has no port from 1 to 65535; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `[::1]` has no port from 1 to 65535; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `[nonsense]:80` has no IPv6 address in its brackets; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `a:b:80` holds more than one colon (an IPv6 address needs brackets); legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `256.1.1.1:80` has no legal host; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
        `sh op:80` has no legal host; legal is host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080
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
        `*` is every host; leave `hosts` out for that, or write one like *.example.com
        `a*.example.com` is no host name; a wildcard is the whole first label of a name, like *.example.com; did you mean `*.example.com`?
        `a.*.example.com` is no host name; a wildcard is the whole first label of a name, like *.example.com; did you mean `*.example.com`?
        `**.example.com` is no host name; a wildcard is the whole first label of a name, like *.example.com; did you mean `*.example.com`?
        `*.10.0.0.1` is no host name; a wildcard is the whole first label of a name, like *.example.com
        `*.` is no host name; a wildcard is the whole first label of a name, like *.example.com
        `shop.example.com:80` is no host name; legal is a host name, like shop.example.com or *.example.com, without scheme, port or path; did you mean `shop.example.com`?
        `https://shop.example.com/x` is no host name; legal is a host name, like shop.example.com or *.example.com, without scheme, port or path; did you mean `shop.example.com`?
        `bücher.example` is not ASCII; legal is a host name, like shop.example.com or *.example.com; write an international name as xn--...
        `a..b` is no host name; legal is a host name, like shop.example.com or *.example.com, without scheme, port or path
    "#]]
    .assert_eq(&wrong::<HostName>(&[
        "*",
        "a*.example.com",
        "a.*.example.com",
        "**.example.com",
        "*.10.0.0.1",
        "*.",
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
    for (written, plain) in [
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/%61dmin/%2d%2E%5f%7e", "/admin/-._~"),
        ("/100%/%zz", "/100%/%zz"),
        ("/a%2fb%2", "/a%2Fb%2"),
    ] {
        assert_eq!(written.parse::<PathPrefix>().unwrap().as_str(), plain);
    }
    assert!("/a/%2e%2E/b".parse::<PathPrefix>().is_err(), "a step to another place");
}

#[test]
fn a_trailing_slash_and_upper_case_do_not_make_another_route() {
    assert_eq!("/shop/".parse::<PathPrefix>().unwrap().as_str(), "/shop");
    assert_eq!("Shop.Example.COM".parse::<HostName>().unwrap().as_str(), "shop.example.com");
}
