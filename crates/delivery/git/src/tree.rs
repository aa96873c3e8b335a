//! The files of a commit, read without a checkout.

use gix::{
    ObjectId,
    objs::{Kind, TreeRefIter, tree::EntryKind},
};

use crate::{
    GitError, Repository,
    objects::{self, Handle},
};

/// Directories nest no deeper than this.
const DEEPEST: usize = 128;

/// A directory in a repository, at one moment of its history. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tree {
    repository: Repository,
    id: ObjectId,
}

/// What a name in a tree stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A file.
    File,
    /// A file that may be run.
    Executable,
    /// A symbolic link; its content is the target.
    Symlink,
    /// A directory.
    Directory,
    /// A commit of another repository, which is not here.
    Submodule,
}

/// One name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Relative to the tree it was asked of, separated by `/`.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Names its content: equal ids, equal content, directories included.
    pub id: ObjectId,
}

impl Tree {
    pub(crate) fn new(repository: Repository, id: ObjectId) -> Self {
        Self { repository, id }
    }

    /// Names the whole content: equal ids, equal content.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// What is at `path`; the empty path is this tree itself.
    pub fn entry(&self, path: &str) -> Result<Option<TreeEntry>, GitError> {
        let objects = self.repository.objects();
        let mut at = TreeEntry { path: String::new(), kind: FileKind::Directory, id: self.id };
        for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
            if at.kind != FileKind::Directory {
                return Ok(None);
            }
            let entries = entries(&objects, at.id, "")?;
            let Some(next) = entries.into_iter().find(|entry| entry.path == name) else { return Ok(None) };
            let path = if at.path.is_empty() { name.to_owned() } else { format!("{}/{name}", at.path) };
            at = TreeEntry { path, ..next };
        }
        Ok(Some(at))
    }

    /// The directory at `path`, None where there is none.
    pub fn subtree(&self, path: &str) -> Result<Option<Tree>, GitError> {
        let entry = self.entry(path)?.filter(|entry| entry.kind == FileKind::Directory);
        Ok(entry.map(|entry| Tree::new(self.repository.clone(), entry.id)))
    }

    /// What is directly in it, in Git's order.
    pub fn list(&self) -> Result<Vec<TreeEntry>, GitError> {
        entries(&self.repository.objects(), self.id, "")
    }

    /// Everything in it at any depth, directories before what they hold; an error when there is more than `limit`.
    pub fn walk(&self, limit: usize) -> Result<Vec<TreeEntry>, GitError> {
        let objects = self.repository.objects();
        let mut found = Vec::new();
        let mut waiting = vec![TreeEntry { path: String::new(), kind: FileKind::Directory, id: self.id }];
        while let Some(entry) = waiting.pop() {
            if entry.kind == FileKind::Directory {
                if entry.path.bytes().filter(|byte| *byte == b'/').count() > DEEPEST {
                    return Err(GitError::Object { id: entry.id, detail: "directories nest too deep".into() });
                }
                let mut inside = entries(&objects, entry.id, &entry.path)?;
                inside.reverse();
                waiting.append(&mut inside);
            }
            if !entry.path.is_empty() {
                found.push(entry);
            }
            if found.len() + waiting.len() > limit {
                return Err(GitError::TooMany { id: self.id, limit });
            }
        }
        Ok(found)
    }

    /// The content of the file at `path`; None where there is no file. An error when it is longer than `limit_bytes`.
    pub fn read(&self, path: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>, GitError> {
        let file = self.entry(path)?.filter(|entry| matches!(entry.kind, FileKind::File | FileKind::Executable));
        let Some(file) = file else { return Ok(None) };
        self.blob(file.id, limit_bytes).map(Some).map_err(|error| match error {
            GitError::TooLarge { size_bytes, limit_bytes, .. } => {
                GitError::TooLarge { path: path.to_owned(), size_bytes, limit_bytes }
            }
            other => other,
        })
    }

    /// The length of blob `id`.
    pub fn blob_size_bytes(&self, id: ObjectId) -> Result<u64, GitError> {
        let header = objects::header(&self.repository.objects(), id)?;
        header.map(|(_, size_bytes)| size_bytes).ok_or(GitError::Missing(id))
    }

    /// The content of blob `id`; an error when it is longer than `limit_bytes`.
    pub fn blob(&self, id: ObjectId, limit_bytes: u64) -> Result<Vec<u8>, GitError> {
        let objects = self.repository.objects();
        let (_, size_bytes) = objects::header(&objects, id)?.ok_or(GitError::Missing(id))?;
        if size_bytes > limit_bytes {
            return Err(GitError::TooLarge { path: id.to_string(), size_bytes, limit_bytes });
        }
        let mut content = Vec::new();
        objects::expect(&objects, id, Kind::Blob, &mut content)?;
        Ok(content)
    }
}

/// The entries of tree `id`, with `prefix` before their names.
fn entries(objects: &Handle, id: ObjectId, prefix: &str) -> Result<Vec<TreeEntry>, GitError> {
    let mut buffer = Vec::new();
    let data = objects::expect(objects, id, Kind::Tree, &mut buffer)?;
    let mut found = Vec::new();
    for entry in TreeRefIter::from_bytes(data, gix::hash::Kind::Sha1) {
        let entry = entry.map_err(GitError::object(id))?;
        let name = std::str::from_utf8(entry.filename)
            .map_err(|_| GitError::Object { id, detail: format!("the name {} is not UTF-8", entry.filename) })?;
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        found.push(TreeEntry { path, kind: entry.mode.kind().into(), id: entry.oid.to_owned() });
    }
    Ok(found)
}

impl From<EntryKind> for FileKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Blob => Self::File,
            EntryKind::BlobExecutable => Self::Executable,
            EntryKind::Link => Self::Symlink,
            EntryKind::Tree => Self::Directory,
            EntryKind::Commit => Self::Submodule,
        }
    }
}
