//! `coracle restore`: a data directory from a backup, as it was at its end, at a revision, or at a moment.

use std::{
    fs::{self, File},
    io::BufReader,
    sync::Arc,
};

use anyhow::{Context, ensure};
use coracle_apiserver::{encryption::Encryption, own::ENCRYPTION_KEYS};
use coracle_clock::SystemClock;
use coracle_store::{Contents, Options, Until};
use jiff::Timestamp;

use crate::{
    cli::Restore,
    paths::DataDir,
    state::{self, write_whole},
};

pub fn run(dir: &DataDir, restore: &Restore) -> anyhow::Result<()> {
    ensure!(
        !state::is_running(dir),
        "an engine runs in {}: end it with `coracle down` first, or name another place with --data-dir",
        dir.root().display()
    );
    let file = &restore.file;
    let opened = File::open(file).with_context(|| format!("backup {}", file.display()))?;
    let contents = Contents::read(BufReader::new(opened)).with_context(|| format!("backup {}", file.display()))?;
    let until = restore.to.as_deref().map(until).transpose()?.unwrap_or_default();
    dir.create().with_context(|| format!("data directory {}", dir.root().display()))?;
    bring_keys(dir, restore, &contents)?;
    let encryption = Encryption::load_or_create(&dir.encryption(), Arc::new(SystemClock))?;
    let options =
        Options { sealer: Some(Arc::new(encryption)), clock: Some(Arc::new(SystemClock)), ..Options::default() };
    let restored = contents.restore(&dir.store(), &coracle_store::Restore { options, until })?;
    println!("{} objects are in {}. `coracle up` starts with them", restored.objects, dir.root().display());
    Ok(())
}

/// The keys that were named, or else those in the backup where the directory has none.
fn bring_keys(dir: &DataDir, restore: &Restore, contents: &Contents) -> anyhow::Result<()> {
    let own = dir.encryption();
    if let Some(keys) = &restore.keys {
        let named = fs::read(keys).with_context(|| format!("keys {}", keys.display()))?;
        ensure!(
            !own.exists() || fs::read(&own)? == named,
            "{} holds other keys already: restore into an empty directory, or move it away",
            own.display()
        );
        return write_whole(&own, &named, 0o600);
    }
    let within = contents.more.iter().find(|(name, _)| name == ENCRYPTION_KEYS);
    match within {
        Some((_, keys)) if !own.exists() => write_whole(&own, keys, 0o600),
        _ => Ok(()),
    }
}

fn until(text: &str) -> anyhow::Result<Until> {
    if let Ok(revision) = text.parse() {
        return Ok(Until { revision: Some(revision), unix_ms: None });
    }
    let moment: Timestamp = text
        .parse()
        .with_context(|| format!("{text:?} is neither a revision nor a moment such as 2026-11-28T05:00:00Z"))?;
    let unix_ms = u64::try_from(moment.as_millisecond()).context("a moment after 1970")?;
    Ok(Until { revision: None, unix_ms: Some(unix_ms) })
}
