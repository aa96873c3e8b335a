//! A block's directory: the index, files of chunks, tombstones, and what `meta.json` says of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use coracle_promql::Labels;

use super::{
    PrometheusError, chunk,
    index::{ChunkPlace, Index, IndexedSeries, checked},
};
use crate::{Value, codec::varint::Cursor};

const META: &str = "meta.json";
const TOMBSTONES_MAGIC: [u8; 5] = [0x01, 0x30, 0xBA, 0x30, 1];
/// Most chunks are shorter than this.
const CHUNK_BYTES_GUESS: usize = 1 << 10;
/// A damaged length is not believed above this.
const CHUNK_BYTES_MAX: usize = 16 << 20;
/// A chunk's length takes so many bytes at the most.
const LENGTH_BYTES_MAX: usize = 10;

/// The blocks below a directory of Prometheus', or the directory itself where it is a block. Such that were merged into
/// another one that is there are left out.
pub fn find_blocks(directory: &Path) -> Result<Vec<PathBuf>, PrometheusError> {
    if directory.join(META).exists() {
        return Ok(vec![directory.to_owned()]);
    }
    let mut blocks = BTreeMap::new();
    let mut merged = BTreeSet::new();
    let entries = fs::read_dir(directory).map_err(disk(directory))?;
    for entry in entries {
        let path = entry.map_err(disk(directory))?.path();
        if !path.join(META).exists() {
            continue;
        }
        let meta = read_meta(&path)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let parents = meta["compaction"]["parents"].as_array().into_iter().flatten();
        merged.extend(parents.filter_map(|parent| parent["ulid"].as_str().map(str::to_owned)));
        blocks.insert(name, path);
    }
    blocks.retain(|name, _| !merged.contains(name));
    Ok(blocks.into_values().collect())
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> PrometheusError {
    let path = path.display().to_string();
    move |source| PrometheusError::Disk { path, source }
}

fn damaged(path: &Path, why: impl Into<String>) -> PrometheusError {
    PrometheusError::Damaged { path: path.display().to_string(), why: why.into() }
}

fn read_meta(block: &Path) -> Result<serde_json::Value, PrometheusError> {
    let path = block.join(META);
    let text = fs::read(&path).map_err(disk(&path))?;
    serde_json::from_slice(&text).map_err(|error| damaged(&path, error.to_string()))
}

/// A block that can be read. Its index is in memory.
pub struct PrometheusBlock {
    path: PathBuf,
    index: Index,
    segments: Vec<(PathBuf, File)>,
    /// By the number of the series: first and last time of what was deleted.
    deleted: BTreeMap<u64, Vec<(i64, i64)>>,
}

impl PrometheusBlock {
    pub fn open(path: &Path) -> Result<Self, PrometheusError> {
        let index_path = path.join("index");
        let index = Index::new(fs::read(&index_path).map_err(disk(&index_path))?);
        let index = index.map_err(|why| damaged(&index_path, why))?;
        let chunks = path.join("chunks");
        let mut names = Vec::new();
        for entry in fs::read_dir(&chunks).map_err(disk(&chunks))? {
            names.push(entry.map_err(disk(&chunks))?.path());
        }
        names.sort();
        let mut segments = Vec::new();
        for name in names {
            let file = File::open(&name).map_err(disk(&name))?;
            segments.push((name, file));
        }
        Ok(Self { path: path.to_owned(), index, segments, deleted: tombstones(&path.join("tombstones"))? })
    }

    pub fn series_count(&self) -> usize {
        self.index.series_count()
    }

    /// Shows each series with its samples, in ascending order of time, without what was deleted.
    pub fn each_series<E: From<PrometheusError>>(
        &self,
        mut each: impl FnMut(Labels, Vec<(i64, Value)>) -> Result<(), E>,
    ) -> Result<(), E> {
        for series in self.index.series() {
            let series = series.ok_or_else(|| damaged(&self.path.join("index"), "a series is damaged"))?;
            let samples = self.samples(&series)?;
            each(series.labels, samples)?;
        }
        Ok(())
    }

    fn samples(&self, series: &IndexedSeries) -> Result<Vec<(i64, Value)>, PrometheusError> {
        let mut samples = Vec::new();
        for place in &series.chunks {
            self.read_chunk(place, &mut |time_ms, value| samples.push((time_ms, value)))?;
        }
        if let Some(deleted) = self.deleted.get(&series.number) {
            let is_deleted = |time_ms: i64| deleted.iter().any(|(first, last)| (*first..=*last).contains(&time_ms));
            samples.retain(|(time_ms, _)| !is_deleted(*time_ms));
        }
        Ok(samples)
    }

    fn read_chunk(&self, place: &ChunkPlace, each: &mut dyn FnMut(i64, Value)) -> Result<(), PrometheusError> {
        let (path, file) = self
            .segments
            .get(place.segment as usize)
            .ok_or_else(|| damaged(&self.path, format!("there is no file {} of chunks", place.segment + 1)))?;
        let wrong = || damaged(path, format!("the chunk at {} is damaged", place.offset));
        let mut bytes = vec![0; CHUNK_BYTES_GUESS];
        let read = read_at(file, &mut bytes, place.offset).map_err(disk(path))?;
        bytes.truncate(read);
        let mut cursor = Cursor(&bytes);
        let len = cursor.usize().filter(|len| *len <= CHUNK_BYTES_MAX).ok_or_else(wrong)?;
        // Length, encoding, content, checksum; what is checked begins with the encoding.
        let begin = bytes.len() - cursor.0.len();
        let whole = begin + 1 + len + 4;
        if bytes.len() < whole && begin < LENGTH_BYTES_MAX {
            bytes.resize(whole, 0);
            let read = read_at(file, &mut bytes, place.offset).map_err(disk(path))?;
            bytes.truncate(read);
        }
        let content = checked(&bytes[begin..], 1 + len).ok_or_else(wrong)?;
        chunk::decode(content[0], &content[1..], each).ok_or_else(wrong)
    }
}

/// Reads as much as there is.
fn read_at(file: &File, bytes: &mut [u8], offset: u32) -> std::io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], u64::from(offset) + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

fn tombstones(path: &Path) -> Result<BTreeMap<u64, Vec<(i64, i64)>>, PrometheusError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(disk(path)(error)),
    };
    read_tombstones(&bytes).ok_or_else(|| damaged(path, "what was deleted cannot be read"))
}

fn read_tombstones(bytes: &[u8]) -> Option<BTreeMap<u64, Vec<(i64, i64)>>> {
    let body = bytes.strip_prefix(&TOMBSTONES_MAGIC)?;
    let content = checked(body, body.len().checked_sub(4)?)?;
    let mut deleted: BTreeMap<u64, Vec<(i64, i64)>> = BTreeMap::new();
    let mut cursor = Cursor(content);
    while !cursor.is_empty() {
        let (series, first_ms, last_ms) = (cursor.varint()?, cursor.signed()?, cursor.signed()?);
        deleted.entry(series).or_default().push((first_ms, last_ms));
    }
    Some(deleted)
}
