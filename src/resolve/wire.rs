//! One question to one server: by UDP, and again by TCP where the answer does not fit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use config::IpFamily;
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// So much of an answer is taken by UDP: no router has to break it up (DNS flag day 2020).
const MOST_BY_UDP: u16 = 1232;
/// Aliases in one answer that lead from one to the next; more are taken for an attack: each costs a look at all records.
const MOST_ALIASES: usize = 16;
/// A question that got no answer by UDP is asked again after this part of the time.
const TRIES: u32 = 2;

/// What a server says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It has these addresses, for so long.
    Addresses(Vec<IpAddr>, Duration),
    /// It is another name for this one, for so long. What addresses that one has is not said.
    Alias(Name, Duration),
    /// It has none of this kind.
    Nothing,
    /// There is no such name.
    NoSuchName,
}

/// Why a server said nothing of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Silent {
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// It says that it cannot, or will not.
    #[error("it answered {0}")]
    Refused(&'static str),
    /// It said something else.
    #[error("what it answered cannot be used: {0}")]
    Nonsense(String),
}

/// Asks `server` for the addresses of `name` that are of this kind, and waits so long in all.
pub(super) async fn ask(server: SocketAddr, name: &Name, family: IpFamily, patience: Duration) -> Result<Said, Silent> {
    let query = Query::query(name.clone(), type_of(family));
    let answer = timeout(patience, exchange(server, &query, patience)).await;
    read(&answer.map_err(|_| Silent::Late(patience))??, &query)
}

const fn type_of(family: IpFamily) -> RecordType {
    match family {
        IpFamily::V4 => RecordType::A,
        IpFamily::V6 => RecordType::AAAA,
    }
}

async fn exchange(server: SocketAddr, query: &Query, patience: Duration) -> Result<Message, Silent> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(MOST_BY_UDP);
    message.set_edns(edns);
    let mut answer = by_udp(server, &message, patience / TRIES).await?;
    // Servers that are older than EDNS do not know what to make of it (RFC 6891, section 7).
    if matches!(answer.metadata.response_code, ResponseCode::FormErr | ResponseCode::NotImp) {
        message.edns = None;
        answer = by_udp(server, &message, patience / TRIES).await?;
    }
    if answer.metadata.truncation { by_tcp(server, &message).await } else { Ok(answer) }
}

/// A socket of its own for each question, so that its port cannot be guessed; what is no answer to it is passed over.
async fn by_udp(server: SocketAddr, message: &Message, each: Duration) -> Result<Message, Silent> {
    let asked = wire(message)?;
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(|error| unreachable(&error))?;
    socket.connect(server).await.map_err(|error| unreachable(&error))?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // Bounded by whoever waits for all of this.
        socket.send(&asked).await.map_err(|error| unreachable(&error))?;
        let answer = timeout(each, async {
            loop {
                let length = socket.recv(&mut buffer).await.map_err(|error| unreachable(&error))?;
                if belongs(&buffer[..length], &asked) {
                    return understood(&buffer[..length], message);
                }
            }
        });
        if let Ok(answer) = answer.await {
            return answer;
        }
    }
}

async fn by_tcp(server: SocketAddr, message: &Message) -> Result<Message, Silent> {
    let asked = wire(message)?;
    let by_tcp = |error: io::Error| match unreachable(&error) {
        Silent::Unreachable(why) => Silent::Unreachable(format!("its answer is too long for UDP, and by TCP: {why}")),
        other @ (Silent::Late(_) | Silent::Refused(_) | Silent::Nonsense(_)) => other,
    };
    let mut stream = TcpStream::connect(server).await.map_err(by_tcp)?;
    let length = u16::try_from(asked.len()).map_err(|_| Silent::Nonsense("the question is too long".to_owned()))?;
    let framed = [&length.to_be_bytes(), asked.as_slice()].concat();
    stream.write_all(&framed).await.map_err(by_tcp)?;
    let length = stream.read_u16().await.map_err(by_tcp)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(by_tcp)?;
    if !belongs(&answer, &asked) {
        return Err(Silent::Nonsense("it answers another question".to_owned()));
    }
    let answer = understood(&answer, message)?;
    if answer.metadata.truncation {
        return Err(Silent::Nonsense("the answer is cut off by TCP, too".to_owned()));
    }
    Ok(answer)
}

fn wire(message: &Message) -> Result<Vec<u8>, Silent> {
    message.to_vec().map_err(|error| Silent::Nonsense(format!("the question cannot be written: {error}")))
}

/// Whether these bytes claim to be the answer to that question: the number, and that they are an answer.
fn belongs(answer: &[u8], asked: &[u8]) -> bool {
    answer.len() > 2 && answer[..2] == asked[..2] && answer[2] & 0x80 != 0
}

/// An answer to this question. Only who knows its number can make one that is not, and is worth telling of.
fn understood(answer: &[u8], asked: &Message) -> Result<Message, Silent> {
    let answer = Message::from_vec(answer).map_err(|error| Silent::Nonsense(error.to_string()))?;
    let is_an_answer = answer.metadata.message_type == MessageType::Response;
    // Some servers leave out the question where they refuse it.
    let is_for_this = answer.queries == asked.queries
        || (answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError);
    if is_an_answer && is_for_this {
        return Ok(answer);
    }
    Err(Silent::Nonsense("it answers another question".to_owned()))
}

/// What an answer says of what was asked. Records of other names are nobody's concern.
fn read(answer: &Message, asked: &Query) -> Result<Said, Silent> {
    let code = answer.metadata.response_code;
    if code == ResponseCode::NXDomain {
        return Ok(Said::NoSuchName);
    }
    if code != ResponseCode::NoError {
        return Err(Silent::Refused(code.to_str()));
    }
    let records = || answer.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
    let mut name = asked.name().clone();
    let mut ttl = u32::MAX;
    let mut aliases = 0;
    loop {
        let of_name = || records().filter(|record| record.name == name);
        let mut found = Vec::new();
        for record in of_name().filter(|record| record.record_type() == asked.query_type()) {
            if let RData::A(A(address)) = &record.data {
                found.push(IpAddr::V4(*address));
            } else if let RData::AAAA(AAAA(address)) = &record.data {
                found.push(IpAddr::V6(*address));
            }
            ttl = ttl.min(record.ttl);
        }
        if !found.is_empty() {
            return Ok(Said::Addresses(found, Duration::from_secs(ttl.into())));
        }
        let alias = of_name().find_map(|record| {
            let RData::CNAME(CNAME(alias)) = &record.data else { return None };
            Some((alias.clone(), record.ttl))
        });
        let Some((alias, alias_ttl)) = alias else { break };
        ttl = ttl.min(alias_ttl);
        name = alias;
        aliases += 1;
        if aliases > MOST_ALIASES {
            return Err(Silent::Nonsense(format!("more than {MOST_ALIASES} aliases in a row")));
        }
    }
    if name == *asked.name() { Ok(Said::Nothing) } else { Ok(Said::Alias(name, Duration::from_secs(ttl.into()))) }
}

fn unreachable(error: &io::Error) -> Silent {
    let kind = error.kind();
    Silent::Unreachable(if kind == io::ErrorKind::ConnectionRefused {
        "nothing listens there".to_owned()
    } else if matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) {
        "it closed the connection".to_owned()
    } else {
        error.to_string()
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn address(of: &str, ttl: u32) -> Record {
        Record::from_rdata(name(of), ttl, RData::A(A(Ipv4Addr::new(10, 0, 0, 1))))
    }

    fn question() -> Message {
        let mut question = Message::query();
        question.add_query(Query::query(name("shop."), RecordType::A));
        question
    }

    /// An answer to this question with these records.
    fn answering(question: &Message, answers: Vec<Record>) -> Message {
        let mut answer = question.clone();
        answer.metadata.message_type = MessageType::Response;
        (answer.answers, answer.edns) = (answers, None);
        answer
    }

    #[test]
    fn addresses_hold_for_as_long_as_every_alias_that_leads_to_them() {
        let question = question();
        let alias = Record::from_rdata(name("shop."), 5, RData::CNAME(CNAME(name("other."))));
        let answer = answering(&question, vec![alias, address("other.", 300)]);
        let Ok(Said::Addresses(_, ttl)) = read(&answer, &question.queries[0]) else { panic!("{answer:?}") };
        assert_eq!(ttl, Duration::from_secs(5));
    }

    #[test]
    fn what_bears_another_number_or_is_of_another_question_is_no_answer() {
        let question = question();
        let asked = wire(&question).unwrap();
        let mut answer = answering(&question, vec![address("shop.", 300)]);
        let bytes = wire(&answer).unwrap();
        assert!(belongs(&bytes, &asked) && understood(&bytes, &question).is_ok());
        assert!(!belongs(&asked, &asked), "a question is none");
        assert!(!belongs(&[&[bytes[0] ^ 1], &bytes[1..]].concat(), &asked));
        answer.queries = vec![Query::query(name("other."), RecordType::A)];
        let of_another = wire(&answer).unwrap();
        assert_eq!(
            understood(&of_another, &question).unwrap_err(),
            Silent::Nonsense("it answers another question".into())
        );
    }

    #[tokio::test]
    async fn a_server_that_is_older_than_edns_is_asked_again_without_it() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address_of_server = server.local_addr().unwrap();
        let serving = async {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = server.recv_from(&mut buffer).await.unwrap();
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let mut answer = answering(&question, vec![address("shop.", 300)]);
                if question.edns.is_some() {
                    answer.metadata.response_code = ResponseCode::FormErr;
                    answer.answers.clear();
                }
                server.send_to(&wire(&answer).unwrap(), from).await.unwrap();
            }
        };
        let shop = name("shop.");
        let said = tokio::select! {
            () = serving => unreachable!(),
            said = ask(address_of_server, &shop, IpFamily::V4, LONG) => said.unwrap(),
        };
        assert_eq!(said, Said::Addresses(vec![IpAddr::from([10, 0, 0, 1])], Duration::from_secs(300)));
    }
}
