//! A disk that is soon full: a file system in memory with a limit.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Unmounted when dropped.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// One that holds so many MiB.
    pub fn new(size_mib: usize) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("coracle-disk-").tempdir()?;
        let options = format!("size={size_mib}m,mode=0755");
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .context("mounting a small file system")?;
        Ok(Self(dir))
    }

    /// A directory on it.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file until nothing more fits.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut filler = File::create(self.filler())?;
        for size in [1 << 20, 1 << 12, 1] {
            let piece = vec![0; size];
            let full = loop {
                if let Err(error) = filler.write_all(&piece) {
                    break error;
                }
            };
            ensure!(full.kind() == ErrorKind::StorageFull, "filling the disk: {full}");
        }
        Ok(())
    }

    /// Takes that file away again.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        Path::join(self.0.path(), "filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = umount2(self.0.path(), MntFlags::MNT_DETACH) {
            eprintln!("unmounting {}: {error}", self.0.path().display());
        }
    }
}
