//! References to repositories: `https://host/org/repo//path?ref=v1`, `git@host:org/repo`, `github.com/org/repo`.

/// Where in which repository something lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitReference {
    /// Scheme, user and host as far as they are needed to clone.
    pub host: String,
    /// The repository on its host.
    pub repository: String,
    /// The directory in the repository; empty for its root.
    pub path: String,
    /// A branch, tag or commit; empty for the default branch.
    pub reference: String,
    pub with_submodules: bool,
}

const SCHEMES: [&str; 4] = ["ssh://", "https://", "http://", "file://"];

impl GitReference {
    /// Reads a reference; nothing if the text is a path and no reference.
    pub fn parse(text: &str) -> Option<GitReference> {
        if text.starts_with('/') {
            return None;
        }
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let (host, rest) = host(strip_prefix_in_any_case(address, "git::").unwrap_or(address))?;
        let (repository, path) = split_path(rest, host.starts_with("file://"))?;
        if repository.is_empty() || leaves_repository(path) {
            return None;
        }
        let parameter = |name: &str| {
            let values = query.split('&').filter_map(|pair| pair.split_once('='));
            values.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).find(|value| !value.is_empty())
        };
        let submodules = parameter("submodules");
        Some(GitReference {
            host,
            repository: repository.to_owned(),
            path: path.trim_start_matches('/').to_owned(),
            reference: parameter("ref").or_else(|| parameter("version")).unwrap_or_default(),
            with_submodules: !matches!(submodules.as_deref(), Some("0" | "f" | "F" | "false" | "FALSE" | "False")),
        })
    }

    /// What `git clone` takes.
    pub fn clone_url(&self) -> String {
        format!("{}{}", self.host, self.repository)
    }
}

impl std::fmt::Display for GitReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.clone_url())?;
        if !self.path.is_empty() {
            write!(f, "//{}", self.path)?;
        }
        if !self.reference.is_empty() {
            write!(f, "?ref={}", self.reference)?;
        }
        Ok(())
    }
}

/// Whether a text is the address of a single file.
pub(crate) fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| strip_prefix_in_any_case(text, scheme).is_some())
}

fn strip_prefix_in_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// The host with what belongs to it, and what follows.
fn host(address: &str) -> Option<(String, &str)> {
    let scheme = SCHEMES.iter().find(|scheme| strip_prefix_in_any_case(address, scheme).is_some());
    let rest = &address[scheme.map_or(0, |scheme| scheme.len())..];
    let (user, rest) = split_user(rest);
    let lower = rest.to_ascii_lowercase();
    let is_github = lower.starts_with("github.com/") || lower.starts_with("github.com:");
    if scheme.is_none() && user.is_empty() && !is_github {
        return None;
    }
    if scheme == Some(&"file://") {
        return Some(("file://".to_owned(), rest));
    }
    let mut end = rest.find('/');
    if scheme.is_none()
        && let Some(colon) = rest.find(':').filter(|colon| *colon > 0)
        && end.is_none_or(|slash| colon < slash)
    {
        end = Some(colon);
    }
    let (host, path) = end.map_or((rest, ""), |end| (&rest[..=end], &rest[end + 1..]));
    if host.is_empty() {
        return None;
    }
    let host = match (is_github, scheme) {
        (true, Some(&"ssh://")) => format!("{user}github.com:"),
        (true, _) if !user.is_empty() => format!("{user}github.com:"),
        (true, _) => "https://github.com/".to_owned(),
        (false, scheme) => format!("{}{user}{host}", scheme.copied().unwrap_or_default()),
    };
    Some((host, path))
}

fn split_user(text: &str) -> (&str, &str) {
    let is_name = |name: &str| {
        name.starts_with(|char: char| char.is_ascii_alphabetic())
            && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '-')
    };
    match text.split_once('@') {
        Some((user, rest)) if is_name(user) => (&text[..=user.len()], rest),
        _ => ("", text),
    }
}

/// The repository and the path in it: by a marker (`_git/`, `//`, `.git`), else the first two names are the repository.
fn split_path(path: &str, whole: bool) -> Option<(&str, &str)> {
    if let Some(at) = path.find("_git/") {
        let end = path[at + 5..].find('/').map_or(path.len(), |slash| at + 5 + slash);
        return Some((&path[..end], path[end..].trim_start_matches('/')));
    }
    if let Some(at) = path.find("//") {
        return Some((&path[..at], &path[at + 2..]));
    }
    if let Some(at) = path.find(".git") {
        return Some(path.split_at(at + 4));
    }
    if whole {
        return Some((path, ""));
    }
    let second = path.find('/')?;
    Some(match path[second + 1..].find('/') {
        Some(third) => (&path[..second + 1 + third], &path[second + 2 + third..]),
        None => (path, ""),
    })
}

fn leaves_repository(path: &str) -> bool {
    let mut depth = 0i32;
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::GitReference;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(GitReference::parse(text).map(|reference| reference.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn references_are_told_from_paths() {
        check("../base", None);
        check("base/github.com/x", None);
        check("/abs/path", None);
        check("github.com/org/repo", Some("https://github.com/org/repo"));
        check("github.com/org/repo/a/b?ref=v1", Some("https://github.com/org/repo//a/b?ref=v1"));
        check("https://example.com/org/repo//a?version=x", Some("https://example.com/org/repo//a?ref=x"));
        check("git@example.com:org/repo.git/a", Some("git@example.com:org/repo.git//a"));
        check("ssh://git@github.com/org/repo", Some("git@github.com:org/repo"));
        check("https://example.com/org/repo//../x", None);
        check("https://example.com", None);
    }
}
