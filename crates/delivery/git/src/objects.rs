//! Reading objects out of one object directory, and whatever it borrows from.

use std::{path::Path, sync::Arc};

use gix::{
    ObjectId,
    objs::{Kind, commit::MessageRef},
    odb::{self, Header as _, store::init},
};

use crate::GitError;

/// How many packs one repository can hold before reading fails; packs are joined long before.
const PACK_SLOTS: u16 = 1024;

/// One thread's way into the objects.
pub type Handle = odb::HandleArc;

/// Opens the object directory at `path`; the biggest single object it will unpack is `limit_bytes` long.
pub fn open(path: &Path, limit_bytes: u64) -> Result<Arc<odb::Store>, GitError> {
    let options = init::Options {
        slots: init::Slots::Given(PACK_SLOTS),
        alloc_limit_bytes: Some(usize::try_from(limit_bytes).unwrap_or(usize::MAX)),
        ..Default::default()
    };
    let store = odb::Store::at_opts(path.to_owned(), gix::hash::Kind::Sha1, &mut std::iter::empty(), options);
    store.map(Arc::new).map_err(GitError::io(path))
}

/// One commit, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: ObjectId,
    /// The files.
    pub tree: ObjectId,
    /// What it follows; more than one for a merge.
    pub parents: Vec<ObjectId>,
    /// Who wrote it; empty where the commit does not say so in a readable way.
    pub author: String,
    /// Their address.
    pub author_email: String,
    /// When it was written, in seconds since 1970.
    pub author_time_seconds: i64,
    /// When it was committed, in seconds since 1970.
    pub commit_time_seconds: i64,
    /// The first line of its message.
    pub subject: String,
    /// The rest of its message.
    pub body: String,
}

/// The kind and content of object `id`, None where there is none.
pub fn read<'a>(objects: &Handle, id: ObjectId, buffer: &'a mut Vec<u8>) -> Result<Option<(Kind, &'a [u8])>, GitError> {
    let found = gix::objs::Find::try_find(objects, &id, buffer).map_err(GitError::object(id))?;
    Ok(found.map(|data| (data.kind, data.data)))
}

/// The content of object `id`, which has to be of kind `expected`.
pub fn expect<'a>(
    objects: &Handle,
    id: ObjectId,
    expected: Kind,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], GitError> {
    let (kind, data) = read(objects, id, buffer)?.ok_or(GitError::Missing(id))?;
    if kind == expected {
        return Ok(data);
    }
    Err(GitError::Kind { id, found: kind.to_string(), expected: name(expected) })
}

/// The kind and length of object `id`, None where there is none.
pub fn header(objects: &Handle, id: ObjectId) -> Result<Option<(Kind, u64)>, GitError> {
    let header = objects.try_header(&id).map_err(GitError::object(id))?;
    Ok(header.map(|header| (header.kind(), header.size())))
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Tree => "tree",
        Kind::Blob => "blob",
        Kind::Commit => "commit",
        Kind::Tag => "tag",
    }
}

/// Reads commit `id`.
pub fn commit(objects: &Handle, id: ObjectId) -> Result<Commit, GitError> {
    let mut buffer = Vec::new();
    let data = expect(objects, id, Kind::Commit, &mut buffer)?;
    parse_commit(id, data)
}

/// Reads the commit whose content is `data`.
pub fn parse_commit(id: ObjectId, data: &[u8]) -> Result<Commit, GitError> {
    let commit = gix::objs::CommitRef::from_bytes(data, gix::hash::Kind::Sha1).map_err(GitError::object(id))?;
    // Old histories hold commits whose signatures no reader understands; they are still history.
    let (author, committer) = (commit.author().ok(), commit.committer().ok());
    let message = MessageRef::from_bytes(commit.message);
    Ok(Commit {
        id,
        tree: commit.tree(),
        parents: commit.parents().collect(),
        author: author.map(|author| author.name.to_string()).unwrap_or_default(),
        author_email: author.map(|author| author.email.to_string()).unwrap_or_default(),
        author_time_seconds: author.map(|author| author.seconds()).unwrap_or_default(),
        commit_time_seconds: committer.map(|committer| committer.seconds()).unwrap_or_default(),
        subject: message.title.to_string().trim().replace('\n', " "),
        body: message.body.map(|body| body.to_string().trim_end().to_owned()).unwrap_or_default(),
    })
}

/// What the tag `id` points to.
pub fn tag_target(id: ObjectId, data: &[u8]) -> Result<ObjectId, GitError> {
    let tag = gix::objs::TagRef::from_bytes(data, gix::hash::Kind::Sha1).map_err(GitError::object(id))?;
    Ok(tag.target())
}

/// Follows tags from `id` to what is no tag; None where something on the way is missing.
pub fn peel(objects: &Handle, id: ObjectId) -> Result<Option<(ObjectId, Kind)>, GitError> {
    let mut id = id;
    let mut buffer = Vec::new();
    loop {
        match read(objects, id, &mut buffer)? {
            None => return Ok(None),
            Some((Kind::Tag, data)) => id = tag_target(id, data)?,
            Some((kind, _)) => return Ok(Some((id, kind))),
        }
    }
}
