//! A port that stays ours while nobody listens on it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A reserved address. A socket that is bound and does not listen holds it, so that an origin which refuses
/// connections for a while can come back on the same port: without it the kernel may give the port to any outgoing
/// connection in between.
#[derive(Debug)]
pub(crate) struct Port {
    reservation: Socket,
    address: SocketAddr,
}

impl Port {
    /// Reserves an address; port 0 picks a free one.
    pub(crate) fn reserve(address: SocketAddr) -> io::Result<Self> {
        let reservation = bound(address)?;
        let address = reservation
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the bound address is no internet address"))?;
        Ok(Self { reservation, address })
    }

    /// The address, with its real port.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens on the address, without blocking.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        debug_assert!(self.reservation.local_addr().is_ok());
        let socket = bound(self.address)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Two sockets that both allow reuse may be bound to one port as long as only one of them listens.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_refuses_connections_until_somebody_listens_and_again_after() {
        let port = Port::reserve((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let listener = port.listen().unwrap();
            TcpStream::connect(port.address()).unwrap();
            drop(listener);
        }
    }

    #[test]
    fn a_port_that_somebody_listens_on_cannot_be_reserved() {
        let port = Port::reserve((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let _listener = port.listen().unwrap();
        let error = Port::reserve(port.address()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
