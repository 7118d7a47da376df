//! What a reload cannot change.

use crate::model::{Configuration, ListenAddress, Listener};

impl Configuration {
    /// What is different in `new` and takes a restart, a sentence each; empty where a reload changes everything.
    #[must_use]
    pub fn restart_needed(&self, new: &Self) -> Vec<String> {
        let changes = [
            ("the admin address", self.admin.address.to_string(), new.admin.address.to_string()),
            ("the state directory", self.state.display().to_string(), new.state.display().to_string()),
        ];
        let changed = changes.into_iter().filter(|(_, old, new)| old != new);
        let moved = changed.map(|(what, old, new)| moved(what, &old, &new));
        listening(&self.by_address(), &new.by_address()).into_iter().chain(moved).collect()
    }

    /// The listeners, whatever their order in the file; those of one address keep it.
    fn by_address(&self) -> Vec<&Listener> {
        let mut listeners: Vec<_> = self.listeners.iter().collect();
        listeners.sort_by_key(|listener| &listener.address);
        listeners
    }
}

fn moved(what: &str, old: &str, new: &str) -> String {
    format!("{what} changed from {old} to {new}, which takes a restart")
}

/// What is different about the listeners. Where their addresses are, nothing more need be said.
fn listening(old: &[&Listener], new: &[&Listener]) -> Vec<String> {
    let addresses = |listeners: &[&Listener]| -> Vec<ListenAddress> {
        listeners.iter().map(|listener| listener.address.clone()).collect()
    };
    let shown = |listeners: &[&Listener]| {
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.address.to_string()).collect();
        addresses.join(" and ")
    };
    if addresses(old) != addresses(new) {
        return vec![moved("the listeners", &shown(old), &shown(new))];
    }
    old.iter().zip(new).flat_map(|(old, new)| differences(old, new)).collect()
}

/// What is different about one listener but its address. Files that its TLS names are read again when they change, so
/// only other files are a difference.
fn differences(old: &Listener, new: &Listener) -> impl Iterator<Item = String> {
    let Listener { address, tls, proxy_protocol, redirect } = new;
    let differences = [
        ("`tls`", old.tls != *tls),
        ("`proxy_protocol`", old.proxy_protocol != *proxy_protocol),
        ("`redirect`", old.redirect != *redirect),
    ];
    let changed = differences.into_iter().filter(|(_, changed)| *changed);
    changed.map(move |(key, _)| format!("{key} of the listener {address} changed, which takes a restart"))
}

#[cfg(test)]
mod tests {
    use crate::parse;

    fn restart_needed(old: &str, new: &str) -> Vec<String> {
        let services = "services: { shop: { versions: { v1: { endpoints: ['a:80'] } } } }";
        let read = |top: &str| parse(&format!("{top}\n{services}"), "f").unwrap().configuration;
        read(old).restart_needed(&read(new))
    }

    #[test]
    fn a_changed_address_or_state_directory_takes_a_restart() {
        let new = "listeners: [{ address: '0.0.0.0:80' }, { address: '[::]:80' }]\nadmin: { address: '127.0.0.1:1' }\nstate: /x";
        assert_eq!(
            restart_needed("", new),
            [
                "the listeners changed from 0.0.0.0:8080 to 0.0.0.0:80 and [::]:80, which takes a restart",
                "the admin address changed from 127.0.0.1:9900 to 127.0.0.1:1, which takes a restart",
                "the state directory changed from ./tidegate-state to /x, which takes a restart",
            ]
        );
    }

    #[test]
    fn the_same_said_in_other_words_takes_none() {
        let old = "listeners: [{ address: '0.0.0.0:80' }, { address: '[::]:80' }]";
        let new =
            "listeners: [{ address: '[::]:80' }, { address: '0.0.0.0:80' }]\nadmin: { address: '127.0.0.1:9900' }";
        assert_eq!(restart_needed(old, new), Vec::<String>::new());
    }

    #[test]
    fn what_a_listener_speaks_takes_a_restart_and_says_which_listener() {
        let old = "listeners: [{ address: '0.0.0.0:80', redirect: https }, { address: 'unix:/run/t' }, { address: '0.0.0.0:443', tls: { certificates: [{ cert: a, key: b }] } }]";
        let new = "listeners: [{ address: '0.0.0.0:443', tls: { certificates: [{ cert: a, key: c }] }, proxy_protocol: [10.0.0.0/8] }, { address: '0.0.0.0:80' }, { address: 'unix:/run/t' }]";
        assert_eq!(
            restart_needed(old, new),
            [
                "`redirect` of the listener 0.0.0.0:80 changed, which takes a restart",
                "`tls` of the listener 0.0.0.0:443 changed, which takes a restart",
                "`proxy_protocol` of the listener 0.0.0.0:443 changed, which takes a restart",
            ]
        );
        assert_eq!(restart_needed(old, old), Vec::<String>::new());
    }

    #[test]
    fn rules_for_all_traffic_take_none() {
        let new = "timeouts: { head: 1s }\nlimits: { connections: 1 }\nrequests: { underscores: pass }\ntrusted: [10.0.0.1]\naccess_log: { to: stdout }\ndrain: { grace: 0s }";
        assert_eq!(restart_needed("", new), Vec::<String>::new());
    }
}
