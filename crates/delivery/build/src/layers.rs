//! Looking into layers without unpacking them: what is in each, and the file system that a stack of them makes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::Arc,
};

use coracle_registry::{Batch, Digest, Store, StoreError};
use flate2::read::MultiGzDecoder;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{BaseLayer, scratch::Scratch};

/// More links than this in one path are a circle.
const MOST_LINKS: usize = 40;

/// What a layer says about one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Without a leading slash.
    pub path: String,
    pub kind: ItemKind,
    /// Permissions only.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemKind {
    Directory,
    /// Where its content is in the unpacked archive.
    File {
        offset: u64,
        size_bytes: u64,
    },
    Symlink {
        target: String,
    },
    /// The same file as another path.
    Hardlink {
        target: String,
    },
    /// A device or pipe.
    Special,
}

/// Reads layers out of the registry's store.
#[derive(Debug, Clone)]
pub struct Layers {
    store: Store,
    /// Keeps what was found in layers, by diff id.
    index_directory: PathBuf,
    /// Unpacked archives, for the time of one build.
    scratch: Arc<Scratch>,
    repository: String,
    /// New layers that are not in their place yet: they are made durable together, which is much cheaper.
    pending: Arc<Mutex<Batch>>,
    packed_from_bytes: u64,
}

impl Layers {
    /// For a build into `repository`; layers with at least `packed_from_bytes` in them are packed.
    pub fn new(
        store: Store,
        repository: String,
        index_directory: PathBuf,
        scratch: Arc<Scratch>,
        packed_from_bytes: u64,
    ) -> Self {
        let pending = Arc::new(Mutex::new(store.batch()));
        Self { store, index_directory, scratch, repository, pending, packed_from_bytes }
    }

    pub fn packed_from_bytes(&self) -> u64 {
        self.packed_from_bytes
    }

    /// Adds what `write` writes as a blob: its digest and length.
    pub fn put(&self, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<(Digest, u64), StoreError> {
        // Not under the lock: what is written may be read from layers that are pending themselves.
        let mut batch = self.store.batch();
        let put = batch.put_blob_with(&self.repository, write)?;
        self.pending.lock().append(batch);
        Ok(put)
    }

    /// Makes everything durable that was added so far, and `last` with it.
    pub fn commit<T>(&self, last: impl FnOnce(&mut Batch) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut batch = std::mem::replace(&mut *self.pending.lock(), self.store.batch());
        let result = last(&mut batch)?;
        batch.commit()?;
        Ok(result)
    }

    /// The archive of `layer`, unpacked.
    fn archive(&self, layer: &BaseLayer) -> io::Result<PathBuf> {
        let blob = self.pending.lock().blob_path(&layer.digest);
        if layer.digest == layer.diff_id {
            return Ok(blob);
        }
        let plain = self.scratch.path().join(layer.diff_id.hex());
        if plain.exists() {
            return Ok(plain);
        }
        let input = BufReader::with_capacity(1 << 17, File::open(blob)?);
        let mut input: Box<dyn Read> = match layer.media_type.as_str() {
            kind if kind.ends_with("gzip") => Box::new(MultiGzDecoder::new(input)),
            kind if kind.ends_with("zstd") => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "layers packed with zstd cannot be read yet"));
            }
            _ => Box::new(input),
        };
        let part = plain.with_extension("part");
        let mut output = BufWriter::with_capacity(1 << 17, File::create(&part)?);
        io::copy(&mut input, &mut output)?;
        output.flush()?;
        fs::rename(part, &plain)?;
        Ok(plain)
    }

    /// What is in `layer`, in the archive's order.
    fn items(&self, layer: &BaseLayer) -> io::Result<Vec<Item>> {
        let kept = self.index_directory.join(format!("{}.json", layer.diff_id.hex()));
        if let Ok(text) = fs::read(&kept)
            && let Ok(items) = serde_json::from_slice(&text)
        {
            return Ok(items);
        }
        let items = scan(File::open(self.archive(layer)?)?)?;
        // Only a cache: when it cannot be written, the next build looks again.
        let part = self.scratch.path().join(format!("{}.json", layer.diff_id.hex()));
        if fs::write(&part, serde_json::to_vec(&items)?).is_ok() {
            let _ = fs::rename(&part, &kept);
        }
        Ok(items)
    }

    /// The file system that `layers` make, lowest first.
    pub fn view(&self, layers: &[BaseLayer]) -> io::Result<View> {
        let mut view = View::default();
        for (number, layer) in layers.iter().enumerate() {
            view.put_on(number, self.items(layer)?);
        }
        view.layers = layers.to_vec();
        Ok(view)
    }

    /// A reader of one file's content.
    pub fn open(&self, layer: &BaseLayer, offset: u64, size_bytes: u64) -> io::Result<impl Read + use<>> {
        let mut file = File::open(self.archive(layer)?)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file.take(size_bytes))
    }
}

fn scan(file: File) -> io::Result<Vec<Item>> {
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 17, file));
    let mut items = Vec::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = clean(&String::from_utf8_lossy(&entry.path_bytes()));
        let header = entry.header();
        let target =
            entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned()).unwrap_or_default();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => ItemKind::Directory,
            tar::EntryType::Symlink => ItemKind::Symlink { target },
            tar::EntryType::Link => ItemKind::Hardlink { target: clean(&target) },
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                ItemKind::File { offset: entry.raw_file_position(), size_bytes: entry.size() }
            }
            _ => ItemKind::Special,
        };
        items.push(Item { path, kind, mode: header.mode()? & 0o7777, uid: header.uid()?, gid: header.gid()? });
    }
    Ok(items)
}

/// A path without leading slash, `.`, `..` and doubled slashes.
pub fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A file system made of layers. Paths have no leading slash; the root is the empty path.
#[derive(Debug, Default)]
pub struct View {
    layers: Vec<BaseLayer>,
    /// Each path, with the number of the layer it comes from.
    items: BTreeMap<String, (usize, Item)>,
}

impl View {
    fn put_on(&mut self, number: usize, items: Vec<Item>) {
        // What a layer takes away is taken from those below it, never from itself.
        for item in &items {
            let (parent, name) = item.path.rsplit_once('/').unwrap_or(("", &item.path));
            if name == ".wh..wh..opq" {
                self.remove_below(parent);
            } else if let Some(gone) = name.strip_prefix(".wh.") {
                let path = if parent.is_empty() { gone.to_owned() } else { format!("{parent}/{gone}") };
                self.remove_below(&path);
                self.items.remove(&path);
            }
        }
        for item in items {
            let name = item.path.rsplit('/').next().unwrap_or_default();
            if name.starts_with(".wh.") || item.path.is_empty() {
                continue;
            }
            if item.kind != ItemKind::Directory {
                self.remove_below(&item.path);
            }
            self.items.insert(item.path.clone(), (number, item));
        }
    }

    fn remove_below(&mut self, path: &str) {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below: Vec<String> = self
            .items
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .map(|(path, _)| path.clone())
            .collect();
        for path in below {
            self.items.remove(&path);
        }
    }

    /// What is at `path`, links not followed.
    pub fn get(&self, path: &str) -> Option<&Item> {
        self.items.get(path).map(|(_, item)| item)
    }

    /// Whether there is a directory at `path`; there always is one at the root.
    pub fn is_directory(&self, path: &str) -> bool {
        path.is_empty()
            || matches!(self.get(path), Some(Item { kind: ItemKind::Directory, .. }))
            || self.has_below(path)
    }

    /// Archives need not list the directories that hold their files.
    fn has_below(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.items.range(prefix.clone()..).next().is_some_and(|(path, _)| path.starts_with(&prefix))
    }

    /// Everything below directory `path`, in order, with paths relative to it.
    pub fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (String, &'a Item)> + use<'a> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let start = prefix.clone();
        self.items
            .range(start..)
            .map(|(path, (_, item))| (path, item))
            .take_while({
                let prefix = prefix.clone();
                move |(path, _)| path.starts_with(&prefix)
            })
            .map(move |(path, item)| (path[prefix.len()..].to_owned(), item))
    }

    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.items.keys().map(String::as_str)
    }

    /// Where `path` leads when all links on the way are followed, the last one too. What does not exist stays as it is written.
    pub fn resolve(&self, path: &str) -> String {
        let mut waiting: Vec<String> =
            clean(path).split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = waiting.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at = at.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default();
                    continue;
                }
                _ => {}
            }
            let next = if at.is_empty() { part } else { format!("{at}/{part}") };
            match self.get(&next).map(|item| &item.kind) {
                Some(ItemKind::Symlink { target }) if links < MOST_LINKS => {
                    links += 1;
                    if target.starts_with('/') {
                        at.clear();
                    }
                    waiting.extend(target.split('/').rev().map(str::to_owned));
                }
                _ => at = next,
            }
        }
        at
    }

    /// The layer, offset and length of the content of the file that `item` is, hard links followed.
    pub fn content<'a>(&'a self, item: &Item) -> Option<(&'a BaseLayer, u64, u64)> {
        let mut path = item.path.clone();
        for _ in 0..MOST_LINKS {
            let (number, item) = self.items.get(&path)?;
            match &item.kind {
                ItemKind::File { offset, size_bytes } => return Some((&self.layers[*number], *offset, *size_bytes)),
                ItemKind::Hardlink { target } => path = target.clone(),
                _ => return None,
            }
        }
        None
    }
}
