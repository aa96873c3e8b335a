//! Starting one container: image, configuration, files, and then the runtime.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use coracle_runtime::Mount;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use tokio_util::sync::CancellationToken;

use super::{images, sandbox::Surroundings, sources};
use crate::{
    container::{
        ConfigError, Sources,
        assemble::{Prepared, assemble, bind, container_id},
        env, expand, files, references,
        security::Security,
    },
    context::Context,
    doors::{ImageInfo, StartError},
    volumes::{directories, subpath},
};

/// What a start came to.
pub enum Started {
    Running {
        id: String,
        started_at: Timestamp,
    },
    /// Given up while it pulled.
    Aborted,
    NoImage {
        reason: &'static str,
        message: String,
    },
    /// `CreateContainerConfigError` or `CreateContainerError`.
    NotCreated {
        reason: &'static str,
        message: String,
    },
    /// Its command could not be executed.
    NotStarted {
        id: String,
        message: String,
    },
}

/// Starts run number `attempt` of `container`. `on_image` hears the image's id once it is here.
pub async fn start(
    context: &Context,
    pod: &core::Pod,
    container: &core::Container,
    attempt: u32,
    surroundings: &Surroundings,
    abort: &CancellationToken,
    on_image: impl AsyncFnOnce(String),
) -> Started {
    let image = tokio::select! {
        () = abort.cancelled() => return Started::Aborted,
        image = images::ensure(context, pod, container) => image,
    };
    let image = match image {
        Ok(image) => image,
        Err((reason, message)) => return Started::NoImage { reason, message },
    };
    on_image(image.status_id()).await;
    if abort.is_cancelled() {
        return Started::Aborted;
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let id = container_id(uid, &container.name, attempt);
    let name = Some(container.name.as_str());
    let spec = match describe(context, pod, container, attempt, &image, surroundings).await {
        Ok(spec) => spec,
        Err(error) => {
            context.warn(pod, name, "Failed", format!("Error: {error}"));
            return Started::NotCreated { reason: "CreateContainerConfigError", message: error.to_string() };
        }
    };
    match context.runtime.start(spec).await {
        Ok(started_at) => {
            context.inform(pod, name, "Created", "Container created".to_owned());
            context.inform(pod, name, "Started", "Container started".to_owned());
            forget_earlier(context, uid, &container.name, attempt).await;
            Started::Running { id, started_at }
        }
        Err(StartError::Create(message)) => {
            context.warn(pod, name, "Failed", format!("Error: {message}"));
            Started::NotCreated { reason: "CreateContainerError", message }
        }
        Err(StartError::Start(message)) => {
            context.inform(pod, name, "Created", "Container created".to_owned());
            context.warn(pod, name, "Failed", format!("Error: {message}"));
            Started::NotStarted { id, message }
        }
    }
}

/// The run before this one keeps its log, the one before that nothing.
async fn forget_earlier(context: &Context, uid: &str, container: &str, attempt: u32) {
    let Some(previous) = attempt.checked_sub(1) else { return };
    if let Err(error) = context.runtime.remove(&container_id(uid, container, previous)).await {
        tracing::debug!(%error, container, "the run before is not removed");
    }
    if let Some(older) = previous.checked_sub(1) {
        remove_logs(&context.log_path(uid, container, older));
    }
}

/// A log and what was rotated away from it.
fn remove_logs(log: &Path) {
    let (Some(directory), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else { return };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|found| found.starts_with(name)) {
            // What stays is removed with the pod.
            let _ = fs::remove_file(entry.path());
        }
    }
}

async fn describe(
    context: &Context,
    pod: &core::Pod,
    container: &core::Container,
    attempt: u32,
    image: &ImageInfo,
    surroundings: &Surroundings,
) -> Result<coracle_runtime::ContainerSpec, ConfigError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let sources = sources(&context.api, namespace, references(pod)).await;
    let sources: Sources = sources.map_err(|error| ConfigError::User(error.to_string()))?;
    let facts = context.facts(&surroundings.ips);
    let environment = env::environment(pod, container, &sources, &facts)?;
    let user = Security::new(pod, container).user(&image.user)?;
    let user = context.runtime.resolve_user(image, &user).map_err(ConfigError::User)?;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let pod_dir = context.pod_dir(uid);
    let message_path = pod_dir.join("containers").join(&container.name).join(format!("termination-{attempt}"));
    let log = context.log_path(uid, &container.name, attempt);
    let hostname = files::hostname(pod, &context.node.name, &context.node.dns.cluster_domain);
    let failed = |error: io::Error| ConfigError::User(format!("cannot write the files of the pod: {error}"));
    write_files(context, pod, &pod_dir, surroundings, &hostname).map_err(failed)?;
    prepare_paths(&log, &message_path).map_err(failed)?;
    let mut mounts = volume_mounts(pod, container, &pod_dir, &environment)?;
    add_own_mounts(&mut mounts, container, &pod_dir, &message_path);
    assemble(Prepared {
        pod,
        container,
        attempt,
        image,
        user,
        environment,
        hostname: &hostname,
        namespaces: surroundings.namespaces.clone(),
        mounts,
        log,
        message_path,
        memory_capacity_bytes: context.node.memory_capacity_bytes,
    })
}

/// `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname`, the same for all containers of the pod.
fn write_files(
    context: &Context,
    pod: &core::Pod,
    pod_dir: &Path,
    surroundings: &Surroundings,
    hostname: &str,
) -> io::Result<()> {
    let directory = pod_dir.join("etc");
    fs::create_dir_all(&directory)?;
    let dns = &context.node.dns;
    let node_hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let hosts = files::hosts(pod, &surroundings.ips, &dns.cluster_domain, &node_hosts);
    write_once(&directory.join("hosts"), &hosts)?;
    write_once(&directory.join("resolv.conf"), &files::resolv_conf(pod, dns))?;
    write_once(&directory.join("hostname"), &format!("{hostname}\n"))
}

/// In place, since containers that run have the file itself mounted.
fn write_once(path: &Path, text: &str) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(found) if found == text => Ok(()),
        _ => fs::write(path, text),
    }
}

fn prepare_paths(log: &Path, message: &Path) -> io::Result<()> {
    for path in [log, message] {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
    }
    fs::write(message, "")?;
    // Whoever the container runs as may write its last words.
    fs::set_permissions(message, fs::Permissions::from_mode(0o666))
}

fn volume_mounts(
    pod: &core::Pod,
    container: &core::Container,
    pod_dir: &Path,
    environment: &[(String, String)],
) -> Result<Vec<Mount>, ConfigError> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| ConfigError::NoVolume(mount.name.clone(), mount.mount_path.clone()))?;
        let source = mount_source(&directories::source(pod_dir, volume), container, mount, environment)?;
        let from_api = volume.host_path.is_none() && volume.empty_dir.is_none();
        let read_only = mount.read_only.unwrap_or_default() || from_api;
        let recursive = matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
        let destination =
            if mount.mount_path.starts_with('/') { mount.mount_path.clone() } else { format!("/{}", mount.mount_path) };
        mounts.push(bind(source, &destination, read_only, mount.mount_propagation.as_deref(), recursive));
    }
    Ok(mounts)
}

fn mount_source(
    volume: &Path,
    container: &core::Container,
    mount: &core::VolumeMount,
    environment: &[(String, String)],
) -> Result<PathBuf, ConfigError> {
    let fail =
        |reason: String| ConfigError::SubPath { volume: mount.name.clone(), container: container.name.clone(), reason };
    let sub = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) if !expression.is_empty() => {
            let lookup =
                |name: &str| environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
            let expanded = expand::expand(expression, lookup);
            if expanded.contains("$(") {
                return Err(fail(format!("missing value for {expression:?}")));
            }
            expanded
        }
        (_, Some(path)) if !path.is_empty() => path.clone(),
        _ => return Ok(volume.to_owned()),
    };
    subpath::resolve(volume, &sub).map_err(|error| fail(error.to_string()))
}

/// The files every container gets unless it brings its own.
fn add_own_mounts(mounts: &mut Vec<Mount>, container: &core::Container, pod_dir: &Path, message_path: &Path) {
    let message =
        container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log");
    let etc = pod_dir.join("etc");
    let own = [
        (etc.join("hosts"), "/etc/hosts"),
        (etc.join("resolv.conf"), "/etc/resolv.conf"),
        (etc.join("hostname"), "/etc/hostname"),
        (message_path.to_owned(), message),
    ];
    for (source, destination) in own {
        if !mounts.iter().any(|mount| mount.destination == destination) {
            mounts.push(bind(source, destination, false, None, false));
        }
    }
}
