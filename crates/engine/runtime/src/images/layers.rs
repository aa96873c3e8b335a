//! Unpacked layers by diff id: each is made once, appears whole or not at all, and survives a power cut or is made again.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::unpack::unpack;
use crate::{files, reference::Digest};

/// A layer that was asked for within this time is not garbage, whether anything names it or not.
const RECENT: Duration = Duration::from_secs(3600);
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("failed to extract layer {diff_id}: {source}")]
    Unpack { diff_id: Digest, source: io::Error },
    #[error("blob has digest {actual}, expected {expected}")]
    BlobDigest { expected: Digest, actual: Digest },
    #[error("layer has diff id {actual}, expected {expected}")]
    DiffId { expected: Digest, actual: Digest },
}

pub(super) struct Layers {
    directory: PathBuf,
    /// Markers of layers that may not have reached the disk, with the boot they were made in.
    unsynced: PathBuf,
    boot_id: String,
    making: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    used: Mutex<HashMap<Digest, Instant>>,
}

impl Layers {
    pub fn open(images: &Path) -> io::Result<Self> {
        let layers = Self {
            directory: images.join("layers"),
            unsynced: images.join("unsynced"),
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            making: Mutex::default(),
            used: Mutex::default(),
        };
        fs::create_dir_all(&layers.directory)?;
        fs::create_dir_all(&layers.unsynced)?;
        for entry in fs::read_dir(&layers.directory)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".tmp-") {
                files::remove_tree(&entry.path())?;
            }
        }
        for entry in fs::read_dir(&layers.unsynced)?.flatten() {
            match fs::read_to_string(entry.path()) {
                Ok(boot_id) if boot_id != layers.boot_id => {
                    files::remove_tree(&layers.directory.join(entry.file_name()))?;
                    fs::remove_file(entry.path())?;
                }
                // Made since this machine started: still in its memory, if not on its disk. The next sync takes the marker away.
                Ok(_) => {}
                // Synced just now, by an earlier opening of the same store.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(layers)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(diff_id.hex())
    }

    /// Whether it is there; if so it is safe from garbage collection for a while.
    pub fn has(&self, diff_id: &Digest) -> bool {
        let present = self.path(diff_id).is_dir();
        if present {
            self.used.lock().insert(diff_id.clone(), Instant::now());
        }
        present
    }

    /// Whoever holds this makes the layer; others wait, and then find it.
    pub async fn turn(&self, diff_id: &Digest) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.making.lock().entry(diff_id.clone()).or_default().clone();
        turn.lock_owned().await
    }

    /// Forgets the turns nobody waits for.
    pub fn tidy_turns(&self) {
        self.making.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
    }

    /// Unpacks `blob`, packed or not, checking both digests on the way. Blocks. Returns the bytes its files hold.
    pub fn make(&self, diff_id: &Digest, blob_digest: Option<&Digest>, blob: impl Read) -> Result<u64, LayerError> {
        let failed = |source| LayerError::Unpack { diff_id: diff_id.clone(), source };
        let target = self.path(diff_id);
        let temporary = files::temporary_beside(&target);
        fs::create_dir_all(&temporary).map_err(failed)?;
        let result = self.make_in(diff_id, blob_digest, blob, &temporary).and_then(|bytes| {
            fs::write(self.unsynced.join(diff_id.hex()), &self.boot_id).map_err(failed)?;
            match fs::rename(&temporary, &target) {
                // Made meanwhile by somebody else: as good.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                renamed => renamed.map_err(failed)?,
            }
            self.used.lock().insert(diff_id.clone(), Instant::now());
            Ok(bytes)
        });
        let _ = files::remove_tree(&temporary);
        result
    }

    fn make_in(
        &self,
        diff_id: &Digest,
        blob_digest: Option<&Digest>,
        blob: impl Read,
        target: &Path,
    ) -> Result<u64, LayerError> {
        let failed = |source| LayerError::Unpack { diff_id: diff_id.clone(), source };
        let mut packed = BufReader::with_capacity(64 << 10, Hashing::new(blob));
        let kind = io::BufRead::fill_buf(&mut packed).map_err(failed)?;
        let (mut unpacked, bytes): (Hashing<Box<dyn Read + '_>>, u64);
        let decoder: Box<dyn Read> = if kind.starts_with(GZIP_MAGIC) {
            Box::new(flate2::bufread::MultiGzDecoder::new(&mut packed))
        } else if kind.starts_with(ZSTD_MAGIC) {
            Box::new(zstd::Decoder::with_buffer(&mut packed).map_err(failed)?)
        } else {
            Box::new(&mut packed)
        };
        unpacked = Hashing::new(decoder);
        bytes = unpack(&mut unpacked, target).map_err(failed)?;
        // What follows the end of the archive counts for the digest.
        io::copy(&mut unpacked, &mut io::sink()).map_err(failed)?;
        let actual = unpacked.finish();
        // A truncated or padded download shows in the blob's digest; that is the better message.
        io::copy(&mut packed, &mut io::sink()).map_err(failed)?;
        let blob_actual = packed.into_inner().finish();
        match blob_digest {
            Some(expected) if *expected != blob_actual => {
                return Err(LayerError::BlobDigest { expected: expected.clone(), actual: blob_actual });
            }
            _ => {}
        }
        if actual != *diff_id {
            return Err(LayerError::DiffId { expected: diff_id.clone(), actual });
        }
        Ok(bytes)
    }

    /// Brings new layers to the disk and forgets their markers. Blocks, perhaps for seconds.
    pub fn sync(&self) -> io::Result<()> {
        let markers: Vec<_> = fs::read_dir(&self.unsynced)?.flatten().map(|entry| entry.path()).collect();
        if markers.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(File::open(&self.directory)?)?;
        markers.iter().try_for_each(|marker| match fs::remove_file(marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    /// Removes the layers that are neither in `keep` nor asked for lately. Returns how many.
    pub fn collect(&self, keep: &BTreeSet<String>) -> io::Result<usize> {
        let mut removed = 0;
        self.used.lock().retain(|_, when| when.elapsed() < RECENT);
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(diff_id) = format!("sha256:{name}").parse::<Digest>() else { continue };
            if keep.contains(diff_id.as_str()) || self.used.lock().contains_key(&diff_id) {
                continue;
            }
            // Out of sight first: nobody must find half a layer.
            let doomed = files::temporary_beside(&entry.path());
            fs::rename(entry.path(), &doomed)?;
            files::remove_tree(&doomed)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Of use where a layer is known to be wanted no more.
    pub fn forget_use(&self, diff_ids: &[Digest]) {
        let mut used = self.used.lock();
        for diff_id in diff_ids {
            used.remove(diff_id);
        }
    }
}

/// Counts the digest of what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn finish(self) -> Digest {
        Digest::of_hash(&self.hash.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}
