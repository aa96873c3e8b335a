//! The ports on the host: the preferred ones, the ones of the last time, or any free one where nobody asked for one.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
};

use anyhow::{Context, bail};

use crate::{
    paths::DataDir,
    settings::{Listen, Settings},
    state::{Urls, write_whole},
};

/// Every listener, bound and not yet served.
pub struct Listeners {
    pub front: TcpListener,
    pub api: TcpListener,
    pub gateway: TcpListener,
    pub gateway_tls: TcpListener,
}

impl Listeners {
    /// Binds all of them, or says which port is taken and how to choose another.
    pub fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let remembered = read_ports(&settings.data_dir);
        let bind = |name: &str, flag: &str, listen: Listen| bind(listen, remembered.get(name).copied(), flag);
        let listeners = Self {
            front: bind("front", "--listen", settings.front)?,
            api: bind("api", "--api-listen", settings.api)?,
            gateway: bind("gateway", "--gateway-listen", settings.gateway)?,
            gateway_tls: bind("gatewayTls", "--gateway-tls-listen", settings.gateway_tls)?,
        };
        listeners.remember(&settings.data_dir)?;
        Ok(listeners)
    }

    /// The addresses as people type them.
    pub fn urls(&self) -> anyhow::Result<Urls> {
        let at = |scheme: &str, listener: &TcpListener| -> anyhow::Result<String> {
            Ok(format!("{scheme}://{}", listener.local_addr()?))
        };
        let front = at("http", &self.front)?;
        Ok(Urls {
            api: at("https", &self.api)?,
            console: format!("{front}/"),
            git: format!("{front}/"),
            registry: front.trim_start_matches("http://").to_owned(),
            gateway: at("http", &self.gateway)?,
            gateway_tls: at("https", &self.gateway_tls)?,
        })
    }

    fn remember(&self, dir: &DataDir) -> anyhow::Result<()> {
        let named =
            [("front", &self.front), ("api", &self.api), ("gateway", &self.gateway), ("gatewayTls", &self.gateway_tls)];
        let ports = named
            .into_iter()
            .map(|(name, listener)| Ok((name, listener.local_addr()?.port())))
            .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
        write_whole(&dir.ports(), &serde_json::to_vec(&ports)?, 0o644)
    }
}

fn read_ports(dir: &DataDir) -> BTreeMap<String, u16> {
    fs::read(dir.ports()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn bind(listen: Listen, remembered: Option<u16>, flag: &str) -> anyhow::Result<TcpListener> {
    if listen.asked_for {
        return match TcpListener::bind(listen.address) {
            Ok(listener) => nonblocking(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                bail!("{} is in use by another program: choose another address with {flag}", listen.address)
            }
            Err(error) => Err(error).with_context(|| format!("listening on {} ({flag})", listen.address)),
        };
    }
    let with_port = |port| SocketAddr::new(listen.address.ip(), port);
    let candidates = remembered.map(with_port).into_iter().chain([listen.address, with_port(0)]);
    let bound = candidates.map(TcpListener::bind).find(Result::is_ok);
    match bound {
        Some(Ok(listener)) => nonblocking(listener),
        _ => bail!("no free port at {}: choose an address with {flag}", listen.address.ip()),
    }
}

fn nonblocking(listener: TcpListener) -> anyhow::Result<TcpListener> {
    listener.set_nonblocking(true).context("a listener")?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_the_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(Listen { address, asked_for: true }, None, "--listen").unwrap_err().to_string();
        assert_eq!(error, format!("{address} is in use by another program: choose another address with --listen"));
    }

    #[test]
    fn a_default_port_that_is_taken_gives_way_to_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let bound = bind(Listen { address, asked_for: false }, None, "--listen").unwrap();
        assert_ne!(bound.local_addr().unwrap(), address);
    }

    #[test]
    fn the_port_of_the_last_time_is_taken_again() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let preferred = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let bound = bind(Listen { address: preferred, asked_for: false }, Some(free.port()), "--listen").unwrap();
        assert_eq!(bound.local_addr().unwrap().port(), free.port());
    }
}
