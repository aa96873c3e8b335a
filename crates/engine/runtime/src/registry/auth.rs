//! Who we are to a registry: pull secrets, and the challenges registries answer with.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

/// A user name and password, or a token, for one registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.username)
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, alias = "identitytoken")]
    identity_token: String,
}

impl Credentials {
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }

    /// What a `.dockerconfigjson` (or the older `.dockercfg`) has for an image `registry/repository`; the longest key that fits wins.
    pub fn find(config: &[u8], image_name: &str) -> Option<Self> {
        let auths = match serde_json::from_slice::<DockerConfig>(config) {
            Ok(config) if !config.auths.is_empty() => config.auths,
            _ => serde_json::from_slice::<BTreeMap<String, DockerAuth>>(config).ok()?,
        };
        let mut fitting: Vec<(usize, &DockerAuth)> =
            auths.iter().filter_map(|(key, auth)| fits(key, image_name).map(|length| (length, auth))).collect();
        fitting.sort_by_key(|(length, _)| *length);
        fitting.pop()?.1.credentials()
    }
}

impl DockerAuth {
    fn credentials(&self) -> Option<Credentials> {
        if !self.username.is_empty() {
            return Some(Credentials { username: self.username.clone(), password: self.password.clone() });
        }
        let decoded = BASE64_STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
        let (username, password) = decoded.split_once(':')?;
        let password = if self.identity_token.is_empty() { password } else { &self.identity_token };
        Some(Credentials { username: username.to_owned(), password: password.to_owned() })
    }
}

/// How much of `image_name` the key names; a key may be a URL, and `*` stands for one part of a host name.
fn fits(key: &str, image_name: &str) -> Option<usize> {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or(bare.strip_suffix("/v2")).unwrap_or(bare);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let (image_host, image_path) = image_name.split_once('/')?;
    let mut pairs = host.split('.').zip(image_host.split('.'));
    let same_length = host.split('.').count() == image_host.split('.').count();
    let host_fits = same_length && pairs.all(|(pattern, part)| pattern == part || pattern == "*");
    let path_fits = path.is_empty()
        || image_path == path
        || image_path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    (host_fits && path_fits).then_some(host.len() + path.len())
}

/// What `WWW-Authenticate` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest);
        Some(Self::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope"),
        })
    }
}

/// `a="x, y",b=z`: commas inside quotes belong to the value.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, remaining) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.insert(name, value.to_owned());
        rest = remaining;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let header =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        assert_eq!(
            Challenge::parse(header),
            Some(Challenge::Bearer {
                realm: "https://auth.example/token".into(),
                service: Some("registry.example".into()),
                scope: Some("repository:a/b:pull,push".into())
            })
        );
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn the_longest_key_wins() {
        let config = br#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "quay.io": {"username": "all", "password": "1"},
            "quay.io/team": {"username": "team", "password": "2"},
            "*.example.com": {"username": "star", "password": "3"}
        }}"#;
        let name = |image: &str| Credentials::find(config, image).map(|c| c.username);
        assert_eq!(name("docker.io/library/nginx").as_deref(), Some("hub"));
        assert_eq!(name("quay.io/other/x").as_deref(), Some("all"));
        assert_eq!(name("quay.io/team/x").as_deref(), Some("team"));
        assert_eq!(name("quay.io/teamwork/x").as_deref(), Some("all"));
        assert_eq!(name("a.example.com/x").as_deref(), Some("star"));
        assert_eq!(name("ghcr.io/x"), None);
    }
}
