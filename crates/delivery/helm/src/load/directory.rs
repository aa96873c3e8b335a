//! Chart directories.

use std::{
    fs,
    path::{Component, Path},
};

use super::{FILE_SIZE_LIMIT_BYTES, LoadError, SIZE_LIMIT_BYTES, contents, ignore::Rules};
use crate::{chart::File, io_error_text};

/// Directories deeper than this are a loop of links.
const DEPTH_LIMIT: u32 = 128;

/// The files of a directory that `.helmignore` leaves, in order of their names.
pub(super) fn read(root: &Path) -> Result<Vec<File>, LoadError> {
    let rules = match fs::read_to_string(root.join(".helmignore")) {
        Ok(text) => Rules::parse(&text).map_err(LoadError::Io)?,
        Err(_) => Rules::default(),
    };
    let mut walk = Walk { rules: rules.with_defaults(), files: Vec::new(), remaining: SIZE_LIMIT_BYTES };
    walk.directory(root, "", 0)?;
    Ok(walk.files)
}

/// Why a path leads nowhere.
fn unfollowed(path: &Path, error: &std::io::Error) -> String {
    let (shown, reason) = (path.display(), io_error_text(error));
    match fs::read_link(path) {
        Ok(target) => {
            let mut whole = path.parent().unwrap_or(path).to_owned();
            for part in target.components() {
                match part {
                    Component::ParentDir => drop(whole.pop()),
                    Component::CurDir => {}
                    part => whole.push(part),
                }
            }
            let missing = whole.ancestors().take_while(|path| !path.exists()).last().unwrap_or(&whole);
            format!("error evaluating symlink {shown}: lstat {}: {reason}", missing.display())
        }
        Err(_) => format!("lstat {shown}: {reason}"),
    }
}

struct Walk {
    rules: Rules,
    files: Vec<File>,
    remaining: u64,
}

impl Walk {
    fn directory(&mut self, path: &Path, name: &str, depth: u32) -> Result<(), LoadError> {
        if depth > DEPTH_LIMIT {
            return Err(LoadError::Io(format!("{}: directories are nested too deeply", path.display())));
        }
        let failed =
            |error: std::io::Error| LoadError::Io(format!("open {}: {}", path.display(), io_error_text(&error)));
        let mut entries: Vec<String> = fs::read_dir(path)
            .map_err(failed)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        entries.sort_unstable();
        for entry in entries {
            let inner = if name.is_empty() { entry.clone() } else { format!("{name}/{entry}") };
            self.entry(&path.join(&entry), &inner, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &str, depth: u32) -> Result<(), LoadError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(_) if self.rules.ignores(name, false) => return Ok(()),
            Err(error) => return Err(LoadError::Io(unfollowed(path, &error))),
        };
        if self.rules.ignores(name, metadata.is_dir()) {
            return Ok(());
        }
        if metadata.is_dir() {
            return self.directory(path, name, depth + 1);
        }
        if !metadata.is_file() {
            return Err(LoadError::Io(format!(
                "cannot load irregular file {} as it has file mode type bits set",
                path.display()
            )));
        }
        if metadata.len() > FILE_SIZE_LIMIT_BYTES {
            return Err(LoadError::Io(format!(
                "chart file {} is larger than the maximum file size {FILE_SIZE_LIMIT_BYTES}",
                coracle_gotemplate::quote(name.as_bytes())
            )));
        }
        if metadata.len() > self.remaining {
            return Err(LoadError::Io(format!("chart is larger than the maximum size {SIZE_LIMIT_BYTES}")));
        }
        let data = fs::read(path)
            .map_err(|error| LoadError::Io(format!("error reading {name}: {}", io_error_text(&error))))?;
        self.remaining = self.remaining.saturating_sub(data.len() as u64);
        self.files.push(File { name: name.to_owned(), data: contents(data) });
        Ok(())
    }
}
