//! What the old process and the new one say to each other, and the descriptors that go with it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use config::ListenAddress;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};

use super::course::{Course, Left};

/// A message has fewer bytes.
const LONGEST: usize = 64 * 1024;
/// How often who waits looks whether there is still something to wait for.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// One end of the connection between the two. A message arrives whole, or not at all.
#[derive(Debug)]
pub(crate) struct Wire(OwnedFd);

/// Something that is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "kebab-case")]
pub(super) enum Message {
    /// The new one: it is there.
    Hello {
        /// How it speaks.
        protocol: u32,
        /// What it is.
        version: String,
        /// Whether it stays in touch once it has taken over. Executables from before that say nothing of it.
        #[serde(default)]
        stays: bool,
    },
    /// The old one: a listening socket, which comes with it.
    Listener {
        /// Where it was to listen, as written.
        written: Place,
        /// Where it listens.
        bound: Place,
        /// Device and number of the socket's file.
        file: Option<(u64, u64)>,
    },
    /// The old one: the socket of the control API, which comes with it.
    Admin {
        /// Where it was to listen, as written.
        written: SocketAddr,
    },
    /// The old one: the connection to a process before it, which still drains; it comes with this.
    Elder,
    /// The old one: that is all.
    Offered,
    /// The new one: it can take over at once.
    Ready {
        /// The listeners that it took, by their places in the order given.
        took: Vec<usize>,
    },
    /// The old one: the state directory is free, and its lock comes with this, where there is one.
    Yours,
    /// The new one: it serves.
    Serving,
    /// The new one: it does not, and ends.
    Refused {
        /// Why, in words.
        why: String,
    },
    /// The new one, from then on: what becomes of a service.
    Course(Course),
    /// The old one, from then on: what it still has.
    Left(Left),
}

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<ListenAddress> for Place {
    fn from(address: ListenAddress) -> Self {
        match address {
            ListenAddress::Tcp(address) => Self::Tcp(address),
            ListenAddress::Unix(path) => Self::Unix(path),
        }
    }
}

impl From<Place> for ListenAddress {
    fn from(place: Place) -> Self {
        match place {
            Place::Tcp(address) => Self::Tcp(address),
            Place::Unix(path) => Self::Unix(path),
        }
    }
}

/// Something that was said, and the descriptor that came with it.
pub(super) type Received = (Message, Option<OwnedFd>);

/// Why nothing more will be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The other end is gone.
    #[error("it is gone")]
    Gone,
    /// The connection does not carry.
    #[error("the connection between the two does not carry: {0}")]
    Lost(#[from] io::Error),
    /// What came cannot be understood.
    #[error("it says what this version does not understand; upgrade by a restart instead")]
    Strange,
}

impl From<Errno> for Broken {
    fn from(error: Errno) -> Self {
        match error {
            Errno::CONNRESET | Errno::PIPE => Self::Gone,
            other => Self::Lost(other.into()),
        }
    }
}

impl Wire {
    /// Speaks over a connected socket that keeps messages apart.
    pub(super) fn new(socket: OwnedFd) -> Result<Self, Broken> {
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(LOOK))?;
        Ok(Self(socket))
    }

    /// The number and the user of whoever is at the other end.
    pub(super) fn peer(&self) -> Result<(i32, u32), Broken> {
        let peer = sockopt::socket_peercred(&self.0)?;
        Ok((peer.pid.as_raw_nonzero().get(), peer.uid.as_raw()))
    }

    /// Says something.
    pub(super) fn say(&self, message: &Message) -> Result<(), Broken> {
        self.give(message, None)
    }

    /// The same connection once more, for another process.
    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Says something, unless the other end takes nothing just now: whether it was said.
    pub(super) fn try_say(&self, message: &Message) -> Result<bool, Broken> {
        match self.send(message, None, SendFlags::DONTWAIT) {
            Ok(()) => Ok(true),
            Err(Broken::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(broken) => Err(broken),
        }
    }

    /// Says something and gives a descriptor with it.
    pub(super) fn give(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Broken> {
        self.send(message, descriptor, SendFlags::empty())
    }

    fn send(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>, flags: SendFlags) -> Result<(), Broken> {
        let bytes = serde_json::to_vec(message).map_err(|error| Broken::Lost(error.into()))?;
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags | SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// What is said next; none where nothing is within [`LOOK`].
    pub(super) fn hear(&self) -> Result<Option<Received>, Broken> {
        self.receive(RecvFlags::empty())
    }

    /// What was said already; none where nothing was.
    pub(super) fn try_hear(&self) -> Result<Option<Received>, Broken> {
        self.receive(RecvFlags::DONTWAIT)
    }

    fn receive(&self, flags: RecvFlags) -> Result<Option<Received>, Broken> {
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let mut bytes = vec![0_u8; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags);
        let received = match received {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let rights = control.drain().find_map(|message| {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message { descriptors.next() } else { None }
        });
        if received.bytes == 0 {
            return Err(Broken::Gone);
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(Broken::Strange);
        }
        let message = serde_json::from_slice(&bytes[..received.bytes]).map_err(|_| Broken::Strange)?;
        Ok(Some((message, rights)))
    }
}

/// As much of a text as a message may hold.
pub(super) fn shortened(mut text: String) -> String {
    const MOST: usize = 8 * 1024;
    if text.len() > MOST {
        let end = (0..=MOST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    /// Two ends of one connection.
    pub(in crate::upgrade) fn pair() -> (Wire, Wire) {
        let ends = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        (Wire::new(ends.0).unwrap(), Wire::new(ends.1).unwrap())
    }

    #[test]
    fn a_descriptor_that_is_given_is_the_same_file_at_the_other_end() {
        let (old, new) = pair();
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        old.give(&Message::Yours, Some(theirs.as_fd())).unwrap();
        drop(theirs);

        let (message, given) = new.hear().unwrap().unwrap();

        assert_eq!(message, Message::Yours);
        let mut given = std::os::unix::net::UnixStream::from(given.unwrap());
        given.write_all(b"here").unwrap();
        let mut read = [0; 4];
        ours.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"here");
    }

    #[test]
    fn what_was_said_before_the_other_end_left_is_heard_and_then_that_it_is_gone() {
        let (old, new) = pair();
        let refused = Message::Refused { why: "no".to_owned() };
        new.say(&refused).unwrap();
        drop(new);
        assert_eq!(old.hear().unwrap().unwrap().0, refused);
        assert!(matches!(old.hear(), Err(Broken::Gone)));
        assert!(matches!(old.say(&Message::Yours), Err(Broken::Gone)));
    }

    #[test]
    fn silence_is_no_message_and_nonsense_is_told_from_it() {
        let (old, new) = pair();
        assert!(matches!(old.hear(), Ok(None)));
        net::send(&new.0, br#"{"says":"moo"}"#, SendFlags::empty()).unwrap();
        assert!(matches!(old.hear(), Err(Broken::Strange)));
    }

    #[test]
    fn who_says_nothing_of_staying_in_touch_does_not() {
        let (old, new) = pair();
        net::send(&new.0, br#"{"says":"hello","protocol":1,"version":"0.0.9"}"#, SendFlags::empty()).unwrap();
        let (hello, _) = old.hear().unwrap().unwrap();
        assert_eq!(hello, Message::Hello { protocol: 1, version: "0.0.9".to_owned(), stays: false });
    }

    #[test]
    fn whoever_is_at_the_other_end_is_known_by_its_number_and_user() {
        let (old, _new) = pair();
        let us = (i32::try_from(std::process::id()).unwrap(), rustix::process::geteuid().as_raw());
        assert_eq!(old.peer().unwrap(), us);
    }

    #[test]
    fn the_longest_reason_fits_into_a_message() {
        let (old, new) = pair();
        new.say(&Message::Refused { why: shortened("\u{1}é".repeat(100_000)) }).unwrap();
        let (message, _) = old.hear().unwrap().unwrap();
        assert!(matches!(message, Message::Refused { why } if why.ends_with(" ...")));
    }
}
