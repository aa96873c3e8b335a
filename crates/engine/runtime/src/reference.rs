//! Image names as people write them, and what they stand for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The words `InvalidImageName` goes with.
    #[error("couldn't parse image name {name:?}: invalid reference format{detail}")]
    Format { name: String, detail: &'static str },
    #[error("{0:?} is not a sha256 digest")]
    Digest(String),
}

/// `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without `sha256:`.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    pub(crate) fn of_hash(hash: &[u8]) -> Self {
        use fmt::Write;
        let mut text = String::from("sha256:");
        for byte in hash {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::of_hash(&sha2::Sha256::digest(bytes))
    }
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let good = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if good { Ok(Self(text.to_owned())) } else { Err(ReferenceError::Digest(text.to_owned())) }
    }
}

impl TryFrom<String> for Digest {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A whole name: registry, repository, and a tag or a digest or both (then the digest counts).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl Reference {
    /// `registry/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What comes after `/manifests/`.
    pub fn manifest_name(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// The same repository at this digest.
    pub fn at(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Whether `imagePullPolicy` defaults to `Always`.
    pub fn is_latest(&self) -> bool {
        self.digest.is_none() && self.manifest_name() == DEFAULT_TAG
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(name: &str) -> Result<Self, ReferenceError> {
        let bad = |detail| ReferenceError::Format { name: name.to_owned(), detail };
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| bad(": invalid digest"))?)),
            None => (name, None),
        };
        // A colon after the last slash begins a tag; one before it a port.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad(": invalid tag"));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            Some(_) => (DEFAULT_REGISTRY, path.to_owned()),
            None => (DEFAULT_REGISTRY, format!("{DEFAULT_NAMESPACE}/{path}")),
        };
        if repository.len() > MAX_NAME_BYTES || path.is_empty() || !repository.split('/').all(is_component) {
            let upper = repository.contains(|c: char| c.is_ascii_uppercase());
            return Err(bad(if upper { ": repository name must be lowercase" } else { "" }));
        }
        if !registry.chars().all(|c| c.is_ascii_alphanumeric() || "-.:[]".contains(c)) {
            return Err(bad(""));
        }
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= MAX_TAG_BYTES
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Lower-case words, with single dots, one or two underscores or any number of hyphens between.
fn is_component(component: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    component.starts_with(word)
        && component.ends_with(word)
        && component.chars().all(|c| word(c) || "._-".contains(c))
        && !["..", "___", "._", "_.", ".-", "-.", "_-", "-_"].iter().any(|pair| component.contains(pair))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(names: &[&str], expected: Expect) {
        let shown = names.iter().map(|name| match name.parse::<Reference>() {
            Ok(reference) => format!("{name} -> {reference}\n"),
            Err(error) => format!("{error}\n"),
        });
        expected.assert_eq(&shown.collect::<String>());
    }

    #[test]
    fn names() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        check(
            &[
                "nginx",
                "nginx:1.27",
                "user/app",
                "localhost/app:v1",
                "localhost:5000/app",
                "127.0.0.1:7070/a/b/c:x",
                "registry.coracle.internal/hello",
                "index.docker.io/library/nginx",
                &format!("quay.io/a/b:tag@{digest}"),
                &format!("a@{digest}"),
            ],
            expect![[r#"
                nginx -> docker.io/library/nginx:latest
                nginx:1.27 -> docker.io/library/nginx:1.27
                user/app -> docker.io/user/app:latest
                localhost/app:v1 -> localhost/app:v1
                localhost:5000/app -> localhost:5000/app:latest
                127.0.0.1:7070/a/b/c:x -> 127.0.0.1:7070/a/b/c:x
                registry.coracle.internal/hello -> registry.coracle.internal/hello:latest
                index.docker.io/library/nginx -> docker.io/library/nginx:latest
                quay.io/a/b:tag@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a -> quay.io/a/b:tag@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
                a@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a -> docker.io/library/a@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
            "#]],
        );
    }

    #[test]
    fn what_is_no_name() {
        check(
            &["", "Nginx", "a//b", "a/../b", "app:", "app:-x", "app@sha256:12", "-a", "a b"],
            expect![[r#"
                couldn't parse image name "": invalid reference format
                couldn't parse image name "Nginx": invalid reference format: repository name must be lowercase
                couldn't parse image name "a//b": invalid reference format
                couldn't parse image name "a/../b": invalid reference format
                couldn't parse image name "app:": invalid reference format: invalid tag
                couldn't parse image name "app:-x": invalid reference format: invalid tag
                couldn't parse image name "app@sha256:12": invalid reference format: invalid digest
                couldn't parse image name "-a": invalid reference format
                couldn't parse image name "a b": invalid reference format
            "#]],
        );
    }
}
