//! Where a request belongs: as the data path counts it by itself.

use meter::{Class, GROUPS, GroupCounts, Window};

/// One request, as far as groups are concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// The place of its instance in its version.
    pub(crate) pod: usize,
    /// The group of its client, below [`GROUPS`].
    pub(crate) client: usize,
    /// Whether the version was drawn by the client's affinity key, and not at random.
    pub(crate) keyed: bool,
}

impl Request {
    /// The counts of the groups that it is in.
    pub(crate) fn groups<'a>(&self, window: &'a mut Window) -> impl Iterator<Item = &'a mut GroupCounts> {
        window.clients.seen |= 1 << self.client;
        let by_key = self.keyed.then_some(&mut window.groups[self.client]);
        [Some(&mut window.endpoints[self.pod % GROUPS]), by_key].into_iter().flatten()
    }

    /// It failed.
    pub(crate) fn fail(&self, window: &mut Window) {
        window.judged[Class::ServerError as usize] += 1;
        window.clients.bad |= 1 << self.client;
        self.groups(window).for_each(|group| {
            group.requests += 1;
            group.bad += 1;
        });
    }
}
