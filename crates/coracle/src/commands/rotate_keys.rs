//! `coracle rotate-keys`: a fresh key for secrets on the disk, and all of them written anew with it.

use anyhow::Context;
use serde_json::Value;

use crate::paths::DataDir;

pub fn run(dir: &DataDir) -> anyhow::Result<()> {
    let answer: Value = super::block_on(async {
        let client = super::client(dir).await?;
        let request = http::Request::post("/coracle/v1/encryption/rotate").body(Vec::new())?;
        client.request(request).await.context("rotating the keys")
    })?;
    println!("secrets are encrypted with {} from now on", answer["key"].as_str().unwrap_or("another key"));
    println!("Older keys stay in {}: backups made before need them", dir.encryption().display());
    Ok(())
}
