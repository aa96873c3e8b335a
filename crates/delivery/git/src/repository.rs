//! One repository: its refs, its commits, and the way into its trees.

use std::{
    collections::{BinaryHeap, HashSet},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use gix::{ObjectId, objs::Kind, odb};

use crate::{
    Commit, GitError, RefUpdate, Tree,
    objects::{self, Handle},
    refs::{RefStore, Refs},
};

/// No object longer than this is ever unpacked into memory.
pub const LARGEST_OBJECT_BYTES: u64 = 1 << 30;
/// The shortest abbreviation of a commit that is looked up.
const SHORTEST_ABBREVIATION: usize = 4;

/// One bare repository. Cheap to clone; safe to use from many threads.
#[derive(Clone)]
pub struct Repository {
    shared: Arc<Shared>,
}

struct Shared {
    app: String,
    path: PathBuf,
    objects: Arc<odb::Store>,
    refs: Arc<RefStore>,
    /// Held while packs are joined, so that two pushes do not both do it.
    joining: parking_lot::Mutex<()>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Repository").field(&self.shared.path).finish()
    }
}

impl Repository {
    /// The bare repository at `path`, called `app`. Open each once: the refs are guarded in process.
    pub(crate) fn open(app: &str, path: PathBuf) -> Result<Self, GitError> {
        let objects = objects::open(&path.join("objects"), LARGEST_OBJECT_BYTES)?;
        let refs = Arc::new(RefStore::new(path.clone()));
        Ok(Self { shared: Arc::new(Shared { app: app.to_owned(), path, objects, refs, joining: Default::default() }) })
    }

    /// The same repository, its objects read from `directory` and what that borrows from.
    pub(crate) fn with_objects(&self, directory: &Path) -> Result<Self, GitError> {
        let Shared { app, path, refs, .. } = &*self.shared;
        let objects = objects::open(directory, LARGEST_OBJECT_BYTES)?;
        let joining = parking_lot::Mutex::default();
        Ok(Self {
            shared: Arc::new(Shared { app: app.clone(), path: path.clone(), objects, refs: refs.clone(), joining }),
        })
    }

    /// The app's name.
    pub fn app(&self) -> &str {
        &self.shared.app
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// A way into the objects, for one thread.
    pub(crate) fn objects(&self) -> Handle {
        self.shared.objects.to_cache_arc()
    }

    pub(crate) fn joining(&self) -> &parking_lot::Mutex<()> {
        &self.shared.joining
    }

    /// Every ref by its full name.
    pub fn refs(&self) -> Result<Refs, GitError> {
        Ok(self.shared.refs.read()?)
    }

    /// The branches by their short names, sorted.
    pub fn branches(&self) -> Result<Vec<(String, ObjectId)>, GitError> {
        let refs = self.refs()?;
        Ok(refs.iter().filter_map(|(name, id)| Some((name.strip_prefix("refs/heads/")?.to_owned(), *id))).collect())
    }

    /// The commit at the tip of branch `name`.
    pub fn branch(&self, name: &str) -> Result<Option<ObjectId>, GitError> {
        Ok(self.refs()?.get(&format!("refs/heads/{name}")).copied())
    }

    /// Moves refs, each where it is still what `old` says.
    pub fn update_refs(&self, updates: &[RefUpdate], atomic: bool) -> Result<Vec<Result<(), String>>, GitError> {
        Ok(self.shared.refs.update(updates, atomic)?)
    }

    /// The commit that `spec` names: `HEAD`, a full ref, a branch, a tag, or a commit's id, whole or abbreviated.
    pub fn resolve(&self, spec: &str) -> Result<Option<ObjectId>, GitError> {
        let refs = self.refs()?;
        let spec = if spec == "HEAD" { "refs/heads/main" } else { spec };
        let candidates = [spec.to_owned(), format!("refs/heads/{spec}"), format!("refs/tags/{spec}")];
        let named = candidates.iter().find_map(|name| refs.get(name)).copied();
        let id = match named {
            Some(id) => Some(id),
            None => self.by_prefix(spec)?,
        };
        let Some(id) = id else { return Ok(None) };
        match objects::peel(&self.objects(), id)? {
            Some((id, Kind::Commit)) => Ok(Some(id)),
            _ => Ok(None),
        }
    }

    fn by_prefix(&self, digits: &str) -> Result<Option<ObjectId>, GitError> {
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal || !(SHORTEST_ABBREVIATION..=40).contains(&digits.len()) {
            return Ok(None);
        }
        if let Ok(id) = ObjectId::from_str(digits) {
            return Ok(Some(id));
        }
        let prefix = gix::hash::Prefix::from_hex(digits).map_err(|_| GitError::Ambiguous(digits.to_owned()))?;
        let found = self.objects().lookup_prefix(prefix, None).map_err(|_| GitError::Ambiguous(digits.to_owned()))?;
        match found {
            None => Ok(None),
            Some(Ok(id)) => Ok(Some(id)),
            Some(Err(())) => Err(GitError::Ambiguous(digits.to_owned())),
        }
    }

    /// Reads commit `id`.
    pub fn commit(&self, id: ObjectId) -> Result<Commit, GitError> {
        objects::commit(&self.objects(), id)
    }

    /// The newest `limit` commits that `from` contains, itself included, newest first.
    pub fn log(&self, from: ObjectId, limit: usize) -> Result<Vec<Commit>, GitError> {
        let objects = self.objects();
        let mut seen = HashSet::from([from]);
        let mut waiting = BinaryHeap::from([ByTime(objects::commit(&objects, from)?)]);
        let mut log = Vec::new();
        while log.len() < limit
            && let Some(ByTime(commit)) = waiting.pop()
        {
            for parent in &commit.parents {
                if seen.insert(*parent) {
                    waiting.push(ByTime(objects::commit(&objects, *parent)?));
                }
            }
            log.push(commit);
        }
        Ok(log)
    }

    /// Whether `descendant` contains `ancestor`; a commit contains itself.
    pub fn is_ancestor(&self, ancestor: ObjectId, descendant: ObjectId) -> Result<bool, GitError> {
        let objects = self.objects();
        let mut seen = HashSet::from([descendant]);
        let mut waiting = vec![descendant];
        while let Some(id) = waiting.pop() {
            if id == ancestor {
                return Ok(true);
            }
            waiting.extend(objects::commit(&objects, id)?.parents.into_iter().filter(|parent| seen.insert(*parent)));
        }
        Ok(false)
    }

    /// The files of commit `commit`.
    pub fn tree(&self, commit: ObjectId) -> Result<Tree, GitError> {
        let id = self.commit(commit)?.tree;
        Ok(Tree::new(self.clone(), id))
    }
}

/// Commits, the newest greatest.
struct ByTime(Commit);

impl Ord for ByTime {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.commit_time_seconds, self.0.id).cmp(&(other.0.commit_time_seconds, other.0.id))
    }
}

impl PartialOrd for ByTime {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByTime {}
