//! The way out: pods' TCP connections to the world, carried on by a socket of the host's.
//!
//! The rules send what is not of the cluster to a listener inside the node's network; the kernel still knows where it
//! wanted to go. So pods reach the outside without an interface, a route or a firewall rule on the host.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{getsockopt, sockopt::OriginalDst},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{node::EGRESS_IP, ruleset::EGRESS_PORT};

const CONNECTIONS: usize = 4096;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Carries connections until dropped. Must run inside the node's network; `host` is a runtime outside of it.
pub(crate) async fn serve(host: Handle) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let listener = bind().await;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(RETRY_PAUSE).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            refuse(stream, "too many connections to the outside");
            continue;
        };
        let host = host.clone();
        coracle_tasks::spawn("egress-connection", async move {
            carry(stream, &host).await;
            drop(slot);
        });
    }
}

async fn bind() -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind((EGRESS_IP, EGRESS_PORT)).await {
            Ok(listener) => return listener,
            Err(error) if !told => tracing::warn!(%error, "the way out for pods cannot be opened yet"),
            Err(_) => {}
        }
        told = true;
        sleep(RETRY_PAUSE).await;
    }
}

async fn carry(mut inner: TcpStream, host: &Handle) {
    let destination = match original_destination(&inner) {
        Ok(destination) => destination,
        Err(error) => return refuse(inner, &error.to_string()),
    };
    let outer = coracle_tasks::spawn_on(host, "egress-connect", connect(destination)).await;
    match outer.map_err(io::Error::other).flatten() {
        Ok(mut outer) => drop(copy_bidirectional(&mut inner, &mut outer).await),
        Err(error) => refuse(inner, &format!("{destination}: {error}")),
    }
}

/// Runs in the host's network.
async fn connect(destination: SocketAddrV4) -> io::Result<TcpStream> {
    permitted(*destination.ip(), &host_addresses())
        .map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, why))?;
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(destination)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn original_destination(stream: &TcpStream) -> io::Result<SocketAddrV4> {
    let raw = getsockopt(stream, OriginalDst)?;
    let ip = Ipv4Addr::from_bits(u32::from_be(raw.sin_addr.s_addr));
    let destination = SocketAddrV4::new(ip, u16::from_be(raw.sin_port));
    if SocketAddr::V4(destination) == stream.local_addr()? {
        return Err(io::Error::other("the way out is no destination"));
    }
    Ok(destination)
}

/// Pods reach the world, not what listens on the machine itself: that has not been opened to them.
fn permitted(ip: Ipv4Addr, host: &[IpAddr]) -> Result<(), &'static str> {
    if ip.is_loopback() || ip.is_unspecified() || host.contains(&IpAddr::V4(ip)) {
        return Err("an address of the host itself");
    }
    if ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() {
        return Err("an address of the host's own links");
    }
    Ok(())
}

fn host_addresses() -> Vec<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    let addresses =
        interfaces.filter_map(|interface| interface.address?.as_sockaddr_in().map(|it| IpAddr::V4(it.ip())));
    addresses.collect()
}

/// Ends the connection with a reset, as a closed port would have.
fn refuse(stream: TcpStream, why: &str) {
    tracing::debug!(why, "connection to the outside refused");
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_itself_is_not_the_outside() {
        let host = [IpAddr::from([192, 0, 2, 1])];
        let check = |ip: [u8; 4]| permitted(Ipv4Addr::from(ip), &host);
        assert_eq!(check([198, 51, 100, 7]), Ok(()));
        for ip in [[127, 0, 0, 1], [127, 8, 8, 8], [0, 0, 0, 0], [192, 0, 2, 1]] {
            assert_eq!(check(ip), Err("an address of the host itself"));
        }
        for ip in [[169, 254, 169, 254], [224, 0, 0, 1], [255, 255, 255, 255]] {
            assert_eq!(check(ip), Err("an address of the host's own links"));
        }
    }
}
