//! Chromium, as it comes from its distribution, in front of the executable.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::authority::Authority;
use crate::edge::{address, head, listener};
use crate::page::PageOrigin;
use crate::patience::{LONG, found_within, until};
use crate::process::Process;
use crate::shop::Place;

/// Where distributions put it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser without a window, which takes `shop.test` for these addresses, and the certificate with this key for a
/// good one.
fn browser(profile: &Path, pin: &str, http: SocketAddr, https: SocketAddr, page: &str) -> Process {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let installed = |name: &str| std::env::split_paths(&search).any(|folder| folder.join(name).is_file());
    let name = NAMES.into_iter().find(|name| installed(name));
    let name = name.expect("Chromium is installed (apt-get install --no-install-recommends chromium)");
    let mut command = Command::new(name);
    command
        // Its sandbox is not to be had by root, nor in most containers.
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        // Nothing that it does by itself, in the background, is part of the story.
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--ignore-certificate-errors-spki-list={pin}"))
        .arg(format!("--host-resolver-rules=MAP shop.test:80 {http}, MAP shop.test:443 {https}"))
        .arg(page);
    Process::start(command)
}

fn lines(file: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    let whole = text.lines().take(text.matches('\n').count());
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn chromium_is_sent_to_https_and_loads_a_page_with_all_that_belongs_to_it_over_http2_from_one_version() {
    let (v1, v2, place) = (PageOrigin::start("v1"), PageOrigin::start("v2"), Place::new());
    let ca = Authority::new(&place);
    ca.write("shop", &["shop.test"]);
    let log = place.file().with_file_name("access.log");
    let listeners = ["{ address: '127.0.0.1:0', redirect: https }".to_owned(), listener(&[ca.certificate("shop")], "")];
    place.write(&format!(
        "access_log: {{ to: '{}' }}\n{}  shop:\n    affinity: {{ cookie: tidegate, issue: true }}\n    stable: v1\n    \
         canary: v2\n    weight: 50%\n    versions:\n      v1: {{ endpoints: ['{}'] }}\n      v2: {{ endpoints: ['{}'] }}\n",
        log.display(),
        head(&place, &listeners),
        v1.address(),
        v2.address()
    ));
    let server = place.serve();
    let profile = place.file().with_file_name("profile");
    let chromium = browser(&profile, &ca.pin("shop"), address(&server, 1), address(&server, 2), "http://shop.test/");

    // A browser takes its time to begin, the more so beside other tests.
    let report = found_within(3 * LONG, || v1.report().or_else(|| v2.report())).expect("the page reports");
    // The tunnel's line is written when it ends.
    let lines = until("a line for everything that the page asked for", || {
        let lines = lines(&log);
        let logged = |path: &str| lines.iter().any(|line| line["url.path"] == path);
        ["/report", "/socket", "/events"].into_iter().all(logged).then_some(lines)
    });
    chromium.kill();

    assert_eq!(report["at"], "https://shop.test/", "{report:#}");
    let version = report["uploaded"]["version"].as_str().unwrap();
    assert_eq!(report["uploaded"]["received"], "300000");
    assert_eq!(report["echoed"], format!("{version}: hello"));
    assert_eq!(report["told"], "the tide turns");
    assert_eq!(report["cookie"], "", "our cookie is for no script");
    // What the browser says of it.
    let protocols = report["protocols"].as_array().unwrap();
    let by_http2 = |path: &str| protocols.iter().any(|entry| entry[0] == path && entry[1] == "h2");
    for path in ["/", "/style.css", "/script.js", "/1.svg", "/2.svg", "/3.svg", "/4.svg", "/ground.svg", "/upload"] {
        assert!(by_http2(path), "{path}: {protocols:?}");
    }
    // What we say of it. A WebSocket is a connection of its own.
    for line in lines.iter().filter(|line| line["tls.version"].is_string()) {
        let is_socket = line["url.path"] == "/socket";
        assert_eq!(line["http.version"], if is_socket { "1.1" } else { "2" }, "{line}");
        assert_eq!(line["tidegate.class"], if is_socket { "upgrade" } else { "2xx" }, "{line}");
        assert_eq!((&line["tls.version"], &line["tidegate.version"]), (&"1.3".into(), &version.into()), "{line}");
    }
    server.stop();
}
