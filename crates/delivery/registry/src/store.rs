//! The registry's content on disk.
//!
//! ```text
//! blobs/sha256/ab/abcd...             every content once, manifests too
//! uploads/ID                          what is still coming in
//! repositories/NAME/_blobs/HEX        the blobs this repository may show (empty files)
//! repositories/NAME/_manifests/HEX    its manifests; the content is the media type
//! repositories/NAME/_tags/TAG         the content is a digest
//! repositories/NAME/_referrers/HEX/HEX  what is attached to a manifest (empty files)
//! ```
//! Everything is written beside its place, synced and renamed: what was acknowledged is whole and stays.
//! All functions block.

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::{RwLock, RwLockReadGuard};
use sha2::{Digest as _, Sha256};

use crate::{
    Batch, Digest, Reference,
    manifest::{self, Descriptor},
    name,
};

/// The longest manifest.
pub const LARGEST_MANIFEST_BYTES: usize = 4 << 20;
pub(crate) const COPY_BYTES: usize = 1 << 17;

/// Why content could not be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk did not do its part.
    #[error("{path}: {source}")]
    Io {
        /// The file concerned.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// What was to be stored could not be read.
    #[error("the content broke off: {0}")]
    Input(io::Error),
    /// Not a repository's name.
    #[error("{0:?} cannot be a repository: use lower-case letters and digits, joined by '.', '_', '-' and '/'")]
    Name(String),
    /// Not a tag.
    #[error("{0:?} cannot be a tag")]
    Tag(String),
    /// The content is not what was announced.
    #[error("the content's digest is {found}, not {expected}")]
    Digest {
        /// What was announced.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// There is no such upload.
    #[error("there is no upload {0:?}")]
    NoUpload(String),
    /// A chunk that does not begin where the last one ended.
    #[error("the upload stands at {at_bytes} bytes; the chunk begins at {offered_bytes}")]
    Offset {
        /// What is there.
        at_bytes: u64,
        /// Where the chunk begins.
        offered_bytes: u64,
    },
    /// Not a manifest, or not one that is kept here.
    #[error("{0}")]
    Manifest(String),
    /// A manifest names a blob that this repository does not have.
    #[error("blob {0} is not in this repository: push it first")]
    MissingBlob(Digest),
}

/// A stored manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of `content`.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// The very bytes that were put.
    pub content: Vec<u8>,
}

/// What garbage collection did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: usize,
    /// Their lengths together.
    pub bytes: u64,
    /// Uploads given up.
    pub uploads: usize,
}

/// The content store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// Read by whoever adds content, written by the collector: what is being added is never collected.
    collecting: RwLock<()>,
}

pub(crate) fn io_error(path: &Path) -> impl Fn(io::Error) -> StoreError + '_ {
    move |source| StoreError::Io { path: path.display().to_string(), source }
}

impl Store {
    /// The store in `directory`, which is made when it is not there.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let directory = directory.into();
        for part in ["blobs/sha256", "uploads", "repositories"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).map_err(io_error(&path))?;
        }
        Ok(Self { shared: Arc::new(Shared { directory, collecting: RwLock::new(()) }) })
    }

    /// Where the content of `digest` is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.shared.directory.join("blobs/sha256").join(&hex[..2]).join(&hex)
    }

    /// The length of the content of `digest`, where it is here at all, in whatever repository.
    pub fn blob_size_bytes(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.blob_path(digest)).ok().map(|metadata| metadata.len())
    }

    /// Whether `repository` has blob `digest`.
    pub fn has_blob(&self, repository: &str, digest: &Digest) -> bool {
        name::is_repository(repository) && self.part(repository, "_blobs").join(digest.hex()).exists()
    }

    /// Several things to store together.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Stores all of `content` as a blob of `repository`: its digest and length.
    pub fn put_blob(&self, repository: &str, content: &mut dyn Read) -> Result<(Digest, u64), StoreError> {
        let mut batch = self.batch();
        let stored = batch.put_blob(repository, content)?;
        batch.commit()?;
        Ok(stored)
    }

    /// Shows blob `digest`, which is here already, in `repository` too; false where it is not here.
    pub fn link_blob(&self, repository: &str, digest: &Digest) -> Result<bool, StoreError> {
        self.check(repository)?;
        if !self.blob_path(digest).exists() {
            return Ok(false);
        }
        let mut batch = self.batch();
        batch.mark(self.part(repository, "_blobs").join(digest.hex()));
        batch.commit()?;
        // A collection may have come in between.
        Ok(self.blob_path(digest).exists())
    }

    /// No longer shows blob `digest` in `repository`; false where it did not. The content goes with the next collection.
    pub fn delete_blob(&self, repository: &str, digest: &Digest) -> Result<bool, StoreError> {
        self.check(repository)?;
        remove(&self.part(repository, "_blobs").join(digest.hex()))
    }

    /// Begins an upload: its id.
    pub fn begin(&self, repository: &str) -> Result<String, StoreError> {
        self.check(repository)?;
        let id = uuid::Uuid::new_v4().to_string();
        let path = self.upload_path(&id);
        File::create_new(&path).map_err(io_error(&path))?;
        Ok(id)
    }

    fn upload_path(&self, id: &str) -> PathBuf {
        self.shared.directory.join("uploads").join(id)
    }

    fn open_upload(&self, id: &str) -> Result<(PathBuf, File), StoreError> {
        // Only what `begin` gives out can be a file name here.
        let known = uuid::Uuid::parse_str(id).is_ok_and(|uuid| uuid.to_string() == id);
        let path = self.upload_path(id);
        match known.then(|| File::options().read(true).append(true).open(&path)) {
            Some(Ok(file)) => Ok((path, file)),
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path)(error)),
            _ => Err(StoreError::NoUpload(id.chars().take(64).collect())),
        }
    }

    /// How much of an upload is here.
    pub fn upload_size_bytes(&self, id: &str) -> Result<u64, StoreError> {
        let (path, file) = self.open_upload(id)?;
        file.metadata().map(|metadata| metadata.len()).map_err(io_error(&path))
    }

    /// Adds a chunk to an upload, at `offset_bytes` where the client says so: the length then. A chunk that breaks off is taken
    /// back, so that the client can send it again.
    pub fn append(&self, id: &str, offset_bytes: Option<u64>, content: &mut dyn Read) -> Result<u64, StoreError> {
        let (path, mut file) = self.open_upload(id)?;
        let at_bytes = file.metadata().map_err(io_error(&path))?.len();
        if let Some(offered_bytes) = offset_bytes.filter(|offset| *offset != at_bytes) {
            return Err(StoreError::Offset { at_bytes, offered_bytes });
        }
        let copied = copy(content, &mut |chunk| file.write_all(chunk).map_err(io_error(&path)));
        if copied.is_err() {
            file.set_len(at_bytes).map_err(io_error(&path))?;
        }
        Ok(at_bytes + copied?)
    }

    /// Ends an upload, whose content must be `expected`.
    pub fn finish(&self, repository: &str, id: &str, expected: Digest) -> Result<(), StoreError> {
        self.check(repository)?;
        let (path, mut file) = self.open_upload(id)?;
        let mut hasher = Sha256::new();
        copy(&mut file, &mut |chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        let found = Digest::finish(hasher);
        if found != expected {
            fs::remove_file(&path).map_err(io_error(&path))?;
            return Err(StoreError::Digest { expected, found });
        }
        let mut batch = self.batch();
        batch.add_blob(repository, path, expected);
        batch.commit()
    }

    /// Gives an upload up.
    pub fn cancel(&self, id: &str) -> Result<(), StoreError> {
        let (path, _) = self.open_upload(id)?;
        fs::remove_file(&path).map_err(io_error(&path))
    }

    /// Stores a manifest, whose blobs must be there, and lets `tag` point to it.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        content: &[u8],
    ) -> Result<Digest, StoreError> {
        let mut batch = self.batch();
        let digest = batch.put_manifest(repository, tag, media_type, content)?;
        batch.commit()?;
        Ok(digest)
    }

    /// Where `tag` points.
    pub fn tag(&self, repository: &str, tag: &str) -> Result<Option<Digest>, StoreError> {
        self.check(repository)?;
        if !name::is_tag(tag) {
            return Ok(None);
        }
        let text = read(&self.part(repository, "_tags").join(tag))?;
        Ok(text.and_then(|text| String::from_utf8(text).ok()?.parse().ok()))
    }

    /// A manifest of `repository`.
    pub fn manifest(&self, repository: &str, reference: &Reference) -> Result<Option<Manifest>, StoreError> {
        self.check(repository)?;
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => match self.tag(repository, tag)? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        let Some(media_type) = read(&self.part(repository, "_manifests").join(digest.hex()))? else { return Ok(None) };
        let Some(content) = read(&self.blob_path(&digest))? else { return Ok(None) };
        Ok(Some(Manifest { digest, media_type: String::from_utf8_lossy(&media_type).into_owned(), content }))
    }

    /// Removes a tag, or a manifest with the tags that point to it; false where there is none.
    pub fn delete_manifest(&self, repository: &str, reference: &Reference) -> Result<bool, StoreError> {
        self.check(repository)?;
        let digest = match reference {
            Reference::Tag(tag) => return remove(&self.part(repository, "_tags").join(tag)),
            Reference::Digest(digest) => digest,
        };
        let Some(manifest) = self.manifest(repository, reference)? else { return Ok(false) };
        for tag in self.tags(repository)? {
            if self.tag(repository, &tag)? == Some(*digest) {
                remove(&self.part(repository, "_tags").join(tag))?;
            }
        }
        if let Ok(manifest::References { subject: Some(subject), .. }) =
            manifest::references(&manifest.media_type, &manifest.content)
        {
            remove(&self.part(repository, "_referrers").join(subject.hex()).join(digest.hex()))?;
        }
        remove(&self.part(repository, "_manifests").join(digest.hex()))
    }

    /// The tags of `repository`, sorted. Empty where there is no such repository.
    pub fn tags(&self, repository: &str) -> Result<Vec<String>, StoreError> {
        self.check(repository)?;
        names(&self.part(repository, "_tags"))
    }

    /// Whether anything was ever put into `repository`.
    pub fn has_repository(&self, repository: &str) -> bool {
        name::is_repository(repository) && self.shared.directory.join("repositories").join(repository).is_dir()
    }

    /// The names of all repositories that hold a manifest, sorted.
    pub fn repositories(&self) -> Result<Vec<String>, StoreError> {
        let root = self.shared.directory.join("repositories");
        let mut found = Vec::new();
        let mut waiting = vec![String::new()];
        while let Some(at) = waiting.pop() {
            for name in names(&root.join(&at))? {
                if name == "_manifests" {
                    found.push(at.clone());
                } else if !name.starts_with('_') {
                    waiting.push(if at.is_empty() { name } else { format!("{at}/{name}") });
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// What is attached to the manifest `subject`, by digest.
    pub fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.check(repository)?;
        let mut found = Vec::new();
        for hex in names(&self.part(repository, "_referrers").join(subject.hex()))? {
            let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
            let Some(manifest) = self.manifest(repository, &Reference::Digest(digest))? else { continue };
            let references = manifest::references(&manifest.media_type, &manifest.content).unwrap_or_default();
            found.push(Descriptor {
                media_type: manifest.media_type,
                digest,
                size: manifest.content.len() as u64,
                artifact_type: references.artifact_type,
                annotations: references.annotations,
            });
        }
        Ok(found)
    }

    /// Removes every blob that no manifest refers to, `keep` does not want and that is older than `before`, and every upload that
    /// stood still since then. Manifests stay, tagged or not, until they are deleted.
    pub fn collect(&self, keep: &dyn Fn(&Digest) -> bool, before: SystemTime) -> Result<Collected, StoreError> {
        let _collecting = self.shared.collecting.write();
        let mut wanted = std::collections::HashSet::new();
        let repositories = self.repositories()?;
        for repository in &repositories {
            for hex in names(&self.part(repository, "_manifests"))? {
                let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
                wanted.insert(digest);
                if let Some(manifest) = self.manifest(repository, &Reference::Digest(digest))? {
                    let references = manifest::references(&manifest.media_type, &manifest.content).unwrap_or_default();
                    wanted.extend(references.blobs.into_iter().chain(references.manifests));
                }
            }
        }
        let mut collected = Collected::default();
        let blobs = self.shared.directory.join("blobs/sha256");
        for prefix in names(&blobs)? {
            for hex in names(&blobs.join(&prefix))? {
                let path = blobs.join(&prefix).join(&hex);
                let digest = format!("sha256:{hex}").parse::<Digest>().ok();
                let metadata = fs::metadata(&path).map_err(io_error(&path))?;
                let old = metadata.modified().is_ok_and(|modified| modified < before);
                // What is no digest is a file that a power cut kept from its place.
                let unwanted = digest.is_none_or(|digest| !wanted.contains(&digest) && !keep(&digest));
                if old && unwanted {
                    remove(&path)?;
                    collected.blobs += 1;
                    collected.bytes += metadata.len();
                }
            }
        }
        self.remove_dangling_links(&repositories)?;
        let uploads = self.shared.directory.join("uploads");
        for id in names(&uploads)? {
            let path = uploads.join(id);
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).map_err(io_error(&path))?;
            if modified < before && remove(&path)? {
                collected.uploads += 1;
            }
        }
        Ok(collected)
    }

    fn remove_dangling_links(&self, repositories: &[String]) -> Result<(), StoreError> {
        for repository in repositories {
            let links = self.part(repository, "_blobs");
            for hex in names(&links)? {
                let digest = format!("sha256:{hex}").parse::<Digest>();
                if digest.is_ok_and(|digest| !self.blob_path(&digest).exists()) {
                    remove(&links.join(hex))?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn check(&self, repository: &str) -> Result<(), StoreError> {
        if name::is_repository(repository) {
            Ok(())
        } else {
            Err(StoreError::Name(repository.chars().take(300).collect()))
        }
    }

    /// A directory of a repository whose name was checked.
    pub(crate) fn part(&self, repository: &str, part: &str) -> PathBuf {
        self.shared.directory.join("repositories").join(repository).join(part)
    }

    /// A name for a file that is not in its place yet.
    pub(crate) fn new_file(&self) -> PathBuf {
        self.upload_path(&uuid::Uuid::new_v4().to_string())
    }

    /// Keeps the collector away while content is added.
    pub(crate) fn adding(&self) -> RwLockReadGuard<'_, ()> {
        self.shared.collecting.read()
    }
}

pub(crate) fn copy(
    input: &mut dyn Read,
    take: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut total = 0;
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                take(&buffer[..read])?;
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreError::Input(error)),
        }
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error(path)(error)),
    }
}

/// The names in a directory, sorted; none where there is no such directory.
fn names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error(directory))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
