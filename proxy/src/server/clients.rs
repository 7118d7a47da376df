//! How many connections each client has, and requests on them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::connection::Asking;

/// Counts the open connections of each client address. It knows only clients that have one, so it is as large as there
/// are connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Clients(Arc<Mutex<HashMap<Client, Present>>>);

/// What a client has, while it has a connection.
#[derive(Debug, Default)]
struct Present {
    connections: u64,
    asking: Asking,
}

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address, which is what one customer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    V6(u64),
}

impl Client {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// A connection's place among those of its client; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    clients: Clients,
    client: Client,
    /// What its client asks for on all its connections.
    pub(super) asking: Asking,
}

impl Clients {
    /// A seat for another connection of this client, where it has fewer than `most`.
    pub(super) fn admit(&self, address: IpAddr, most: u64) -> Option<Seat> {
        let client = Client::of(address);
        let mut clients = self.0.lock();
        if clients.get(&client).map_or(0, |present| present.connections) >= most {
            return None;
        }
        let present = clients.entry(client).or_default();
        present.connections += 1;
        let asking = present.asking.clone();
        drop(clients);
        Some(Seat { clients: self.clone(), client, asking })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut clients = self.clients.0.lock();
        if let Some(present) = clients.get_mut(&self.client) {
            present.connections -= 1;
            if present.connections == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_gets_as_many_seats_as_there_are_and_one_again_for_each_that_it_gives_back() {
        let clients = Clients::default();
        let first = clients.admit(address("192.0.2.1"), 2);
        let second = clients.admit(address("::ffff:192.0.2.1"), 2);
        assert!(first.is_some() && second.is_some());
        assert!(clients.admit(address("192.0.2.1"), 2).is_none());
        assert!(clients.admit(address("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(clients.admit(address("192.0.2.1"), 2).is_some());
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_are_one_client() {
        let clients = Clients::default();
        let _seat = clients.admit(address("2001:db8:1:2::1"), 1).unwrap();
        assert!(clients.admit(address("2001:db8:1:2:ffff::9"), 1).is_none());
        assert!(clients.admit(address("2001:db8:1:3::1"), 1).is_some());
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_nothing_is_left_when_all_have_gone(steps in prop::collection::vec((0u8..4, any::<bool>()), 0..200)) {
            let clients = Clients::default();
            let mut seats: [Vec<Seat>; 4] = Default::default();
            for (client, comes) in steps {
                let seats = &mut seats[usize::from(client)];
                if comes {
                    let seat = clients.admit(IpAddr::from([192, 0, 2, client]), 3);
                    prop_assert_eq!(seat.is_some(), seats.len() < 3);
                    seats.extend(seat);
                } else {
                    seats.pop();
                }
            }
            drop(seats);
            prop_assert!(clients.0.lock().is_empty());
        }
    }
}
