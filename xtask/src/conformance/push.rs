//! Pushing an image of one layer to the engine's registry: its HTTP interface on loopback, spoken plainly.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use coracle_harness::Engine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) struct Registry {
    address: String,
    authorization: String,
}

impl Registry {
    pub(super) fn of(engine: &Engine) -> anyhow::Result<Self> {
        let token = fs::read_to_string(engine.dir().join("token"))?;
        Ok(Self {
            address: engine.url("registry").trim_start_matches("http://").trim_end_matches('/').to_owned(),
            authorization: format!("Basic {}", BASE64_STANDARD.encode(format!("coracle:{}", token.trim()))),
        })
    }

    /// Pushes an image as `name:tag`.
    pub(super) fn push(&self, reference: &str, layer: &[u8], config: &Value) -> anyhow::Result<()> {
        let (name, tag) = reference.rsplit_once(':').context("an image without a tag")?;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        });
        let config = config.to_string().into_bytes();
        let described = |kind: &str, bytes: &[u8]| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({"mediaType": media_type, "size": bytes.len(), "digest": digest(bytes)})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("config.v1+json", &config),
            "layers": [described("layer.v1.tar", layer)],
        });
        for blob in [&config[..], layer] {
            let path = format!("/v2/{name}/blobs/uploads/?digest={}", digest(blob));
            self.send("POST", &path, "application/octet-stream", blob)?;
        }
        let path = format!("/v2/{name}/manifests/{tag}");
        self.send("PUT", &path, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())
    }

    fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(&self.address)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            self.authorization,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.split(' ').nth(1) {
            Some("201") => Ok(()),
            _ => bail!("{method} {path}: {}", answer.lines().next().unwrap_or_default()),
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
