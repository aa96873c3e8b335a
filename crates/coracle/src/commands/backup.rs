//! `coracle backup`: everything the API server holds, in one file, while it runs.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, ensure};
use coracle_store::Contents;
use http_body_util::BodyExt;

use crate::{cli::Backup, paths::DataDir};

pub fn run(dir: &DataDir, backup: &Backup) -> anyhow::Result<()> {
    let partial = backup.file.with_extension("partial");
    let fetched = super::block_on(fetch(dir, &partial, backup.with_keys));
    let checked = fetched.and_then(|()| check(&partial));
    if checked.is_err() {
        fs::remove_file(&partial).ok();
    }
    let revision = checked?;
    fs::rename(&partial, &backup.file).with_context(|| format!("writing {}", backup.file.display()))?;
    let bytes = fs::metadata(&backup.file)?.len();
    println!("{}: everything up to revision {revision}, {bytes} bytes", backup.file.display());
    if !backup.with_keys {
        println!("Secrets in it stay encrypted. Keep a copy of their keys too: {}", dir.encryption().display());
    }
    Ok(())
}

async fn fetch(dir: &DataDir, to: &Path, with_keys: bool) -> anyhow::Result<()> {
    let client = super::client(dir).await?;
    let path = if with_keys { "/coracle/v1/backup?keys=true" } else { "/coracle/v1/backup" };
    let request = http::Request::get(path).body(kube::client::Body::empty())?;
    let answer = client.send(request).await?;
    ensure!(answer.status().is_success(), "the engine answers with {}", answer.status());
    let mut options = OpenOptions::new();
    let file = options.create(true).write(true).truncate(true).mode(0o600).open(to);
    let mut file = BufWriter::new(file.with_context(|| format!("writing {}", to.display()))?);
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("the engine broke off")?.into_data() {
            file.write_all(&data).with_context(|| format!("writing {}", to.display()))?;
        }
    }
    file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(())
}

/// A backup is worth something only once it has been read; the newest revision in it.
fn check(file: &Path) -> anyhow::Result<u64> {
    let opened = File::open(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(Contents::read(BufReader::new(opened))?.revision)
}
