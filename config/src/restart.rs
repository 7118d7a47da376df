//! What a reload cannot change.

use crate::model::Configuration;

impl Configuration {
    /// What is different in `new` and takes a restart, a sentence each; empty where a reload changes everything.
    #[must_use]
    pub fn restart_needed(&self, new: &Self) -> Vec<String> {
        let changes = [
            ("the listeners", self.listening(), new.listening()),
            ("the admin address", self.admin.address.to_string(), new.admin.address.to_string()),
            ("the state directory", self.state.display().to_string(), new.state.display().to_string()),
        ];
        let changed = changes.into_iter().filter(|(_, old, new)| old != new);
        changed.map(|(what, old, new)| format!("{what} changed from {old} to {new}, which takes a restart")).collect()
    }

    /// The addresses of the listeners, whatever their order in the file.
    fn listening(&self) -> String {
        let mut addresses: Vec<_> = self.listeners.iter().map(|listener| &listener.address).collect();
        addresses.sort_unstable();
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        addresses.join(" and ")
    }
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
}
