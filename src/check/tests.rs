use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// A configuration in a directory of its own.
struct Place {
    directory: TempDir,
    file: PathBuf,
}

impl Place {
    fn with(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tidegate.yaml");
        fs::write(&file, configuration.replace("DIR", directory.path().to_str().unwrap())).unwrap();
        Self { directory, file }
    }

    /// How a check ends, and what it prints without the directory's name.
    fn check(&self, strict: bool, explain: bool) -> (Exit, String) {
        let mut out = Vec::new();
        let exit = check(&Check { config: self.file.clone(), strict, explain }, &mut out).unwrap();
        let said = String::from_utf8(out).unwrap();
        (exit, said.replace(self.directory.path().to_str().unwrap(), "DIR"))
    }
}

const SERVICES: &str = "services:\n  shop: { stable: v1, versions: { v1: { endpoints: ['127.0.0.1:1'] } } }\n";

#[test]
fn every_file_that_is_named_and_of_no_use_is_told_at_once_with_its_line() {
    let place = Place::with(
        "listeners:\n  - address: '127.0.0.1:0'\n    tls:\n      certificates: [{ cert: DIR/shop.pem, key: DIR/shop.key }]\n\
         access_log: { to: DIR/logs/access.log }\n\
         admin: { tokens: DIR/token }\n\
         services:\n  shop:\n    forced: { header: x, secret: DIR/secret }\n    versions:\n      \
         v1: { endpoints: ['https://a:1'], tls: { ca: DIR/ca.pem } }\n",
    );
    fs::write(place.directory.path().join("token"), "# none yet\n").unwrap();

    let (exit, said) = place.check(false, true);

    assert_eq!(exit, Exit::Failed);
    expect_test::expect![[r#"
        DIR/tidegate.yaml:4:22: listeners[0].tls.certificates[0]: cannot read DIR/shop.pem: there is no such file
        DIR/tidegate.yaml:5:13: access_log: cannot write to DIR/logs/access.log: there is no folder DIR/logs; create it, or choose another file
        DIR/tidegate.yaml:6:18: admin.tokens: DIR/token holds no token
        DIR/tidegate.yaml:9:34: services.shop.forced.secret: DIR/secret cannot be read: there is no such file
        DIR/tidegate.yaml:11:52: services.shop.versions.v1.tls.ca: cannot read DIR/ca.pem: there is no such file
        5 problems
    "#]]
    .assert_eq(&said);
    assert!(!place.directory.path().join("logs").exists());
}

#[test]
fn every_value_in_force_has_a_line_that_says_where_it_is_from() {
    let place = Place::with(&format!("timeouts:\n  head: 3s\nlimits: {{ body: 1MiB }}\n{SERVICES}"));

    let (exit, said) = place.check(false, true);

    assert_eq!(exit, Exit::Done);
    let words = |key: &str| {
        let line = said.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        words("timeouts.head"),
        "timeouts.head 3s line 2 (default 10s) A whole request head, from its first byte."
    );
    assert_eq!(words("timeouts.connect"), "timeouts.connect 2s default A connection to an endpoint, TLS included.");
    assert!(words("services.shop.body").starts_with("services.shop.body 1MiB as limits.body The most"), "{said}");
    assert!(said.ends_with("\n\nDIR/tidegate.yaml: good: 1 service with 1 version\n"), "{said}");
    // Without being asked it says nothing of them.
    assert_eq!(place.check(false, false).1, "DIR/tidegate.yaml: good: 1 service with 1 version\n");
}

#[test]
fn a_warning_fails_a_strict_check_alone() {
    let place = Place::with(&format!("trusted: ['0.0.0.0/0']\n{SERVICES}"));
    let (exit, said) = place.check(false, false);
    assert!(said.starts_with("warning: DIR/tidegate.yaml:1:11: trusted[0]: "), "{said}");
    assert!(said.contains("usable, with 1 warning"), "{said}");
    assert_eq!((exit, place.check(true, false).0), (Exit::Done, Exit::Failed));
}
