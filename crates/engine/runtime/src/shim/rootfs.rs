//! The container's root: an overlay of the image's layers and a directory of its own.

use std::{
    fs::{self, Permissions},
    io,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change, move_mount,
};

use crate::wire::RunRequest;

/// `mount(2)` takes a page of options, and no more.
const MAX_OPTIONS_BYTES: usize = 4000;

/// Mounts the overlay. Call it in the container's own mount namespace: no other process ever sees the mount, and it goes with the
/// namespace, however the container or its shim end.
pub(super) fn prepare(request: &RunRequest) -> io::Result<PathBuf> {
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    let root = request.dir.join("rootfs");
    let lower: Vec<PathBuf> =
        request.spec.layers.iter().rev().map(|layer| layer_directory(&request.layers_dir, layer)).collect();
    if let Some(missing) = lower.iter().find(|layer| !layer.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("layer {} is not unpacked", missing.display())));
    }
    mount_overlay(&lower, &request.upper, &request.work, &root)?;
    Ok(root)
}

/// The directories the overlay needs. The upper one's mode is that of the container's `/`.
pub(super) fn make_directories(request: &RunRequest) -> io::Result<()> {
    for directory in [&request.dir.join("rootfs"), &request.upper, &request.work] {
        fs::create_dir_all(directory)?;
    }
    let top = request.spec.layers.last().map(|layer| layer_directory(&request.layers_dir, layer));
    let mode =
        top.and_then(|top| fs::metadata(top).ok()).map_or_else(|| Permissions::from_mode(0o755), |m| m.permissions());
    fs::set_permissions(&request.upper, mode)
}

pub(crate) fn layer_directory(layers_dir: &Path, diff_id: &str) -> PathBuf {
    layers_dir.join(diff_id.rsplit(':').next().unwrap_or(diff_id))
}

fn mount_overlay(lower: &[PathBuf], upper: &Path, work: &Path, root: &Path) -> io::Result<()> {
    // FROM scratch: an overlay wants something below, an empty directory will do.
    let empty = [work.with_file_name("empty")];
    let lower = if lower.is_empty() {
        fs::create_dir_all(&empty[0])?;
        &empty
    } else {
        lower
    };
    match layer_by_layer(lower, upper, work) {
        Ok(overlay) => {
            move_mount(&overlay, "", rustix::fs::CWD, root, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            Ok(())
        }
        // Before Linux 6.5 layers cannot be added one by one.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINVAL as i32) => {
            all_at_once(lower, upper, work, root)
        }
        Err(error) => Err(error),
    }
}

fn layer_by_layer(lower: &[PathBuf], upper: &Path, work: &Path) -> io::Result<OwnedFd> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in lower {
        fsconfig_set_string(&overlay, "lowerdir+", layer.as_os_str())?;
    }
    fsconfig_set_string(&overlay, "upperdir", upper.as_os_str())?;
    fsconfig_set_string(&overlay, "workdir", work.as_os_str())?;
    // What a container wrote is not used after a crash of the machine, so nothing waits for the disk.
    fsconfig_set_flag(&overlay, "volatile")?;
    fsconfig_create(&overlay)?;
    Ok(fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// With names relative to the layers' directory, so that some sixty layers fit.
fn all_at_once(lower: &[PathBuf], upper: &Path, work: &Path, root: &Path) -> io::Result<()> {
    let names: Vec<String> =
        lower.iter().filter_map(|layer| Some(layer.file_name()?.to_string_lossy().into_owned())).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={},volatile", names.join(":"), upper.display(), work.display());
    if options.len() > MAX_OPTIONS_BYTES {
        return Err(io::Error::other(format!(
            "{} layers are too many for this kernel, Linux 6.5 takes more",
            lower.len()
        )));
    }
    let before = std::env::current_dir()?;
    std::env::set_current_dir(lower.first().and_then(|layer| layer.parent()).unwrap_or(Path::new("/")))?;
    let options = std::ffi::CString::new(options).map_err(io::Error::other)?;
    let result = mount("overlay", root, "overlay", MountFlags::empty(), Some(options.as_c_str()));
    std::env::set_current_dir(before)?;
    Ok(result?)
}
