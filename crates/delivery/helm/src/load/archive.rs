//! Chart archives.

use std::io::Read;

use super::{LoadError, SIZE_LIMIT_BYTES, contents};
use crate::chart::File;

fn refuse<T>(message: impl Into<String>) -> Result<T, LoadError> {
    Err(LoadError::Archive(message.into()))
}

/// The files of a gzipped tar, without the directory they all stand in.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<File>, LoadError> {
    let too_large =
        || LoadError::Archive(format!("decompressed chart is larger than the maximum size {SIZE_LIMIT_BYTES}"));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let mut remaining = SIZE_LIMIT_BYTES;
    let mut files = Vec::new();
    let broken = |error: std::io::Error| LoadError::Archive(error.to_string());
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name_within(&path)?;
        if entry.size() > remaining {
            return Err(too_large());
        }
        let mut data = Vec::new();
        entry.take(remaining).read_to_end(&mut data).map_err(broken)?;
        remaining -= data.len() as u64;
        if remaining == 0 {
            return Err(too_large());
        }
        files.push(File { name, data: contents(data) });
    }
    if files.is_empty() {
        return refuse("no files in chart archive");
    }
    Ok(files)
}

/// The path below the archive's top directory; refused when it leaves it.
fn name_within(path: &str) -> Result<String, LoadError> {
    let delimiter = if path.contains('\\') { '\\' } else { '/' };
    let (top, rest) = path.split_once(delimiter).unwrap_or((path, ""));
    let rest = rest.replace(delimiter, "/");
    if rest.starts_with('/') {
        return refuse("chart illegally contains absolute paths");
    }
    let Some(name) = clean(&rest) else { return refuse("chart illegally references parent directory") };
    if name.is_empty() && top != "Chart.yaml" {
        let path = coracle_gotemplate::quote(path.as_bytes());
        return refuse(format!("chart illegally contains content outside the base directory: {path}"));
    }
    if let [drive, b':', b'/', ..] = name.as_bytes()
        && drive.is_ascii_alphabetic()
    {
        return refuse("chart contains illegally named files");
    }
    if top == "Chart.yaml" {
        return refuse("chart yaml not in base directory");
    }
    Ok(name)
}

/// `path.Clean`, where `None` climbs out.
fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
