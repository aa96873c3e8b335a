//! Writes the files of a volume so that a reader sees all of the old ones or all of the new ones: a directory with the time in
//! its name, `..data` pointing to it, and a link for every top-level name. Changing the volume is one rename of `..data`.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    VolumeError,
    payload::{File, Payload},
};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes `directory` hold exactly `payload`; true where that changed anything. `group` is the pod's `fsGroup`.
pub fn write(directory: &Path, payload: &Payload, group: Option<u32>, now: Timestamp) -> Result<bool, VolumeError> {
    fs::create_dir_all(directory).map_err(VolumeError::io(directory))?;
    let current = fs::read_link(directory.join(DATA)).ok().map(|link| directory.join(link));
    if current.as_deref().is_some_and(|current| holds(current, payload)) {
        link_names(directory, payload)?;
        return Ok(false);
    }
    let fresh = fresh_directory(directory, now)?;
    for (path, file) in payload {
        write_file(&fresh.join(path), file, group)?;
    }
    if let Some(group) = group {
        give_directories(&fresh, group)?;
    }
    let name = fresh.file_name().expect("a fresh directory has a name");
    let link = directory.join(NEW_DATA);
    let _ = fs::remove_file(&link);
    symlink(name, &link).map_err(VolumeError::io(&link))?;
    fs::rename(&link, directory.join(DATA)).map_err(VolumeError::io(&link))?;
    link_names(directory, payload)?;
    remove_stale(directory, &fresh, payload)?;
    Ok(true)
}

fn fresh_directory(directory: &Path, now: Timestamp) -> Result<PathBuf, VolumeError> {
    let stamp = now.strftime("%Y_%m_%d_%H_%M_%S").to_string();
    loop {
        let path = directory.join(format!("..{stamp}.{}", rand::random::<u32>()));
        match fs::create_dir(&path) {
            Ok(()) => {
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(&path, mode).map_err(VolumeError::io(&path))?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(VolumeError::io(path)(error)),
        }
    }
}

fn write_file(path: &Path, file: &File, group: Option<u32>) -> Result<(), VolumeError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(VolumeError::io(parent))?;
    }
    fs::write(path, &file.bytes).map_err(VolumeError::io(path))?;
    // A group that owns the volume may read it.
    let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(VolumeError::io(path))?;
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group).map_err(VolumeError::io(path))?;
    }
    Ok(())
}

fn give_directories(directory: &Path, group: u32) -> Result<(), VolumeError> {
    std::os::unix::fs::chown(directory, None, Some(group)).map_err(VolumeError::io(directory))?;
    for entry in fs::read_dir(directory).map_err(VolumeError::io(directory))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            give_directories(&entry.path(), group)?;
        }
    }
    Ok(())
}

/// Whether `current` has exactly these files already.
fn holds(current: &Path, payload: &Payload) -> bool {
    let mut found = BTreeSet::new();
    collect(current, current, &mut found);
    found.iter().map(String::as_str).eq(payload.keys().map(String::as_str))
        && payload.iter().all(|(path, file)| {
            let path = current.join(path);
            let same_mode = fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & file.mode == file.mode);
            same_mode && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
        })
}

fn collect(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(root, &path, found);
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.insert(relative.to_string_lossy().into_owned());
        }
    }
}

fn top_level(payload: &Payload) -> BTreeSet<&str> {
    payload.keys().map(|path| path.split('/').next().unwrap_or(path)).collect()
}

fn link_names(directory: &Path, payload: &Payload) -> Result<(), VolumeError> {
    for name in top_level(payload) {
        let link = directory.join(name);
        match symlink(Path::new(DATA).join(name), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(VolumeError::io(link)(error)),
            _ => {}
        }
    }
    Ok(())
}

fn remove_stale(directory: &Path, fresh: &Path, payload: &Payload) -> Result<(), VolumeError> {
    let wanted = top_level(payload);
    for entry in fs::read_dir(directory).map_err(VolumeError::io(directory))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if name == DATA || path == fresh || wanted.contains(name.as_str()) {
            continue;
        }
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(VolumeError::io(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use expect_test::expect;
    use jiff::Timestamp;

    use super::write;
    use crate::volumes::payload::{File, Payload};

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o640 };
        files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    fn shown(directory: &Path) -> String {
        let mut lines: Vec<_> = fs::read_dir(directory)
            .expect("a directory")
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with(".."))
            .map(|entry| {
                let link = fs::read_link(entry.path()).expect("a link");
                format!("{} -> {}\n", entry.file_name().to_string_lossy(), link.display())
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    #[test]
    fn a_volume_changes_all_at_once_and_only_when_it_must() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let put = |files| write(path, &payload(files), None, Timestamp::UNIX_EPOCH).expect("writable");
        assert!(put(&[("a", "1"), ("deep/b", "2")]));
        assert!(!put(&[("a", "1"), ("deep/b", "2")]));
        expect![[r#"
            a -> ..data/a
            deep -> ..data/deep
        "#]]
        .assert_eq(&shown(path));
        assert_eq!(fs::read_to_string(path.join("deep/b")).expect("readable"), "2");
        assert_eq!(fs::metadata(path.join("a")).expect("there").permissions().mode() & 0o777, 0o640);

        let before = fs::read_link(path.join("..data")).expect("a link");
        assert!(put(&[("a", "3")]));
        assert_ne!(fs::read_link(path.join("..data")).expect("a link"), before);
        expect![[r#"
            a -> ..data/a
        "#]]
        .assert_eq(&shown(path));
        assert_eq!(fs::read_to_string(path.join("a")).expect("readable"), "3");
        assert!(!path.join(before).exists());
    }
}
