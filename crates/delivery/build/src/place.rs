//! Where copied things go: COPY's rules about destinations, applied to the files that are there already.

use std::io::{self, Read as _};

use crate::{
    archive::{Content, NewItem, NewKind, NewLayer},
    layers::{Layers, View},
    select::{Found, FoundKind, Source},
};

/// The longest `/etc/passwd` or `/etc/group` that is looked into.
const LONGEST_ACCOUNTS_BYTES: u64 = 1 << 20;

/// Whom new files belong to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    pub uid: u64,
    pub gid: u64,
}

/// The owner that `USER[:GROUP]` names, in the accounts of the image.
pub fn owner(chown: &str, view: &View, layers: &Layers) -> Result<Owner, String> {
    let (user, group) = match chown.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (chown, None),
    };
    let uid = id(user, "etc/passwd", "user", view, layers)?;
    // Without a group Docker takes the number of the user.
    let gid = match group {
        Some(group) => id(group, "etc/group", "group", view, layers)?,
        None => uid,
    };
    Ok(Owner { uid, gid })
}

fn id(name: &str, path: &str, kind: &str, view: &View, layers: &Layers) -> Result<u64, String> {
    if let Ok(number) = name.parse::<u32>() {
        return Ok(number.into());
    }
    let accounts = read(path, view, layers).map_err(|error| format!("/{path}: {error}"))?;
    let missing = || format!("the image has no {kind} {name:?} in /{path}");
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name)).ok_or_else(missing)?;
    line.split(':').nth(2).and_then(|number| number.parse().ok()).ok_or_else(missing)
}

fn read(path: &str, view: &View, layers: &Layers) -> io::Result<String> {
    let mut text = String::new();
    let path = view.resolve(path);
    if let Some((layer, offset, size_bytes)) = view.content(&path) {
        layers.open(layer, offset, size_bytes)?.take(LONGEST_ACCOUNTS_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// A layer in the making, on top of the files of `view`.
pub struct Placing<'a> {
    pub view: &'a View,
    pub owner: Owner,
    /// The permissions of everything, where they are given.
    pub mode: Option<u32>,
    pub layer: NewLayer,
}

impl Placing<'_> {
    /// Puts all of `sources` at `destination`, an absolute path.
    pub fn copy(&mut self, sources: &[Source], destination: &str) -> Result<(), String> {
        let only = sources.len() == 1;
        let is_directory = destination.ends_with('/') || self.is_directory(&self.view.resolve(destination));
        for source in sources {
            match source.found.kind {
                FoundKind::Directory => {
                    let base = self.directory(destination)?;
                    for (below, found) in &source.inside {
                        self.put(&format!("{base}/{below}"), found)?;
                    }
                }
                _ if is_directory => self.put(&format!("{destination}/{}", source.name), &source.found)?,
                _ if only => self.put(destination, &source.found)?,
                _ => return Err(format!("several files are copied, so {destination:?} must end with /")),
            }
        }
        Ok(())
    }

    /// Makes the directory `path` with those above it, where they are not there; where it really is.
    pub fn directory(&mut self, path: &str) -> Result<String, String> {
        let path = self.view.resolve(path);
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            let at = &path[..end];
            if self.is_directory(at) {
                continue;
            }
            if self.view.get(at).is_some() || self.layer.contains_key(at) {
                return Err(format!("/{at} is a file, so nothing can be put into it"));
            }
            self.insert(at.to_owned(), NewKind::Directory, 0o755);
        }
        Ok(path)
    }

    fn is_directory(&self, path: &str) -> bool {
        let new = self.layer.get(path).is_some_and(|item| matches!(item.kind, NewKind::Directory));
        new || (self.view.is_directory(path) && !self.layer.contains_key(path))
    }

    fn put(&mut self, path: &str, found: &Found) -> Result<(), String> {
        if matches!(found.kind, FoundKind::Directory) {
            let path = self.view.resolve(path);
            if !self.is_directory(&path) {
                let (parent, _) = path.rsplit_once('/').unwrap_or(("", &path));
                self.directory(parent)?;
                self.insert(path, NewKind::Directory, found.mode);
            }
            return Ok(());
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory(parent)?;
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        if self.is_directory(&path) {
            return Err(format!("/{path} is a directory, so it cannot become a file"));
        }
        let kind = match &found.kind {
            FoundKind::File { content, size_bytes } => {
                NewKind::File { content: content.clone(), size_bytes: *size_bytes }
            }
            FoundKind::Symlink { target } => NewKind::Symlink { target: target.clone() },
            FoundKind::Directory => return Ok(()),
        };
        self.insert(path, kind, found.mode);
        Ok(())
    }

    fn insert(&mut self, path: String, kind: NewKind, mode: u32) {
        let mode = match &kind {
            NewKind::Symlink { .. } => 0o777,
            _ => self.mode.unwrap_or(mode),
        };
        self.layer.insert(path, NewItem { kind, mode, uid: self.owner.uid, gid: self.owner.gid });
    }
}

/// Opens some content of a known length.
pub type Open<'a> = dyn Fn(&Content, u64) -> io::Result<Box<dyn io::Read>> + 'a;

/// Replaces sources that are tar archives by what is in them, as ADD does.
pub fn unpack(sources: Vec<Source>, open: &Open<'_>) -> Result<Vec<Source>, String> {
    let mut out = Vec::new();
    for mut source in sources {
        let FoundKind::File { content, size_bytes } = &source.found.kind else {
            out.push(source);
            continue;
        };
        let failed = |error: io::Error| format!("{} cannot be unpacked: {error}", source.name);
        let mut head = [0; 512];
        let length = fill(&mut *open(content, *size_bytes).map_err(failed)?, &mut head).map_err(failed)?;
        let packed = match &head[..length] {
            [0x1f, 0x8b, ..] => true,
            head if head.get(257..262) == Some(b"ustar") => false,
            [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', 0, ..] if source.name.contains(".t") => {
                return Err(format!(
                    "{} is packed with bzip2 or xz, which is not unpacked here: use gzip",
                    source.name
                ));
            }
            _ => {
                out.push(source);
                continue;
            }
        };
        let input = open(content, *size_bytes).map_err(failed)?;
        let input: Box<dyn io::Read> = if packed { Box::new(flate2::read::MultiGzDecoder::new(input)) } else { input };
        match read_archive(input) {
            Ok(inside) => {
                source.inside = inside;
                source.found = Found { kind: FoundKind::Directory, mode: 0o755 };
            }
            // Something packed that is no archive is copied as it is.
            Err(_) if packed => {}
            Err(error) => return Err(failed(error)),
        }
        out.push(source);
    }
    Ok(out)
}

fn fill(input: &mut dyn io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// The most that one archive may unpack to in memory.
const LARGEST_UNPACKED_BYTES: u64 = 512 << 20;

fn read_archive(input: Box<dyn io::Read>) -> io::Result<std::collections::BTreeMap<String, Found>> {
    let mut inside = std::collections::BTreeMap::new();
    let mut total = 0;
    for entry in tar::Archive::new(input).entries()? {
        let mut entry = entry?;
        let path = crate::layers::clean(&String::from_utf8_lossy(&entry.path_bytes()));
        let mode = entry.header().mode()? & 0o7777;
        let target =
            entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned()).unwrap_or_default();
        total += entry.size();
        if total > LARGEST_UNPACKED_BYTES {
            return Err(io::Error::other("it unpacks to more than 512 MiB"));
        }
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => FoundKind::Directory,
            tar::EntryType::Symlink => FoundKind::Symlink { target },
            tar::EntryType::Link => match inside.get(&crate::layers::clean(&target)) {
                Some(Found { kind, .. }) => FoundKind::clone(kind),
                None => continue,
            },
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                FoundKind::File { size_bytes: bytes.len() as u64, content: Content::Bytes(bytes) }
            }
            _ => continue,
        };
        if !path.is_empty() {
            inside.insert(path, Found { kind, mode });
        }
    }
    Ok(inside)
}
