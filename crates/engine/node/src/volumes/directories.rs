//! Volumes that are plain directories of the node: emptyDir (on disk or in memory) and hostPath.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1 as core;
use rustix::mount::{MountFlags, UnmountFlags};

use super::VolumeError;
use crate::quantity;

/// Where the volumes of a pod stand, and the one called `name` among them.
pub fn directory(pod_dir: &Path, volume: &core::Volume) -> PathBuf {
    pod_dir.join("volumes").join(&volume.name)
}

/// Where a container's mount of this volume comes from.
pub fn source(pod_dir: &Path, volume: &core::Volume) -> PathBuf {
    match &volume.host_path {
        Some(host_path) => PathBuf::from(&host_path.path),
        None => directory(pod_dir, volume),
    }
}

/// Makes an emptyDir, once.
pub fn make_empty(path: &Path, source: &core::EmptyDirVolumeSource, group: Option<u32>) -> Result<(), VolumeError> {
    let new = !path.exists();
    fs::create_dir_all(path).map_err(VolumeError::io(path))?;
    if source.medium.as_deref() == Some("Memory") && !is_mounted(path) {
        let size = source.size_limit.as_ref().and_then(quantity::whole).filter(|size| *size > 0);
        let options = size.map(|bytes| format!("size={bytes},mode=1777")).unwrap_or_else(|| "mode=1777".to_owned());
        let options = std::ffi::CString::new(options).expect("digits hold no zero byte");
        rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
            .map_err(|error| VolumeError::io(path)(error.into()))?;
    } else if !new {
        return Ok(());
    }
    // With a group of its own, the directory hands that group on to what is made in it.
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group).map_err(VolumeError::io(path))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(VolumeError::io(path))
}

fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| std::os::unix::fs::MetadataExt::dev(&metadata));
    path.parent().is_some_and(|parent| device(path) != device(parent))
}

/// Removes all volumes of a pod, those in memory with their mounts.
pub fn remove_all(pod_dir: &Path) -> Result<(), VolumeError> {
    let volumes = pod_dir.join("volumes");
    let entries = match fs::read_dir(&volumes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(VolumeError::io(&volumes))?,
    };
    for entry in entries.flatten().filter(|entry| is_mounted(&entry.path())) {
        rustix::mount::unmount(entry.path(), UnmountFlags::DETACH)
            .map_err(|error| VolumeError::io(entry.path())(error.into()))?;
    }
    remove_tree(&volumes)
}

/// Removes a tree that may be gone already.
pub fn remove_tree(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(VolumeError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Makes or checks a hostPath, as its type says.
pub fn prepare_host_path(source: &core::HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let kind = fs::metadata(path).map(|metadata| metadata.file_type()).ok();
    let make_directory =
        || fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(VolumeError::io(path));
    let make_file =
        || fs::OpenOptions::new().append(true).create(true).open(path).map(drop).map_err(VolumeError::io(path));
    let holds = |test: fn(&fs::FileType) -> bool| kind.as_ref().is_some_and(test);
    let (ok, wanted) = match source.type_.as_deref().unwrap_or_default() {
        "" if kind.is_none() => return make_directory(),
        "" => return Ok(()),
        "DirectoryOrCreate" if kind.is_none() => return make_directory(),
        "FileOrCreate" if kind.is_none() => return make_file(),
        "Directory" | "DirectoryOrCreate" => (holds(fs::FileType::is_dir), "a directory"),
        "File" | "FileOrCreate" => (holds(fs::FileType::is_file), "a file"),
        "Socket" => (holds(fs::FileType::is_socket), "a socket file"),
        "CharDevice" => (holds(fs::FileType::is_char_device), "a character device"),
        "BlockDevice" => (holds(fs::FileType::is_block_device), "a block device"),
        _ => (false, "of a known type"),
    };
    if ok { Ok(()) } else { Err(VolumeError::HostPathType { path: path.to_owned(), wanted }) }
}

/// A volume of a kind this node cannot make, by that kind's name.
pub fn unsupported(volume: &core::Volume) -> Option<&'static str> {
    let known = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
        || volume.empty_dir.is_some()
        || volume.host_path.is_some();
    let named = [
        (volume.persistent_volume_claim.is_some(), "persistentVolumeClaim"),
        (volume.ephemeral.is_some(), "ephemeral"),
        (volume.csi.is_some(), "csi"),
        (volume.nfs.is_some(), "nfs"),
        (volume.image.is_some(), "image"),
        (volume.iscsi.is_some(), "iscsi"),
    ];
    let other = named.into_iter().find(|(is, _)| *is).map(|(_, name)| name);
    (!known).then(|| other.unwrap_or("unknown"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource};

    use super::{make_empty, prepare_host_path};

    #[test]
    fn host_paths_are_made_or_checked() {
        let directory = tempfile::tempdir().expect("a directory");
        let prepare = |name: &str, kind: &str| {
            let path = directory.path().join(name).display().to_string();
            let result = prepare_host_path(&HostPathVolumeSource { path, type_: Some(kind.to_owned()) });
            result.map_err(|error| error.to_string().replace(&directory.path().display().to_string(), "/d"))
        };
        assert_eq!(prepare("a/b", "Directory"), Err("hostPath type check failed: /d/a/b is not a directory".into()));
        assert_eq!(prepare("a/b", "DirectoryOrCreate"), Ok(()));
        assert_eq!(prepare("a/b", "Directory"), Ok(()));
        assert_eq!(prepare("a/b", "FileOrCreate"), Err("hostPath type check failed: /d/a/b is not a file".into()));
        assert_eq!(prepare("a/c", "FileOrCreate"), Ok(()));
        assert_eq!(prepare("a/c", "Socket"), Err("hostPath type check failed: /d/a/c is not a socket file".into()));
        assert_eq!(prepare("a/d", ""), Ok(()));
        assert_eq!(prepare("a/d", "Directory"), Ok(()));
    }

    #[test]
    fn an_empty_dir_keeps_what_is_in_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("v");
        make_empty(&path, &EmptyDirVolumeSource::default(), None).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o777);
        fs::write(path.join("x"), "1").expect("writable");
        make_empty(&path, &EmptyDirVolumeSource::default(), None).expect("there already");
        assert!(path.join("x").exists());
    }
}
