//! Putting several things into the store at once: everything is written beside its place, synced together, renamed in order, and
//! the directories synced together. The kernel then needs two commits of its journal, however many files there are.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    Digest, Store, manifest, name,
    store::{COPY_BYTES, LARGEST_MANIFEST_BYTES, StoreError, copy, io_error},
};

/// Syncs that wait for the disk at the same time.
const CONCURRENT_SYNCS: usize = 8;

/// Things on their way into the store. What is not committed is as if it had never been.
#[derive(Debug)]
pub struct Batch {
    store: Store,
    /// In the order in which they appear: what refers to something comes after it.
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    place: PathBuf,
    /// A complete file beside the store's own; None makes an empty file.
    file: Option<PathBuf>,
    /// The blob this is, where it is one.
    digest: Option<Digest>,
    /// Whether a file that is there already is replaced.
    replaces: bool,
}

impl Drop for Batch {
    fn drop(&mut self) {
        for path in self.items.iter().filter_map(|item| item.file.as_ref()) {
            let _ = fs::remove_file(path);
        }
    }
}

impl Batch {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, items: Vec::new() }
    }

    /// Adds all of `content` as a blob of `repository`: its digest and length.
    pub fn put_blob(&mut self, repository: &str, content: &mut dyn Read) -> Result<(Digest, u64), StoreError> {
        self.write_blob(repository, &mut |output| {
            copy(content, &mut |chunk| output.write_all(chunk).map_err(StoreError::Input)).map(|_| ())
        })
    }

    /// Adds what `write` writes as a blob of `repository`: its digest and length.
    pub fn put_blob_with(
        &mut self,
        repository: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(Digest, u64), StoreError> {
        self.write_blob(repository, &mut |output| write(output).map_err(StoreError::Input))
    }

    fn write_blob(
        &mut self,
        repository: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<(Digest, u64), StoreError> {
        self.store.check(repository)?;
        let path = self.store.new_file();
        let file = File::create_new(&path).map_err(io_error(&path))?;
        let mut output = Hashing { inner: BufWriter::with_capacity(COPY_BYTES, file), hasher: Sha256::new(), size: 0 };
        let written = write(&mut output).and_then(|()| output.flush().map_err(io_error(&path)));
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let digest = Digest::finish(output.hasher);
        self.add_blob(repository, path, digest);
        Ok((digest, output.size))
    }

    /// Adds the complete file at `path`, whose content is `digest`, as a blob of `repository`.
    pub(crate) fn add_blob(&mut self, repository: &str, path: PathBuf, digest: Digest) {
        let place = self.store.blob_path(&digest);
        self.items.push(Item { place, file: Some(path), digest: Some(digest), replaces: false });
        self.mark(self.store.part(repository, "_blobs").join(digest.hex()));
    }

    /// Adds an empty file.
    pub(crate) fn mark(&mut self, place: PathBuf) {
        self.items.push(Item { place, file: None, digest: None, replaces: false });
    }

    fn write(
        &mut self,
        place: PathBuf,
        content: &[u8],
        digest: Option<Digest>,
        replaces: bool,
    ) -> Result<(), StoreError> {
        let path = self.store.new_file();
        fs::write(&path, content).map_err(io_error(&path))?;
        self.items.push(Item { place, file: Some(path), digest, replaces });
        Ok(())
    }

    /// Shows blob `digest`, which must be in this batch or in the store, in `repository` too; false where it is in neither.
    pub fn link_blob(&mut self, repository: &str, digest: &Digest) -> Result<bool, StoreError> {
        self.store.check(repository)?;
        let there = self.blob_path(digest).exists();
        if there {
            self.mark(self.store.part(repository, "_blobs").join(digest.hex()));
        }
        Ok(there)
    }

    /// Takes over everything that `other` holds.
    pub fn append(&mut self, mut other: Batch) {
        self.items.append(&mut other.items);
    }

    /// Where the content of `digest` can be read: as long as it is in no place of its own, beside it.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let pending = self.items.iter().find(|item| item.digest.as_ref() == Some(digest));
        pending.and_then(|item| item.file.clone()).unwrap_or_else(|| self.store.blob_path(digest))
    }

    fn has_blob(&self, repository: &str, digest: &Digest) -> bool {
        let link = self.store.part(repository, "_blobs").join(digest.hex());
        self.items.iter().any(|item| item.place == link) || link.exists()
    }

    /// Adds a manifest, whose blobs must be there or in this batch, and lets `tag` point to it.
    pub fn put_manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        content: &[u8],
    ) -> Result<Digest, StoreError> {
        self.store.check(repository)?;
        if let Some(tag) = tag.filter(|tag| !name::is_tag(tag)) {
            return Err(StoreError::Tag(tag.to_owned()));
        }
        if content.len() > LARGEST_MANIFEST_BYTES {
            return Err(StoreError::Manifest("a manifest is 4 MiB long at most".into()));
        }
        let references = manifest::references(media_type, content).map_err(StoreError::Manifest)?;
        if let Some(missing) = references.blobs.iter().find(|blob| !self.has_blob(repository, blob)) {
            return Err(StoreError::MissingBlob(*missing));
        }
        let digest = Digest::of(content);
        self.write(self.store.blob_path(&digest), content, Some(digest), false)?;
        self.write(self.store.part(repository, "_manifests").join(digest.hex()), media_type.as_bytes(), None, false)?;
        if let Some(subject) = references.subject {
            self.mark(self.store.part(repository, "_referrers").join(subject.hex()).join(digest.hex()));
        }
        if let Some(tag) = tag {
            self.write(self.store.part(repository, "_tags").join(tag), digest.to_string().as_bytes(), None, true)?;
        }
        Ok(digest)
    }

    /// Puts everything in its place, for good.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let store = self.store.clone();
        let _adding = store.adding();
        self.items.retain(|item| {
            let there = !item.replaces && item.place.exists();
            if let (true, Some(path)) = (there, &item.file) {
                let _ = fs::remove_file(path);
            }
            !there
        });
        let files: Vec<PathBuf> = self.items.iter().filter_map(|item| item.file.clone()).collect();
        sync(&files)?;
        let mut directories = BTreeSet::new();
        for item in &self.items {
            make_parents(&item.place, &mut directories)?;
            match &item.file {
                Some(path) => fs::rename(path, &item.place),
                None => File::create(&item.place).map(|_| ()),
            }
            .map_err(io_error(&item.place))?;
        }
        self.items.clear();
        sync(&directories.into_iter().collect::<Vec<_>>())
    }
}

/// Makes the directories above `place`, and notes all those whose names have to be made durable.
fn make_parents(place: &Path, directories: &mut BTreeSet<PathBuf>) -> Result<(), StoreError> {
    let Some(parent) = place.parent() else { return Ok(()) };
    if !parent.is_dir() {
        make_parents(parent, directories)?;
        match fs::create_dir(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error(parent)(error)),
            _ => {}
        }
    }
    directories.insert(parent.to_owned());
    Ok(())
}

/// Syncs files or directories, several at a time: the kernel makes one commit of those that wait together.
fn sync(paths: &[PathBuf]) -> Result<(), StoreError> {
    let one = |path: &PathBuf| File::open(path).and_then(|file| file.sync_all()).map_err(io_error(path));
    for group in paths.chunks(CONCURRENT_SYNCS) {
        if let [path] = group {
            one(path)?;
            continue;
        }
        std::thread::scope(|scope| {
            let syncs: Vec<_> = group.iter().map(|path| scope.spawn(move || one(path))).collect();
            syncs.into_iter().try_for_each(|sync| sync.join().expect("syncing does not panic"))
        })?;
    }
    Ok(())
}

/// Hashes what passes through.
struct Hashing {
    inner: BufWriter<File>,
    hasher: Sha256,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(content)?;
        self.hasher.update(&content[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
