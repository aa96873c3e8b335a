//! Settings: a flag wins over an environment variable, that over the settings file, that over the default.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    cli::{ApiFlags, Global, Part, Up},
    paths::DataDir,
};

const DEFAULT_DATA_DIR: &str = "/var/lib/coracle";
const DEFAULT_FILE: &str = "/etc/coracle/coracle.toml";
const DEFAULT_LOG: &str = "info,libcontainer=warn,libcgroups=warn,hyper=warn,kube=warn";

/// A listener's address, and whether somebody asked for just that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
    /// When nobody asked for it, another free port will do if this one is taken.
    pub asked_for: bool,
}

/// All that can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    pub data_dir: DataDir,
    pub front: Listen,
    pub api: Listen,
    pub gateway: Listen,
    pub gateway_tls: Listen,
    pub without: Vec<Part>,
    pub node_name: String,
    pub log: String,
    pub api_server: ApiFlags,
}

/// The settings file, `coracle.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    api_listen: Option<SocketAddr>,
    gateway_listen: Option<SocketAddr>,
    gateway_tls_listen: Option<SocketAddr>,
    without: Vec<Part>,
    node_name: Option<String>,
    log: Option<String>,
    api: ApiFlags,
}

impl Settings {
    /// Puts together what the flags (and the environment behind them) and the file say.
    pub fn new(global: &Global, up: &Up) -> anyhow::Result<Self> {
        let file = read_file(global.config.as_deref())?;
        let listen = |flag: Option<SocketAddr>, file: Option<SocketAddr>, port: u16| {
            let asked = flag.or(file);
            let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            Listen { address: asked.unwrap_or(default), asked_for: asked.is_some_and(|a| a.port() != 0) }
        };
        let node_name = match up.node_name.clone().or(file.node_name) {
            Some(name) => name,
            None => machine_name()?,
        };
        if !is_dns_name(&node_name) {
            bail!(
                "node name {node_name:?} is not a DNS name (lower-case letters, digits, '-' and '.'): set --node-name"
            );
        }
        Ok(Self {
            data_dir: data_dir_of(global.data_dir.as_deref().or(file.data_dir.as_deref()))?,
            front: listen(up.listen, file.listen, 7070),
            api: listen(up.api_listen, file.api_listen, 6443),
            gateway: listen(up.gateway_listen, file.gateway_listen, 8080),
            gateway_tls: listen(up.gateway_tls_listen, file.gateway_tls_listen, 8443),
            without: if up.without.is_empty() { file.without } else { up.without.clone() },
            node_name,
            log: up.log.clone().or(file.log).unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            api_server: up.api.over(&file.api)?,
        })
    }
}

impl ApiFlags {
    /// What these say, and where they say nothing, what `file` says.
    fn over(&self, file: &Self) -> anyhow::Result<Self> {
        let mut all = file.fields()?;
        all.extend(self.fields()?);
        Ok(serde_json::from_value(Value::Object(all))?)
    }

    /// What is set.
    fn fields(&self) -> anyhow::Result<Map<String, Value>> {
        let Value::Object(mut fields) = serde_json::to_value(self)? else { return Ok(Map::new()) };
        fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        Ok(fields)
    }

    /// The same as a command line, for the engine that is started with them. It runs in another directory.
    pub fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let mut arguments = Vec::new();
        for (name, value) in self.fields()? {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value]);
            for value in values {
                let mut text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if ["file", "config", "path"].iter().any(|end| name.ends_with(end)) {
                    text = std::path::absolute(&text)?.display().to_string();
                }
                arguments.push(format!("--{name}={text}"));
            }
        }
        Ok(arguments)
    }
}

/// The data directory that commands other than `up` speak of.
pub fn data_dir(global: &Global) -> anyhow::Result<DataDir> {
    let file = read_file(global.config.as_deref())?;
    data_dir_of(global.data_dir.as_deref().or(file.data_dir.as_deref()))
}

fn data_dir_of(path: Option<&Path>) -> anyhow::Result<DataDir> {
    let path = path.unwrap_or(Path::new(DEFAULT_DATA_DIR));
    DataDir::new(path).with_context(|| format!("data directory {}", path.display()))
}

/// Reads the file that was named, or the default one where it exists.
fn read_file(named: Option<&Path>) -> anyhow::Result<File> {
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(File::default()),
    };
    let text = fs::read_to_string(path).with_context(|| format!("settings file {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("settings file {}", path.display()))
}

fn machine_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("the machine's name")?;
    Ok(name.to_string_lossy().to_ascii_lowercase())
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str, up: Up) -> anyhow::Result<Settings> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), toml)?;
        let global = Global { data_dir: None, config: Some(file.path().to_owned()) };
        Settings::new(&global, &Up { node_name: up.node_name.or(Some("node".to_owned())), ..up })
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let up = Up { listen: Some("127.0.0.1:9000".parse().unwrap()), ..Up::default() };
        let settings = settings("listen = '127.0.0.1:1'\napi-listen = '127.0.0.1:2'\n", up).unwrap();
        assert_eq!(settings.front, Listen { address: "127.0.0.1:9000".parse().unwrap(), asked_for: true });
        assert_eq!(settings.api, Listen { address: "127.0.0.1:2".parse().unwrap(), asked_for: true });
        assert_eq!(settings.gateway, Listen { address: "127.0.0.1:8080".parse().unwrap(), asked_for: false });
    }

    #[test]
    fn flags_of_the_api_server_win_over_its_table() {
        let table = "[api]\noidc-issuer-url = 'https://a'\noidc-required-claim = ['a=b']\naudit-log-maxsize = 5\n";
        let flags = ApiFlags { oidc_issuer_url: Some("https://b".to_owned()), ..ApiFlags::default() };
        let settings = settings(table, Up { api: flags, ..Up::default() }).unwrap();
        assert_eq!(
            settings.api_server.arguments().unwrap(),
            ["--audit-log-maxsize=5", "--oidc-issuer-url=https://b", "--oidc-required-claim=a=b"]
        );
    }

    #[test]
    fn a_setting_nobody_knows_is_refused_with_its_place() {
        let error = format!("{:#}", settings("lisen = 'x'\n", Up::default()).unwrap_err());
        assert!(error.contains("line 1") && error.contains("lisen"), "{error}");
    }

    #[test]
    fn a_node_name_must_be_a_dns_name() {
        assert!(settings("node-name = 'My_Node'", Up::default()).is_ok(), "the flag wins");
        assert!(settings("", Up { node_name: Some("My_Node".to_owned()), ..Up::default() }).is_err());
    }
}
