//! The host's resolvers, asked from the host's own network.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    runtime::Handle,
    time::timeout,
};

const DNS_PORT: u16 = 53;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// As the C library does: the servers in turn, and then once more.
const ROUNDS: usize = 2;
const LARGEST_DATAGRAM_BYTES: usize = 4096;

/// How a question came, and is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Whoever answers what is not of the cluster.
pub trait Upstream: Send + Sync + 'static {
    /// The answer, in wire format, to a query in wire format.
    fn exchange(&self, query: Vec<u8>, transport: Transport) -> BoxFuture<'static, io::Result<Vec<u8>>>;
}

/// The name servers of the host's resolv.conf.
#[derive(Debug, Clone)]
pub(crate) struct HostResolvers {
    host: Handle,
    resolv_conf: PathBuf,
}

impl HostResolvers {
    /// `host` is a runtime whose threads are in the host's network.
    pub(crate) fn new(host: Handle) -> Self {
        Self { host, resolv_conf: PathBuf::from("/etc/resolv.conf") }
    }
}

impl Upstream for HostResolvers {
    fn exchange(&self, query: Vec<u8>, transport: Transport) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        let path = self.resolv_conf.clone();
        let answer = coracle_tasks::spawn_on(&self.host, "dns-forward", async move {
            // Read each time: a laptop that changes networks must not keep asking the old ones.
            let servers = name_servers(&tokio::fs::read_to_string(path).await.unwrap_or_default());
            ask_in_turn(&servers, &query, transport).await
        });
        async move { answer.await.map_err(io::Error::other)? }.boxed()
    }
}

async fn ask_in_turn(servers: &[IpAddr], query: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no name server");
    for _ in 0..ROUNDS {
        for server in servers {
            let address = SocketAddr::new(*server, DNS_PORT);
            let asked = async {
                match transport {
                    Transport::Udp => ask_udp(address, query).await,
                    Transport::Tcp => ask_tcp(address, query).await,
                }
            };
            match timeout(ANSWER_TIMEOUT, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{server} does not answer")),
            }
        }
    }
    Err(last)
}

async fn ask_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let local = if server.is_ipv4() { SocketAddr::from(([0, 0, 0, 0], 0)) } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; LARGEST_DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length >= 12 && buffer[..2] == query[..2] {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, query).await?;
    read_framed(&mut stream).await
}

/// A message over TCP: its length in two bytes, then itself.
pub(crate) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The reverse of [`read_framed`].
pub(crate) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let words = resolv_conf.lines().map(|line| line.split_whitespace());
    let servers = words.filter_map(|mut words| (words.next()? == "nameserver").then(|| words.next()).flatten());
    servers.filter_map(|server| server.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read() {
        let text = "# nameserver 1.1.1.1\nsearch lan\nnameserver 127.0.0.53\nnameserver ::1 # local\nnameserver x\n";
        let servers: Vec<_> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53", "::1"]);
    }
}
