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
            kind if kind.ends_with("zstd") => Box::new(zstd::Decoder::with_buffer(input)?),
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
            let linked = match &item.kind {
                ItemKind::Hardlink { target } => {
                    self.items.get(target).map(|(number, linked)| (*number, linked.kind.clone()))
                }
                _ => None,
            };
            // A hard link is the same file from now on, whatever becomes of the path it was made from.
            let (number, kind) = linked.unwrap_or((number, item.kind));
            self.items.insert(item.path.clone(), (number, Item { kind, ..item }));
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

    /// The layer, offset and length of the content of the file at `path`.
    pub fn content(&self, path: &str) -> Option<(&BaseLayer, u64, u64)> {
        match self.items.get(path)? {
            (number, Item { kind: ItemKind::File { offset, size_bytes }, .. }) => {
                Some((&self.layers[*number], *offset, *size_bytes))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_registry::Digest;
    use expect_test::{Expect, expect};

    use super::{Item, ItemKind, View};
    use crate::BaseLayer;

    /// Layers as lists of `PATH/`, `PATH=CONTENT`, `PATH->TARGET` and `PATH<-HARDLINKED`.
    fn view(layers: &[&[&str]]) -> View {
        let mut view = View::default();
        for (number, lines) in layers.iter().enumerate() {
            let digest = Digest::of(&number.to_le_bytes());
            view.layers.push(BaseLayer { digest, size_bytes: 0, media_type: String::new(), diff_id: digest });
            let items = lines.iter().map(|line| {
                let (path, kind) = if let Some((path, target)) = line.split_once("->") {
                    (path, ItemKind::Symlink { target: target.into() })
                } else if let Some((path, target)) = line.split_once("<-") {
                    (path, ItemKind::Hardlink { target: target.into() })
                } else if let Some((path, offset)) = line.split_once('=') {
                    (path, ItemKind::File { offset: offset.parse().unwrap(), size_bytes: 1 })
                } else {
                    (line.trim_end_matches('/'), ItemKind::Directory)
                };
                Item { path: path.into(), kind, mode: 0o644, uid: 0, gid: 0 }
            });
            view.put_on(number, items.collect());
        }
        view
    }

    fn check(layers: &[&[&str]], expected: Expect) {
        let view = view(layers);
        let mut out = String::new();
        for path in view.paths() {
            let number = |digest| view.layers.iter().position(|layer| layer.digest == digest);
            let content = view.content(path).map(|(layer, offset, _)| (number(layer.digest).unwrap(), offset));
            out += &format!("{path} {content:?}\n");
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn what_a_layer_takes_away_is_gone() {
        check(
            &[
                &["a/", "a/x=1", "a/y=2", "b/", "b/z=3", "c=4"],
                &["a/.wh.x=0", "b/.wh..wh..opq=0", "b/new=5", ".wh.c=0"],
            ],
            expect![[r#"
                a None
                a/y Some((0, 2))
                b None
                b/new Some((1, 5))
            "#]],
        );
        check(
            &[&["d/", "d/x=1"], &["d=2"], &["d/", "d/y=3"]],
            expect![[r#"
                d None
                d/y Some((2, 3))
            "#]],
        );
    }

    #[test]
    fn hard_links_keep_what_they_were_made_from() {
        check(
            &[&["a=1", "b<-a", "c<-b"], &["a=2"], &[".wh.b=0"]],
            expect![[r#"
                a Some((1, 2))
                c Some((0, 1))
            "#]],
        );
    }

    #[test]
    fn links_lead_to_where_things_are() {
        let view = view(&[&["usr/", "usr/bin/", "bin->usr/bin", "usr/lib->/lib64", "loop->loop", "usr/up->../bin"]]);
        let resolved: Vec<String> = ["/bin/sh", "usr/lib/x", "a/../bin", "/../../bin/x", "usr/up/y", "none/there"]
            .map(|path| view.resolve(path))
            .to_vec();
        assert_eq!(resolved, ["usr/bin/sh", "lib64/x", "usr/bin", "usr/bin/x", "usr/bin/y", "none/there"]);
        assert!(view.is_directory("usr/bin") && view.is_directory("") && !view.is_directory("bin"));
        view.resolve("loop/x");
    }
}
