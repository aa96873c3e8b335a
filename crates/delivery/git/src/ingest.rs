//! Taking in a pushed pack: it is indexed and checked in a quarantine directory of its own, and becomes part of the repository
//! only when every object in it is sound and everything it names is here. So whatever is in the repository is whole,
//! and a push that breaks off leaves no trace.

use std::{
    collections::HashSet,
    fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gix::{
    ObjectId,
    objs::{Kind, TreeRefIter, tree::EntryKind},
};
use gix_pack::{Bundle, bundle::write::Options, data::input::Mode};

use crate::{
    GitError, Repository, durable,
    objects::{self, Handle},
    repository::LARGEST_OBJECT_BYTES,
};

/// Objects between the repository and the world. Removed from disk when dropped, unless accepted.
pub struct Quarantine {
    directory: PathBuf,
    /// Where the pack's files are; None where it was empty.
    pack: Option<PathBuf>,
    /// How many objects came.
    pub object_count: u32,
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "a quarantine directory is left behind");
        }
    }
}

impl Quarantine {
    /// Reads a pack from `input` and indexes it. Missing delta bases are taken from the repository.
    pub fn receive(repository: &Repository, input: &mut dyn Read, limit_bytes: u64) -> Result<Self, GitError> {
        let directory = new_directory(&repository.path().join("incoming"))?;
        let mut quarantine = Self { directory, pack: None, object_count: 0 };
        let packs = quarantine.directory.join("pack");
        fs::create_dir_all(&packs).map_err(GitError::io(&packs))?;
        let mut limited = Limited { inner: input, left_bytes: limit_bytes, exceeded: false };
        let written = Bundle::write_to_directory(
            &mut BufReader::with_capacity(1 << 16, &mut limited) as &mut dyn BufRead,
            Some(&packs),
            &mut gix::utils::progress::Discard,
            &AtomicBool::new(false),
            Some(repository.objects()),
            gix::hash::Kind::Sha1,
            Options {
                thread_limit: Some(1),
                iteration_mode: Mode::Verify,
                alloc_limit_bytes: usize::try_from(LARGEST_OBJECT_BYTES).ok(),
                ..Default::default()
            },
        );
        if limited.exceeded {
            let mib = limit_bytes >> 20;
            return Err(GitError::Pack(format!("the push is larger than the {mib} MiB allowed here")));
        }
        let outcome =
            written.map_err(|error| GitError::Pack(format!("the pack cannot be taken in: {}", innermost(&error))))?;
        quarantine.object_count = outcome.index.num_objects;
        quarantine.pack = outcome.data_path;
        Ok(quarantine)
    }

    /// The repository as it would be with the quarantined objects in it.
    pub fn over(&self, repository: &Repository) -> Result<Repository, GitError> {
        let info = self.directory.join("info");
        fs::create_dir_all(&info).map_err(GitError::io(&info))?;
        let own = repository.path().join("objects").canonicalize().map_err(GitError::io(repository.path()))?;
        fs::write(info.join("alternates"), format!("{}\n", own.display())).map_err(GitError::io(&info))?;
        repository.with_objects(&self.directory)
    }

    /// Checks that every object that came is sound and that everything it names is here.
    pub fn verify(&self, objects: &Handle) -> Result<(), GitError> {
        let Some(pack) = &self.pack else { return Ok(()) };
        let bundle = Bundle::at(pack.with_extension("idx"), gix::hash::Kind::Sha1)
            .map_err(|error| GitError::Pack(format!("the pack is broken: {}", innermost(&error))))?;
        let mut present: HashSet<ObjectId> = bundle.index.iter().map(|entry| entry.oid).collect();
        let arrived: Vec<ObjectId> = present.iter().copied().collect();
        let mut buffer = Vec::new();
        for id in arrived {
            let (kind, data) = objects::read(objects, id, &mut buffer)?.ok_or(GitError::Missing(id))?;
            for named in names_in(id, kind, data)? {
                if !present.contains(&named) {
                    if objects::header(objects, named)?.is_none() {
                        return Err(GitError::Pack(missing(id, kind, named)));
                    }
                    present.insert(named);
                }
            }
        }
        Ok(())
    }

    /// Makes the objects part of the repository, for good.
    pub fn accept(self, repository: &Repository) -> Result<(), GitError> {
        let Some(pack) = &self.pack else { return Ok(()) };
        let packs = repository.path().join("objects/pack");
        let name = pack.file_name().map(PathBuf::from).unwrap_or_default();
        // The index goes last: a pack without one is not there for any reader.
        for extension in ["pack", "idx"] {
            let from = pack.with_extension(extension);
            durable::publish(&from, &packs.join(name.with_extension(extension))).map_err(GitError::io(&from))?;
        }
        durable::sync_directory(&packs).map_err(GitError::io(&packs))
    }
}

fn missing(id: ObjectId, kind: Kind, named: ObjectId) -> String {
    match kind {
        Kind::Commit => format!(
            "commit {id} names {named}, which is not here; if your clone is shallow, run: git fetch --unshallow"
        ),
        kind => format!("{kind} {id} names {named}, which is neither here nor in the push"),
    }
}

/// The objects that an object names. An error where it is not what its kind should look like.
fn names_in(id: ObjectId, kind: Kind, data: &[u8]) -> Result<Vec<ObjectId>, GitError> {
    match kind {
        Kind::Blob => Ok(Vec::new()),
        Kind::Commit => {
            let commit = objects::parse_commit(id, data)?;
            Ok(commit.parents.into_iter().chain([commit.tree]).collect())
        }
        Kind::Tag => Ok(vec![objects::tag_target(id, data)?]),
        Kind::Tree => names_in_tree(id, data),
    }
}

fn names_in_tree(id: ObjectId, data: &[u8]) -> Result<Vec<ObjectId>, GitError> {
    let mut names = HashSet::new();
    let mut ids = Vec::new();
    for entry in TreeRefIter::from_bytes(data, gix::hash::Kind::Sha1) {
        let entry = entry.map_err(GitError::object(id))?;
        let name: &[u8] = entry.filename;
        let refused = match name {
            b"" | b"." | b".." => Some("is not a file name"),
            _ if name.eq_ignore_ascii_case(b".git") => Some("is not allowed"),
            _ if name.contains(&b'/') => Some("contains a slash"),
            _ if !names.insert(name) => Some("appears twice"),
            _ => None,
        };
        if let Some(why) = refused {
            return Err(GitError::Pack(format!("tree {id}: the name {:?} {why}", entry.filename)));
        }
        if entry.mode.kind() != EntryKind::Commit {
            ids.push(entry.oid.to_owned());
        }
    }
    Ok(ids)
}

/// The cause at the bottom says what is wrong; the layers above only say that something is.
fn innermost(error: &gix::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// A fresh directory in `parent`, which no other push uses.
fn new_directory(parent: &Path) -> Result<PathBuf, GitError> {
    fs::create_dir_all(parent).map_err(GitError::io(parent))?;
    for number in 0.. {
        let path = parent.join(format!("{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(GitError::io(&path)(error)),
        }
    }
    unreachable!("a directory holds fewer than u64::MAX entries")
}

/// A reader that stops after so many bytes and remembers it.
struct Limited<'a> {
    inner: &'a mut dyn Read,
    left_bytes: u64,
    exceeded: bool,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read as u64 > self.left_bytes {
            self.exceeded = true;
            return Err(io::Error::other("too large"));
        }
        self.left_bytes -= read as u64;
        Ok(read)
    }
}
