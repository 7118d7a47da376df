use clap::error::ErrorKind;
use config::Weight;

use super::*;

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_consistent() {
    Cli::asked_for().debug_assert();
}

#[test]
fn the_address_of_a_running_server_is_refused_where_none_is_asked() {
    let read = |line: &str| Cli::read_from(line.split_whitespace().map(OsString::from), None);
    for line in ["tidegate run -c a.yaml --admin 127.0.0.1:1", "tidegate --admin 127.0.0.1:1 check -c a.yaml"] {
        let error = read(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains("--admin-address"), "{error}");
    }
    for line in ["tidegate status --admin 127.0.0.1:1", "tidegate --admin 127.0.0.1:1 reload", "tidegate run -c a.yaml"]
    {
        assert!(read(line).is_ok(), "{line}");
    }
}

#[test]
fn the_environment_names_a_server_for_those_alone_who_ask_one() {
    let read = |line: &str, admin: &str| {
        Cli::read_from(line.split_whitespace().map(OsString::from), Some(admin.into())).map(|cli| cli.server.url())
    };
    assert_eq!(read("tidegate status", "10.0.0.1:99").unwrap().as_str(), "http://10.0.0.1:99");
    assert_eq!(read("tidegate status --admin 10.0.0.2:98", "nonsense").unwrap().as_str(), "http://10.0.0.2:98");
    assert_eq!(read("tidegate status", "").unwrap(), AdminUrl::default());
    let error = read("tidegate status", "nonsense").unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("TIDEGATE_ADMIN: the port is missing"), "{error}");
    for line in ["tidegate run -c a.yaml", "tidegate check -c a.yaml", "tidegate replay a.jsonl"] {
        assert_eq!(read(line, "nonsense").unwrap(), AdminUrl::default(), "{line}");
    }
}

#[test]
fn commands_that_ask_no_server_do_not_offer_its_address() {
    let help = |line: &str| Cli::read_from(line.split_whitespace().map(OsString::from), None).unwrap_err().to_string();
    for command in ["run", "check", "demo", "replay", "schema"] {
        let help = help(&format!("tidegate {command} --help"));
        assert!(!help.contains("--admin <URL>"), "{help}");
    }
    assert!(help("tidegate status --help").contains("--admin <URL>"));
    assert!(help("tidegate rollout start --help").contains("--admin <URL>"));
}

#[test]
fn every_command_of_the_documentation_is_taken() {
    for line in [
        "tidegate run -c a.yaml",
        "tidegate run --stable 127.0.0.1:1 --canary 127.0.0.1:2 --weight 10% --listen 127.0.0.1:3 --state d --admin-address 127.0.0.1:4",
        "tidegate check -c a.yaml --strict",
        "tidegate check -c a.yaml --explain",
        "tidegate demo --once",
        "tidegate status",
        "tidegate status shop --json --admin http://127.0.0.1:1",
        "tidegate --admin 127.0.0.1:1 status",
        "tidegate rollout start shop --canary v2 --plan slow --wait --timeout 30m --reason why --json",
        "tidegate rollout status shop",
        "tidegate rollout watch shop --timeout 5s",
        "tidegate rollout pause shop --reason why --json",
        "tidegate rollout resume shop",
        "tidegate rollout approve shop",
        "tidegate rollout skip shop",
        "tidegate rollout promote shop",
        "tidegate rollout abort shop",
        "tidegate rollout retry shop",
        "tidegate rollout undo shop",
        "tidegate weight shop 10%",
        "tidegate weight shop v2=0.25% --reason why --if-generation 41",
        "tidegate reload",
        "tidegate replay record.jsonl --gates other.yaml --json",
        "tidegate replay -",
        "tidegate schema",
        "tidegate completion bash",
        "tidegate healthcheck",
    ] {
        if let Err(error) = parsed(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_does_not_fit_together_is_a_usage_error() {
    for line in [
        "tidegate run",
        "tidegate run --canary 127.0.0.1:2",
        "tidegate run -c a.yaml --stable 127.0.0.1:1",
        "tidegate run -c a.yaml --weight 10%",
        "tidegate rollout start shop",
        "tidegate rollout start shop --canary v2 --timeout 30m",
        "tidegate rollout start shop --canary v2 --wait --timeout 30",
        "tidegate rollout start -shop --canary v2",
        "tidegate weight shop 10",
        "tidegate weight shop 101%",
        "tidegate weight shop v2=",
        "tidegate weight shop =10%",
        "tidegate status shop --admin https://127.0.0.1:1",
        "tidegate status shop --admin 127.0.0.1",
        "tidegate nonsense",
    ] {
        match parsed(line) {
            Err(error) => assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}"),
            Ok(cli) => panic!("{line} is taken as {cli:?}"),
        }
    }
}

#[test]
fn a_weight_may_name_its_version() {
    let weight = |points| Weight::from_basis_points(points).unwrap();
    let of = |text: &str| text.parse::<TargetWeight>().unwrap();
    assert_eq!(of("10%"), TargetWeight { version: None, weight: weight(1_000) });
    assert_eq!(of("v2=0.25%"), TargetWeight { version: Name::new("v2"), weight: weight(25) });
}

#[test]
fn an_admin_url_is_made_whole_and_nothing_else_is_taken() {
    for (text, whole) in [
        ("http://127.0.0.1:9900", "http://127.0.0.1:9900"),
        ("http://127.0.0.1:9900/", "http://127.0.0.1:9900"),
        ("localhost:9900", "http://localhost:9900"),
        ("[::1]:9900", "http://[::1]:9900"),
    ] {
        assert_eq!(text.parse::<AdminUrl>().unwrap().as_str(), whole);
    }
    for text in
        ["", "http://", "http://a", "a:0", "a:99999", "a:1/path", "http://user@a:1", "ftp://a:1", "[::1]", "a b:1"]
    {
        assert!(text.parse::<AdminUrl>().is_err(), "{text}");
    }
}

#[test]
fn a_completion_script_knows_the_commands() {
    let mut script = Vec::new();
    completion(Shell::Bash, &mut script).unwrap();
    let script = String::from_utf8(script).unwrap();
    assert!(script.contains("healthcheck") && script.contains("--if-generation"));
}

#[test]
fn help_is_help_and_tells_the_exit_codes() {
    let help = parsed("tidegate --help").unwrap_err();
    assert_eq!(help.kind(), ErrorKind::DisplayHelp);
    assert!(help.to_string().contains("10   rolled back by the gates"));
}
