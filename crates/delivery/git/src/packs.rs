//! Writing packs: for clients that fetch, and to join the many small ones that pushes leave into one.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gix::{ObjectId, parallel::InOrderIter, utils::progress::Discard};
use gix_pack::{
    Bundle,
    bundle::write,
    data::{
        Version,
        output::{bytes::FromEntriesIter, count, entry},
    },
    index,
};

use crate::{GitError, Repository, durable, objects::Handle};

/// Beyond this many packs they are joined: each costs every look-up a little, and a reader holds 1024 at most.
const MOST_PACKS: usize = 24;
/// Objects handed from step to step at a time.
const CHUNK: usize = 256;

fn pack_error(error: gix::Error) -> GitError {
    GitError::Pack(format!("a pack cannot be written: {error}"))
}

/// Writes a pack of exactly `ids`, which must all be there. With `reuse_deltas` objects that are stored as differences to others
/// in the pack stay so, which needs a reader that knows `ofs-delta`.
pub fn write(
    mut objects: Handle,
    ids: Vec<ObjectId>,
    reuse_deltas: bool,
    output: &mut dyn Write,
) -> Result<(), GitError> {
    objects.prevent_pack_unload();
    let interrupt = AtomicBool::new(false);
    let counts = if reuse_deltas {
        let options = count::objects::Options {
            thread_limit: Some(1),
            chunk_size: CHUNK,
            input_object_expansion: count::objects::ObjectExpansion::AsIs,
        };
        count::objects(objects.clone(), Box::new(ids.into_iter().map(Ok)), &Discard, &interrupt, options)
    } else {
        let expansion = count::objects::ObjectExpansion::AsIs;
        count::objects_unthreaded(&objects, &mut ids.into_iter().map(Ok), &Discard, &interrupt, expansion)
    };
    let (counts, _) = counts.map_err(pack_error)?;
    let total = u32::try_from(counts.len()).map_err(|_| GitError::Pack("too many objects for one pack".into()))?;
    let options = entry::iter_from_counts::Options { thread_limit: Some(1), chunk_size: CHUNK, ..Default::default() };
    let entries = entry::iter_from_counts(counts, objects, Box::new(Discard), options).map_err(pack_error)?;
    let in_order = InOrderIter::from(entries);
    for written in FromEntriesIter::new(in_order, output, total, Version::V2, gix::hash::Kind::Sha1) {
        written.map_err(pack_error)?;
    }
    Ok(())
}

/// Joins the packs of `repository` when there are too many. Readers keep what they have open.
pub fn join_when_many(repository: &Repository) -> Result<(), GitError> {
    let Some(_joining) = repository.joining().try_lock() else { return Ok(()) };
    let directory = repository.path().join("objects/pack");
    let old = indexes(&directory).map_err(GitError::io(&directory))?;
    if old.len() <= MOST_PACKS {
        return Ok(());
    }
    let mut ids = BTreeSet::new();
    for path in &old {
        let index = index::File::at(path, gix::hash::Kind::Sha1).map_err(pack_error)?;
        ids.extend(index.iter().map(|entry| entry.oid));
    }
    let whole = directory.join("joining.tmp");
    let joined = write_joined(repository, ids.into_iter().collect(), &whole, &directory);
    fs::remove_file(&whole).map_err(GitError::io(&whole))?;
    let joined = joined?;
    for path in old.iter().filter(|path| **path != joined) {
        for extension in ["idx", "pack"] {
            let path = path.with_extension(extension);
            fs::remove_file(&path).map_err(GitError::io(&path))?;
        }
    }
    Ok(())
}

/// Writes one pack of all `ids` and its index, durable; the index's path.
fn write_joined(
    repository: &Repository,
    ids: Vec<ObjectId>,
    whole: &Path,
    directory: &Path,
) -> Result<PathBuf, GitError> {
    let mut output = BufWriter::new(File::create(whole).map_err(GitError::io(whole))?);
    write(repository.objects(), ids, true, &mut output)?;
    output.flush().map_err(GitError::io(whole))?;
    let mut input = BufReader::new(File::open(whole).map_err(GitError::io(whole))?);
    let options = write::Options { thread_limit: Some(1), ..Default::default() };
    let interrupt = AtomicBool::new(false);
    let none: Option<Handle> = None;
    let sha1 = gix::hash::Kind::Sha1;
    let outcome =
        Bundle::write_to_directory(&mut input, Some(directory), &mut Discard, &interrupt, none, sha1, options)
            .map_err(pack_error)?;
    let missing = || GitError::Pack("the joined pack is empty".into());
    let index = outcome.index_path.ok_or_else(missing)?;
    for extension in ["pack", "idx"] {
        let path = index.with_extension(extension);
        File::open(&path).and_then(|file| file.sync_all()).map_err(GitError::io(&path))?;
    }
    if let Some(keep) = outcome.keep_path {
        fs::remove_file(&keep).map_err(GitError::io(&keep))?;
    }
    durable::sync_directory(directory).map_err(GitError::io(directory))?;
    Ok(index)
}

fn indexes(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            found.push(path);
        }
    }
    Ok(found)
}
