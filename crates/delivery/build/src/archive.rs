//! Writing layers: the same content always gives the same bytes. Entries are sorted, and all files are of the same moment.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use coracle_registry::{Digest, StoreError};
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use crate::{BaseLayer, Context, layers::Layers};

/// The moment of every file that a build puts into an image, in seconds since 1970. Not 0, which some programs take for "none".
const MODIFIED_SECONDS: u64 = 1;
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// One path of a new layer.
#[derive(Debug, Clone)]
pub struct NewItem {
    pub kind: NewKind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
}

#[derive(Debug, Clone)]
pub enum NewKind {
    Directory,
    Symlink { target: String },
    File { content: Content, size_bytes: u64 },
}

/// Where a file's content comes from.
#[derive(Debug, Clone)]
pub enum Content {
    /// The file at this path of the build context.
    Context(String),
    /// A part of another layer's archive.
    Layer(BaseLayer, u64),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// The paths of a new layer, without leading slashes; sorted, so directories come before what they hold.
pub type NewLayer = BTreeMap<String, NewItem>;

/// Writes `items` as a layer.
pub fn write(items: &NewLayer, context: &dyn Context, layers: &Layers) -> Result<BaseLayer, StoreError> {
    let total: u64 =
        items.values().map(|item| if let NewKind::File { size_bytes, .. } = item.kind { size_bytes } else { 0 }).sum();
    put(layers, total, &mut |output| {
        let mut builder = tar::Builder::new(output);
        for (path, item) in items {
            append(&mut builder, path, item, context, layers)?;
        }
        builder.finish()
    })
}

/// Stores the archive that `write` writes, packed where that is worth while.
fn put(
    layers: &Layers,
    size_bytes: u64,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<BaseLayer, StoreError> {
    if size_bytes < layers.packed_from_bytes() {
        let (digest, size_bytes) = layers.put(write)?;
        return Ok(BaseLayer { digest, size_bytes, media_type: PLAIN.into(), diff_id: digest });
    }
    let mut diff_id = None;
    let (digest, size_bytes) = layers.put(&mut |output| {
        // No name and no time in the header: they would be in the digest.
        let packer = GzBuilder::new().mtime(0).write(output, Compression::fast());
        let mut hashing = Hashing { inner: packer, hasher: Sha256::new() };
        write(&mut hashing)?;
        diff_id = Some(Digest::finish(hashing.hasher));
        hashing.inner.finish().map(|_| ())
    })?;
    Ok(BaseLayer { digest, size_bytes, media_type: GZIP.into(), diff_id: diff_id.unwrap_or(digest) })
}

struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(content)?;
        self.hasher.update(&content[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn append(
    builder: &mut tar::Builder<&mut dyn Write>,
    path: &str,
    item: &NewItem,
    context: &dyn Context,
    layers: &Layers,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(item.mode);
    header.set_uid(item.uid);
    header.set_gid(item.gid);
    header.set_mtime(MODIFIED_SECONDS);
    header.set_size(0);
    match &item.kind {
        NewKind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            builder.append_data(&mut header, format!("{path}/"), io::empty())
        }
        NewKind::Symlink { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            builder.append_link(&mut header, path, target)
        }
        NewKind::File { content, size_bytes } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(*size_bytes);
            let input: Box<dyn Read + '_> = match content {
                Content::Context(path) => context.open(path)?,
                Content::Layer(layer, offset) => Box::new(layers.open(layer, *offset, *size_bytes)?),
                Content::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            };
            let mut input = Exact { inner: input, left_bytes: *size_bytes };
            builder.append_data(&mut header, path, &mut input)?;
            if input.left_bytes > 0 {
                return Err(io::Error::other(format!("{path} became shorter while it was read")));
            }
            Ok(())
        }
    }
}

/// Reads no more than was announced, so that an archive stays one even when a file grows under it.
struct Exact<'a> {
    inner: Box<dyn Read + 'a>,
    left_bytes: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left_bytes -= read as u64;
        Ok(read)
    }
}

/// Writes what a command left in an overlay's upper directory as a layer, its deletions as OCI spells them.
pub fn write_upper(layers: &Layers, upper: &Path) -> Result<BaseLayer, StoreError> {
    let mut total = 0;
    size_of(upper, &mut total).map_err(StoreError::Input)?;
    put(layers, total, &mut |output| {
        let mut builder = tar::Builder::new(output);
        let mut linked = BTreeMap::new();
        append_upper(&mut builder, upper, "", &mut linked)?;
        builder.finish()
    })
}

fn size_of(directory: &Path, total: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        *total += metadata.len();
        if metadata.is_dir() {
            size_of(&entry.path(), total)?;
        }
    }
    Ok(())
}

type Linked = BTreeMap<(u64, u64), String>;

fn append_upper(
    builder: &mut tar::Builder<&mut dyn Write>,
    directory: &Path,
    prefix: &str,
    linked: &mut Linked,
) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let inside = format!("{prefix}{}", name.to_string_lossy());
        append_upper_item(builder, &path, &inside, linked)?;
    }
    Ok(())
}

fn append_upper_item(
    builder: &mut tar::Builder<&mut dyn Write>,
    path: &Path,
    inside: &str,
    linked: &mut Linked,
) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let file_type = metadata.file_type();
    let mut header = tar::Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    // Here the times stay: caches of compiled code compare them with their sources'.
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(0);
    if file_type.is_char_device() && metadata.rdev() == 0 {
        let (parent, name) = inside.rsplit_once('/').map_or(("", inside), |(parent, name)| (parent, name));
        let whiteout = if parent.is_empty() { format!(".wh.{name}") } else { format!("{parent}/.wh.{name}") };
        header.set_entry_type(tar::EntryType::Regular);
        return builder.append_data(&mut header, whiteout, io::empty());
    }
    if file_type.is_socket() {
        // A socket is nothing without its process.
        return Ok(());
    }
    append_attributes(builder, path)?;
    if file_type.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
        builder.append_data(&mut header, format!("{inside}/"), io::empty())?;
        if is_opaque(path) {
            let mut mark = tar::Header::new_gnu();
            mark.set_size(0);
            mark.set_mode(0o600);
            builder.append_data(&mut mark, format!("{inside}/.wh..wh..opq"), io::empty())?;
        }
        return append_upper(builder, path, &format!("{inside}/"), linked);
    }
    if metadata.nlink() > 1 && !file_type.is_symlink() {
        if let Some(first) = linked.get(&(metadata.dev(), metadata.ino())) {
            header.set_entry_type(tar::EntryType::Link);
            return builder.append_link(&mut header, inside, first);
        }
        linked.insert((metadata.dev(), metadata.ino()), inside.to_owned());
    }
    if file_type.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        builder.append_link(&mut header, inside, fs::read_link(path)?)
    } else if file_type.is_file() {
        header.set_size(metadata.len());
        builder.append_data(&mut header, inside, File::open(path)?.take(metadata.len()))
    } else {
        let kind = match (file_type.is_fifo(), file_type.is_block_device()) {
            (true, _) => tar::EntryType::Fifo,
            (_, true) => tar::EntryType::Block,
            _ => tar::EntryType::Char,
        };
        header.set_entry_type(kind);
        header.set_device_major(rustix::fs::major(metadata.rdev()))?;
        header.set_device_minor(rustix::fs::minor(metadata.rdev()))?;
        builder.append_data(&mut header, inside, io::empty())
    }
}

/// The extended attributes that belong to the image: capabilities and the user's own, not the overlay's or the host's.
fn append_attributes(builder: &mut tar::Builder<&mut dyn Write>, path: &Path) -> io::Result<()> {
    let mut found = Vec::new();
    let mut names = vec![0; 1 << 16];
    // A file system without attributes has none.
    let Ok(length) = rustix::fs::llistxattr(path, &mut names) else { return Ok(()) };
    for name in names[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
        let ours = name == "security.capability" || (name.starts_with("user.") && !name.starts_with("user.overlay."));
        let mut value = vec![0; 1 << 16];
        if ours && let Ok(length) = rustix::fs::lgetxattr(path, name, &mut value) {
            found.push((format!("SCHILY.xattr.{name}"), value[..length].to_vec()));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    builder.append_pax_extensions(found.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
}

fn is_opaque(path: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 8];
        matches!(rustix::fs::lgetxattr(path, *name, &mut value), Ok(1) if value[0] == b'y')
    })
}
