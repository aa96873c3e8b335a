//! What a manifest says, in the four forms it may have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reference::Digest;

/// What we ask for, the newer forms first.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

const OS: &str = "linux";
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("no match for platform in manifest: {os}/{architecture} is not among {offered}", os = OS, architecture = ARCHITECTURE)]
    Platform { offered: String },
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0} is not a kind of manifest that can be run")]
    MediaType(String),
}

/// A blob by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    #[serde(default)]
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
}

/// Either an image, or where to find the one for this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ManifestOrIndex {
    Manifest(Manifest),
    Elsewhere(Descriptor),
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

impl ManifestOrIndex {
    pub fn parse(body: &[u8]) -> Result<Self, ManifestError> {
        let value: serde_json::Value = serde_json::from_slice(body)?;
        if value.get("manifests").is_some() {
            return choose(serde_json::from_value::<Index>(value)?.manifests).map(Self::Elsewhere);
        }
        if value.get("layers").is_none() {
            let kind =
                value.get("mediaType").or(value.get("schemaVersion")).map(ToString::to_string).unwrap_or_default();
            return Err(ManifestError::MediaType(kind));
        }
        Ok(Self::Manifest(serde_json::from_value(value)?))
    }
}

/// The entry for this machine. One without a platform is taken where there is no other.
fn choose(manifests: Vec<Descriptor>) -> Result<Descriptor, ManifestError> {
    let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.os == OS && p.architecture == ARCHITECTURE);
    let found = manifests.iter().find(fits).or_else(|| manifests.iter().find(|d| d.platform.is_none()));
    found.cloned().ok_or_else(|| {
        let name = |p: &Platform| match &p.variant {
            Some(variant) => format!("{}/{}/{variant}", p.os, p.architecture),
            None => format!("{}/{}", p.os, p.architecture),
        };
        let offered: Vec<String> = manifests.iter().filter_map(|d| d.platform.as_ref()).map(name).collect();
        ManifestError::Platform { offered: offered.join(", ") }
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(body: serde_json::Value, expected: Expect) {
        let shown = match ManifestOrIndex::parse(body.to_string().as_bytes()) {
            Ok(ManifestOrIndex::Manifest(m)) => format!("image with {} layers", m.layers.len()),
            Ok(ManifestOrIndex::Elsewhere(d)) => format!("see {}", &d.digest.hex()[..2]),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    fn digest(byte: &str) -> String {
        format!("sha256:{}", byte.repeat(32))
    }

    #[test]
    fn forms() {
        check(
            json!({"config": {"digest": digest("aa"), "size": 1}, "layers": [{"digest": digest("bb"), "size": 2}]}),
            expect!["image with 1 layers"],
        );
        let entry = |byte: &str, os: &str, arch: &str| json!({"digest": digest(byte), "platform": {"os": os, "architecture": arch}});
        check(
            json!({"manifests": [entry("aa", "linux", "s390x"), entry("bb", "linux", ARCHITECTURE)]}),
            expect!["see bb"],
        );
        check(
            json!({"manifests": [entry("aa", "linux", "s390x"), entry("bb", "windows", "amd64")]}),
            expect!["no match for platform in manifest: linux/amd64 is not among linux/s390x, windows/amd64"],
        );
        check(json!({"schemaVersion": 1, "fsLayers": []}), expect!["1 is not a kind of manifest that can be run"]);
    }
}
