//! The whole of what the runtime is asked for, put together from pod, image and what was prepared. Pure.

use std::{collections::BTreeMap, path::PathBuf};

use coracle_runtime::{
    ContainerSpec, LogSpec, Mount, MountKind, Namespaces, ProcessSpec, Propagation, Resources, User,
};
use k8s_openapi::api::core::v1 as core;

use super::{ConfigError, expand::expand, security::Security};
use crate::{
    doors::ImageInfo,
    pod::qos::{self, Qos},
    quantity,
};

/// Labels by which a container is known again after a restart of the engine.
pub mod label {
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub const CONTAINER: &str = "io.kubernetes.container.name";
    pub const ATTEMPT: &str = "io.kubernetes.container.restartCount";
    /// The image as the spec named it.
    pub const IMAGE: &str = "coracle.container.image";
    pub const IMAGE_ID: &str = "coracle.container.image-id";
    pub const STOP_SIGNAL: &str = "coracle.container.stop-signal";
    pub const MESSAGE_PATH: &str = "coracle.container.termination-message-path";
    pub const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
}

const PERIOD_US: u64 = 100_000;
const MINIMUM_QUOTA_US: u64 = 1000;
const MINIMUM_SHARES: u64 = 2;
const SHARES_A_CPU: u64 = 1024;

/// What was found out and made before the container can be described.
pub struct Prepared<'a> {
    pub pod: &'a core::Pod,
    pub container: &'a core::Container,
    pub attempt: u32,
    pub image: &'a ImageInfo,
    pub user: User,
    pub environment: Vec<(String, String)>,
    pub hostname: &'a str,
    pub namespaces: Namespaces,
    /// Volume name to its directory (or file) on the node.
    pub mounts: Vec<Mount>,
    pub log: PathBuf,
    pub message_path: PathBuf,
    pub memory_capacity_bytes: u64,
}

/// A container's id: unique for all time, and readable.
pub fn container_id(pod_uid: &str, container: &str, attempt: u32) -> String {
    format!("{pod_uid}_{container}_{attempt}")
}

/// The control group of a pod, below the runtime's own.
pub fn pod_group(uid: &str) -> String {
    format!("pods/{uid}")
}

/// The description itself.
pub fn assemble(prepared: Prepared<'_>) -> Result<ContainerSpec, ConfigError> {
    let Prepared { pod, container, attempt, image, .. } = prepared;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let uid = text(&pod.metadata.uid);
    let security = Security::new(pod, container);
    let environment = merged_environment(&prepared);
    let stop_signal = stop_signal(container, image);
    let labels: BTreeMap<String, String> = [
        (label::POD_UID, uid.clone()),
        (label::POD_NAME, text(&pod.metadata.name)),
        (label::POD_NAMESPACE, text(&pod.metadata.namespace)),
        (label::CONTAINER, container.name.clone()),
        (label::ATTEMPT, attempt.to_string()),
        (label::IMAGE, text(&container.image)),
        (label::IMAGE_ID, image.status_id()),
        (label::STOP_SIGNAL, stop_signal),
        (label::MESSAGE_PATH, prepared.message_path.display().to_string()),
        (label::MESSAGE_POLICY, text(&container.termination_message_policy)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    Ok(ContainerSpec {
        id: container_id(&uid, &container.name, attempt),
        labels,
        image: text(&container.image),
        layers: image.layers.clone(),
        process: ProcessSpec {
            args: arguments(container, image, &environment),
            env: environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            cwd: container
                .working_dir
                .clone()
                .filter(|dir| !dir.is_empty())
                .unwrap_or_else(|| image.working_dir.clone()),
            user: security.with_groups(prepared.user),
            tty: container.tty.unwrap_or_default(),
            capabilities: security.capabilities(),
            no_new_privs: security.no_new_privs(),
            seccomp: security.seccomp()?,
            rlimits: Vec::new(),
            oom_score_adj: oom_score_adj(pod, container, prepared.memory_capacity_bytes),
        },
        namespaces: prepared.namespaces,
        mounts: prepared.mounts,
        read_only_root: security.read_only_root(),
        privileged: security.privileged(),
        unmasked_proc: security.unmasked_proc(),
        // Each run has a group of its own: removing the last one must not touch the next.
        cgroup: format!("{}/{}_{attempt}", pod_group(&uid), container.name),
        resources: resources(container),
        log: Some(LogSpec::new(prepared.log)),
        stdin: container.stdin.unwrap_or_default(),
        stdin_once: container.stdin_once.unwrap_or_default(),
        sysctls: sysctls(pod),
    })
}

/// The image's variables, then the host name, then the container's own; each once, the last one wins.
fn merged_environment(prepared: &Prepared<'_>) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::new();
    let image = prepared.image.env.iter().filter_map(|text| text.split_once('='));
    let image = image.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let hostname = std::iter::once(("HOSTNAME".to_owned(), prepared.hostname.to_owned()));
    for (name, value) in image.chain(hostname).chain(prepared.environment.iter().cloned()) {
        match merged.iter_mut().find(|(found, _)| *found == name) {
            Some((_, old)) => *old = value,
            None => merged.push((name, value)),
        }
    }
    merged
}

/// `command` replaces the entrypoint and drops the image's arguments; `args` alone replaces only those.
fn arguments(container: &core::Container, image: &ImageInfo, environment: &[(String, String)]) -> Vec<String> {
    let lookup = |name: &str| environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|text| expand(text, lookup)).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    match (command.is_empty(), args.is_empty()) {
        (false, _) => [command, args].concat(),
        (true, false) => [image.entrypoint.clone(), args].concat(),
        (true, true) => [image.entrypoint.clone(), image.cmd.clone()].concat(),
    }
}

fn stop_signal(container: &core::Container, image: &ImageInfo) -> String {
    let own = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
    own.or_else(|| image.stop_signal.clone())
        .filter(|signal| !signal.is_empty())
        .unwrap_or_else(|| "SIGTERM".to_owned())
}

fn oom_score_adj(pod: &core::Pod, container: &core::Container, capacity_bytes: u64) -> i32 {
    let class = pod.spec.as_ref().map_or(Qos::BestEffort, qos::qos);
    let resources = container.resources.as_ref();
    let request = quantity::whole_of(resources.and_then(|resources| resources.requests.as_ref()), "memory")
        .or_else(|| quantity::whole_of(resources.and_then(|resources| resources.limits.as_ref()), "memory"));
    qos::oom_score_adj(class, request.unwrap_or(0), capacity_bytes)
}

/// Requests as weights, limits as limits.
fn resources(container: &core::Container) -> Resources {
    let resources = container.resources.as_ref();
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let cpu_limit = quantity::milli_of(limits, "cpu").filter(|milli| *milli > 0);
    let cpu_request = quantity::milli_of(requests, "cpu").or(cpu_limit);
    let shares = cpu_request.map_or(MINIMUM_SHARES, |milli| milli * SHARES_A_CPU / 1000);
    Resources {
        cpu_shares: Some(shares.max(MINIMUM_SHARES)),
        cpu_quota_us: cpu_limit.map(|milli| (milli * PERIOD_US / 1000).max(MINIMUM_QUOTA_US)),
        memory_limit_bytes: quantity::whole_of(limits, "memory").filter(|bytes| *bytes > 0),
        pids_limit: None,
    }
}

fn sysctls(pod: &core::Pod) -> BTreeMap<String, String> {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let sysctls = context.into_iter().flat_map(|context| context.sysctls.iter().flatten());
    sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect()
}

/// A file or directory of the node in the container.
pub fn bind(source: PathBuf, destination: &str, read_only: bool, propagation: Option<&str>, recursive: bool) -> Mount {
    let propagation = match propagation {
        Some("HostToContainer") => Propagation::HostToContainer,
        Some("Bidirectional") => Propagation::Bidirectional,
        _ => Propagation::Private,
    };
    let kind = MountKind::Bind { source, propagation, recursive_read_only: recursive };
    Mount { destination: destination.to_owned(), kind, read_only }
}

#[cfg(test)]
mod tests {
    use coracle_runtime::{Namespaces, User};
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::{Prepared, assemble};
    use crate::doors::ImageInfo;

    fn check(container: Value, expected: Expect) {
        let pod = json!({ "metadata": { "name": "web", "namespace": "shop", "uid": "u1" }, "spec": { "containers": [container] } });
        let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(pod).expect("a pod");
        let image = ImageInfo {
            id: "sha256:1".into(),
            layers: vec!["sha256:2".into()],
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into()],
            env: vec!["PATH=/bin".into(), "A=image".into()],
            working_dir: "/srv".into(),
            stop_signal: Some("SIGQUIT".into()),
            ..ImageInfo::default()
        };
        let spec = assemble(Prepared {
            pod: &pod,
            container: &pod.spec.as_ref().expect("a spec").containers[0],
            attempt: 2,
            image: &image,
            user: User::default(),
            environment: vec![("A".into(), "own".into())],
            hostname: "web",
            namespaces: Namespaces::default(),
            mounts: Vec::new(),
            log: "/logs/2.log".into(),
            message_path: "/message".into(),
            memory_capacity_bytes: 1 << 30,
        })
        .expect("it can be put together");
        let process = &spec.process;
        expected.assert_eq(&format!(
            "{} in {}\n{:?} {:?}\ncwd {} oom {} stop {}\n{:?}\n",
            spec.id,
            spec.cgroup,
            process.args,
            process.env,
            process.cwd,
            process.oom_score_adj,
            spec.labels[super::label::STOP_SIGNAL],
            spec.resources,
        ));
    }

    #[test]
    fn the_image_decides_where_the_container_is_silent() {
        check(
            json!({ "name": "a" }),
            expect![[r#"
                u1_a_2 in pods/u1/a_2
                ["/entry", "serve"] ["PATH=/bin", "A=own", "HOSTNAME=web"]
                cwd /srv oom 1000 stop SIGQUIT
                Resources { cpu_shares: Some(2), cpu_quota_us: None, memory_limit_bytes: None, pids_limit: None }
            "#]],
        );
    }

    #[test]
    fn the_container_decides_where_it_speaks() {
        check(
            json!({ "name": "a", "command": ["/run", "$(A)"], "args": ["$(NONE)", "$$(A)"], "workingDir": "/w",
                "lifecycle": { "stopSignal": "SIGUSR1" },
                "resources": { "limits": { "cpu": "500m", "memory": "64Mi" } } }),
            expect![[r#"
                u1_a_2 in pods/u1/a_2
                ["/run", "own", "$(NONE)", "$(A)"] ["PATH=/bin", "A=own", "HOSTNAME=web"]
                cwd /w oom -997 stop SIGUSR1
                Resources { cpu_shares: Some(512), cpu_quota_us: Some(50000), memory_limit_bytes: Some(67108864), pids_limit: None }
            "#]],
        );
        check(
            json!({ "name": "a", "args": ["x"], "resources": { "requests": { "cpu": "2" } } }),
            expect![[r#"
                u1_a_2 in pods/u1/a_2
                ["/entry", "x"] ["PATH=/bin", "A=own", "HOSTNAME=web"]
                cwd /srv oom 999 stop SIGQUIT
                Resources { cpu_shares: Some(2048), cpu_quota_us: None, memory_limit_bytes: None, pids_limit: None }
            "#]],
        );
    }
}
