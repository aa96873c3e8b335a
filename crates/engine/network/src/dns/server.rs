//! The DNS server: one socket for datagrams, one for streams, both inside the node's network.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, Record, RecordType},
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    cache::Cache,
    upstream::{Transport, Upstream, read_framed, write_framed},
    zone::{Outcome, Zone},
};
use crate::{config::Config, follow::View};

/// Questions that wait for the host's resolvers, and open streams: more are dropped, and clients ask again.
const AT_ONCE: usize = 512;
const STREAM_IDLE: Duration = Duration::from_secs(10);
const BIND_PAUSE: Duration = Duration::from_millis(200);
/// What every client takes (RFC 1035), and what is sent at most to those that say they take more.
const SMALLEST_DATAGRAM_BYTES: u16 = 512;
const LARGEST_DATAGRAM_BYTES: u16 = 1232;
/// An external name may lead to a service that leads to an external name; not for ever.
const LONGEST_CHAIN: usize = 8;

struct Server {
    view: View,
    config: Config,
    upstream: Arc<dyn Upstream>,
    cache: Mutex<Cache>,
    /// Turns the order of addresses, for clients that always take the first.
    turn: AtomicUsize,
    slots: Arc<Semaphore>,
}

/// Answers at `config.dns_ip` until dropped. Must run on a runtime inside the node's network.
pub(crate) async fn serve(view: View, config: Config, upstream: Arc<dyn Upstream>) {
    let address = SocketAddr::from((config.dns_ip, 53));
    let server = Arc::new(Server {
        view,
        config,
        upstream,
        cache: Mutex::default(),
        turn: AtomicUsize::new(0),
        slots: Arc::new(Semaphore::new(AT_ONCE)),
    });
    let (datagrams, streams) = bind(address).await;
    tokio::join!(serve_datagrams(Arc::clone(&server), Arc::new(datagrams)), serve_streams(server, streams));
}

/// The port may still belong to an engine that is just ending.
async fn bind(address: SocketAddr) -> (UdpSocket, TcpListener) {
    let mut told = false;
    loop {
        let both = async { Ok::<_, io::Error>((UdpSocket::bind(address).await?, TcpListener::bind(address).await?)) };
        match both.await {
            Ok(sockets) => return sockets,
            Err(error) if !told => tracing::warn!(%address, %error, "cluster DNS cannot listen yet"),
            Err(_) => {}
        }
        told = true;
        sleep(BIND_PAUSE).await;
    }
}

async fn serve_datagrams(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            // An earlier answer that was refused shows up here; it concerns nobody.
            continue;
        };
        let Some(question) = parse(&buffer[..length]) else { continue };
        let answer = match server.answer_locally(&question) {
            Some(answer) => answer,
            None => {
                let Ok(slot) = Arc::clone(&server.slots).try_acquire_owned() else { continue };
                let (server, socket) = (Arc::clone(&server), Arc::clone(&socket));
                coracle_tasks::spawn("dns-question", async move {
                    let answer = server.answer(&question, Transport::Udp).await;
                    send(&socket, client, &question, answer).await;
                    drop(slot);
                });
                continue;
            }
        };
        send(&socket, client, &question, answer).await;
    }
}

async fn send(socket: &UdpSocket, client: SocketAddr, question: &Message, answer: Message) {
    let takes = question.edns.as_ref().map_or(SMALLEST_DATAGRAM_BYTES, |edns| edns.max_payload());
    let takes = takes.clamp(SMALLEST_DATAGRAM_BYTES, LARGEST_DATAGRAM_BYTES);
    let bytes = answer
        .to_vec()
        .and_then(|bytes| if bytes.len() <= usize::from(takes) { Ok(bytes) } else { answer.truncate().to_vec() });
    match bytes {
        Ok(bytes) => drop(socket.send_to(&bytes, client).await),
        Err(error) => tracing::debug!(%error, "answer not sent"),
    }
}

async fn serve_streams(server: Arc<Server>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(BIND_PAUSE).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&server.slots).try_acquire_owned() else { continue };
        let server = Arc::clone(&server);
        coracle_tasks::spawn("dns-stream", async move {
            let _ = serve_stream(&server, stream).await;
            drop(slot);
        });
    }
}

async fn serve_stream(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    while let Ok(message) = timeout(STREAM_IDLE, read_framed(&mut stream)).await {
        let Some(question) = parse(&message?) else { break };
        let answer = server.answer(&question, Transport::Tcp).await;
        write_framed(&mut stream, &answer.to_vec().map_err(io::Error::other)?).await?;
    }
    Ok(())
}

/// What is no question gets no answer.
fn parse(bytes: &[u8]) -> Option<Message> {
    Message::from_vec(bytes).ok().filter(|message| message.metadata.message_type == MessageType::Query)
}

impl Server {
    /// The answer, where it takes no waiting.
    fn answer_locally(&self, question: &Message) -> Option<Message> {
        let query = match checked(question) {
            Ok(query) => query,
            Err(code) => return Some(respond(question, code)),
        };
        let (name, kind) = (query.name(), query.query_type());
        let cluster = self.view.cluster.read();
        let zone = Zone { cluster: &cluster, config: &self.config };
        let outcome = zone.look_up(name, kind);
        if outcome != Outcome::Elsewhere && *self.view.generation.borrow() == 0 {
            // Saying that a name does not exist, before the names are known, would be remembered.
            return Some(respond(question, ResponseCode::ServFail));
        }
        let (code, answers, additionals) = match outcome {
            Outcome::NoSuchName => (ResponseCode::NXDomain, Vec::new(), Vec::new()),
            Outcome::Found { answers, additionals } => (ResponseCode::NoError, self.turned(answers), additionals),
            Outcome::Alias { record, .. } if kind == RecordType::CNAME => {
                (ResponseCode::NoError, vec![record], Vec::new())
            }
            Outcome::Alias { .. } => return None,
            Outcome::Elsewhere => return self.remembered(question, name, kind),
        };
        let mut response = respond(question, code);
        response.metadata.authoritative = true;
        if answers.is_empty() {
            response.add_authorities(zone.authority());
        }
        response.add_answers(answers).add_additionals(additionals);
        Some(response)
    }

    /// The answer, also where others have to be asked.
    async fn answer(&self, question: &Message, transport: Transport) -> Message {
        if let Some(answer) = self.answer_locally(question) {
            return answer;
        }
        let query = &question.queries[0];
        let (mut aliases, name) = self.follow_aliases(query.name());
        let mut asked = question.clone();
        asked.queries = vec![Query::query(name.clone(), query.query_type())];
        // An external name may also lead back into the cluster.
        let mut answer = match self.answer_locally(&asked) {
            Some(answer) => answer,
            None => self.forward(&asked, &name, query.query_type(), transport).await,
        };
        answer.queries.clone_from(&question.queries);
        aliases.append(&mut answer.answers);
        answer.answers = aliases;
        answer
    }

    /// From an external name's service to the name that has to be looked up.
    fn follow_aliases(&self, name: &Name) -> (Vec<Record>, Name) {
        let cluster = self.view.cluster.read();
        let zone = Zone { cluster: &cluster, config: &self.config };
        let (mut aliases, mut name) = (Vec::new(), name.clone());
        for _ in 0..LONGEST_CHAIN {
            let Outcome::Alias { record, target } = zone.look_up(&name, RecordType::A) else { break };
            aliases.push(record);
            name = target;
        }
        (aliases, name)
    }

    async fn forward(&self, question: &Message, name: &Name, kind: RecordType, transport: Transport) -> Message {
        let mut asked = Message::query();
        asked.metadata.recursion_desired = true;
        asked.add_query(Query::query(name.clone(), kind));
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_DATAGRAM_BYTES);
        asked.set_edns(edns);
        let Ok(bytes) = asked.to_vec() else { return respond(question, ResponseCode::FormErr) };
        match self.upstream.exchange(bytes, transport).await.map(|bytes| Message::from_vec(&bytes)) {
            Ok(Ok(answer)) => {
                self.cache.lock().put(name, kind, &answer, Instant::now());
                adopt(question, answer)
            }
            Ok(Err(error)) => {
                tracing::debug!(%name, %error, "a resolver of the host answers with nonsense");
                respond(question, ResponseCode::ServFail)
            }
            Err(error) => {
                tracing::debug!(%name, %error, "the host's resolvers give no answer");
                respond(question, ResponseCode::ServFail)
            }
        }
    }

    fn remembered(&self, question: &Message, name: &Name, kind: RecordType) -> Option<Message> {
        let found = self.cache.lock().get(name, kind, Instant::now())?;
        Some(adopt(question, found))
    }

    fn turned(&self, mut records: Vec<Record>) -> Vec<Record> {
        if records.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % records.len();
            records.rotate_left(turn);
        }
        records
    }
}

fn checked(question: &Message) -> Result<&Query, ResponseCode> {
    if question.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    let [query] = question.queries.as_slice() else { return Err(ResponseCode::FormErr) };
    match (query.query_class(), query.query_type()) {
        (DNSClass::IN | DNSClass::ANY, RecordType::AXFR | RecordType::IXFR) => Err(ResponseCode::Refused),
        (DNSClass::IN | DNSClass::ANY, _) => Ok(query),
        _ => Err(ResponseCode::Refused),
    }
}

/// An empty answer to `question`.
fn respond(question: &Message, code: ResponseCode) -> Message {
    let mut response = Message::error_msg(question.metadata.id, question.metadata.op_code, code);
    response.metadata.recursion_desired = question.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(question.queries.iter().cloned());
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_DATAGRAM_BYTES);
        response.set_edns(edns);
    }
    response
}

/// Another server's answer as the answer to `question`.
fn adopt(question: &Message, other: Message) -> Message {
    let mut response = respond(question, other.metadata.response_code);
    response.metadata.truncation = other.metadata.truncation;
    response.answers = other.answers;
    response.authorities = other.authorities;
    response.additionals = other.additionals;
    response
}
