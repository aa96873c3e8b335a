//! What the Pod Security Standards ask of a pod, check by check, in upstream's order and words.
//! See <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.

use std::collections::BTreeSet;

use serde_json::Value;

use super::policy::{Level, Version};

/// A pod, or what a workload would make one from.
#[derive(Clone, Copy)]
pub struct Pod<'a> {
    /// Its metadata, for annotations of old.
    pub metadata: &'a Value,
    /// Its spec.
    pub spec: &'a Value,
}

/// What is wrong with a pod.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// In a word or two.
    pub reason: String,
    /// Who does it, and what to do.
    pub detail: String,
}

/// One check of the standards.
struct Check {
    level: Level,
    /// The minor version that brought it.
    since: u16,
    /// From which version on a stricter check stands in for it in the restricted level.
    replaced_since: Option<u16>,
    look: fn(Pod<'_>, u16) -> Option<Finding>,
}

const fn baseline(since: u16, replaced_since: Option<u16>, look: fn(Pod<'_>, u16) -> Option<Finding>) -> Check {
    Check { level: Level::Baseline, since, replaced_since, look }
}

const fn restricted(since: u16, look: fn(Pod<'_>, u16) -> Option<Finding>) -> Check {
    Check { level: Level::Restricted, since, replaced_since: None, look }
}

const CHECKS: [Check; 19] = [
    baseline(0, None, app_armor),
    baseline(0, Some(22), capabilities),
    baseline(0, None, host_namespaces),
    baseline(0, Some(0), host_path_volumes),
    baseline(0, None, host_ports),
    baseline(34, None, host_probes),
    baseline(0, None, privileged),
    baseline(0, Some(35), proc_mount_baseline),
    baseline(0, None, se_linux),
    baseline(0, Some(19), seccomp_baseline),
    baseline(0, None, sysctls),
    baseline(0, None, windows_host_process),
    restricted(8, privilege_escalation),
    restricted(22, dropped_capabilities),
    restricted(35, proc_mount),
    restricted(0, volume_types),
    restricted(0, run_as_non_root),
    restricted(23, run_as_user),
    restricted(19, seccomp_restricted),
];

/// The newest version there are checks for.
const NEWEST: u16 = 35;

/// Everything that keeps a pod from a level.
pub fn findings(pod: Pod<'_>, level: Level, version: Version) -> Vec<Finding> {
    let version = version.minor().unwrap_or(NEWEST).min(NEWEST);
    // Privileged is below every check's level.
    let meant = CHECKS.iter().filter(|check| {
        let replaced = level == Level::Restricted && check.replaced_since.is_some_and(|since| version >= since);
        check.level <= level && version >= check.since && !replaced
    });
    meant.filter_map(|check| (check.look)(pod, version)).collect()
}

impl<'a> Pod<'a> {
    fn containers(self) -> impl Iterator<Item = &'a Value> {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        lists.into_iter().flat_map(move |list| self.spec[list].as_array().into_iter().flatten())
    }

    /// The names of the containers that are so.
    fn which(self, is: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| is(container)).map(name).collect()
    }

    fn is_windows(self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    fn has_own_users(self) -> bool {
        self.spec["hostUsers"] == Value::Bool(false)
    }
}

fn name(object: &Value) -> &str {
    object["name"].as_str().unwrap_or_default()
}

fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `container "a"`, `containers "a", "b"`.
fn named(word: &str, names: &[&str]) -> String {
    format!("{word}{} {}", if names.len() == 1 { "" } else { "s" }, quoted(names))
}

fn finding(reason: &str, detail: String) -> Option<Finding> {
    Some(Finding { reason: reason.to_owned(), detail })
}

/// A finding about containers, where there are some.
fn about(names: &[&str], reason: &str, what: &str) -> Option<Finding> {
    if names.is_empty() {
        return None;
    }
    finding(reason, format!("{} {what}", named("container", names)))
}

/// `pod and container "a"`, from those of them that do it.
fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    let mut all = Vec::new();
    if pod {
        all.push("pod".to_owned());
    }
    if !containers.is_empty() {
        all.push(named("container", containers));
    }
    (!all.is_empty()).then(|| all.join(" and "))
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

fn app_armor(pod: Pod<'_>, _: u16) -> Option<Finding> {
    let profile = |of: &Value| {
        let profile = &of["securityContext"]["appArmorProfile"];
        let kind = profile["type"].as_str().unwrap_or_default();
        (profile.is_object() && !matches!(kind, "RuntimeDefault" | "Localhost")).then(|| kind.to_owned())
    };
    let mut values: BTreeSet<String> = profile(pod.spec).into_iter().collect();
    values.extend(pod.containers().filter_map(&profile));
    let annotations = pod.metadata["annotations"].as_object().into_iter().flatten();
    let bad = annotations.filter_map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        let fine = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        (key.starts_with(APP_ARMOR) && !fine).then(|| format!("{key}={value:?}"))
    });
    let annotated: BTreeSet<String> = bad.collect();
    let mut who: Vec<String> =
        setters(profile(pod.spec).is_some(), &pod.which(|container| profile(container).is_some()))
            .into_iter()
            .collect();
    if !annotated.is_empty() {
        who.push(if annotated.len() == 1 { "annotation".into() } else { "annotations".into() });
    }
    if who.is_empty() {
        return None;
    }
    let all: Vec<&String> = values.iter().chain(&annotated).collect();
    let reason = if all.len() == 1 { "forbidden AppArmor profile" } else { "forbidden AppArmor profiles" };
    finding(reason, format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(all)))
}

const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn added(container: &Value) -> impl Iterator<Item = &str> {
    texts(&container["securityContext"]["capabilities"]["add"])
}

/// The containers that add capabilities beyond `allowed`, and these.
fn adding<'a>(pod: Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let bad = |capability: &&str| !allowed.contains(capability);
    let names = pod.which(|container| added(container).any(|capability| bad(&capability)));
    (names, pod.containers().flat_map(added).filter(bad).collect())
}

fn capabilities(pod: Pod<'_>, _: u16) -> Option<Finding> {
    let (names, bad) = adding(pod, &DEFAULT_CAPABILITIES);
    let what = format!("must not include {} in securityContext.capabilities.add", quoted(bad));
    about(&names, "non-default capabilities", &what)
}

fn dropped_capabilities(pod: Pod<'_>, version: u16) -> Option<Finding> {
    if version >= WINDOWS_EXEMPT_SINCE && pod.is_windows() {
        return None;
    }
    let keeping =
        pod.which(|container| !texts(&container["securityContext"]["capabilities"]["drop"]).any(|drop| drop == "ALL"));
    let (names, bad) = adding(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        let who = named("container", &keeping);
        details.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if !names.is_empty() {
        let who = named("container", &names);
        details.push(format!("{who} must not include {} in securityContext.capabilities.add", quoted(bad)));
    }
    if details.is_empty() { None } else { finding("unrestricted capabilities", details.join("; ")) }
}

fn host_namespaces(pod: Pod<'_>, _: u16) -> Option<Finding> {
    let set = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod.spec[*field] == Value::Bool(true));
    let set: Vec<String> = set.map(|field| format!("{field}=true")).collect();
    if set.is_empty() { None } else { finding("host namespaces", set.join(", ")) }
}

fn volumes(pod: Pod<'_>) -> impl Iterator<Item = &Value> {
    pod.spec["volumes"].as_array().into_iter().flatten()
}

fn host_path_volumes(pod: Pod<'_>, _: u16) -> Option<Finding> {
    let names: Vec<&str> = volumes(pod).filter(|volume| volume["hostPath"].is_object()).map(name).collect();
    if names.is_empty() { None } else { finding("hostPath volumes", named("volume", &names)) }
}

const FREE_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn volume_types(pod: Pod<'_>, _: u16) -> Option<Finding> {
    let source = |volume: &Value| {
        let mut fields = volume.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
        fields.next().map_or_else(|| "unknown".to_owned(), |(field, _)| field.clone())
    };
    let bad: Vec<&Value> = volumes(pod).filter(|volume| !FREE_VOLUMES.contains(&source(volume).as_str())).collect();
    if bad.is_empty() {
        return None;
    }
    let names: Vec<&str> = bad.iter().map(|volume| name(volume)).collect();
    let types: BTreeSet<String> = bad.iter().map(|volume| source(volume)).collect();
    let (uses, plural) = (if bad.len() == 1 { "uses" } else { "use" }, if types.len() == 1 { "" } else { "s" });
    let detail = format!("{} {uses} restricted volume type{plural} {}", named("volume", &names), quoted(types));
    finding("restricted volume types", detail)
}

fn host_ports(pod: Pod<'_>, _: u16) -> Option<Finding> {
    fn ports(container: &Value) -> impl Iterator<Item = u64> {
        let ports = container["ports"].as_array().into_iter().flatten();
        ports.filter_map(|port| port["hostPort"].as_u64()).filter(|port| *port != 0)
    }
    let names = pod.which(|container| ports(container).next().is_some());
    let used: BTreeSet<String> = pod.containers().flat_map(ports).map(|port| port.to_string()).collect();
    let list = used.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let what = format!(
        "{} hostPort{} {list}",
        if names.len() == 1 { "uses" } else { "use" },
        if used.len() == 1 { "" } else { "s" }
    );
    about(&names, "hostPort", &what)
}

fn host_probes(pod: Pod<'_>, _: u16) -> Option<Finding> {
    fn hosts(container: &Value) -> impl Iterator<Item = &str> {
        let lifecycle = &container["lifecycle"];
        let handlers = [
            &container["livenessProbe"],
            &container["readinessProbe"],
            &container["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ];
        let places =
            handlers.into_iter().flat_map(|handler| [&handler["httpGet"]["host"], &handler["tcpSocket"]["host"]]);
        places.filter_map(Value::as_str).filter(|host| !host.is_empty())
    }
    let mut names = pod.which(|container| hosts(container).next().is_some());
    names.sort_unstable();
    let used: BTreeSet<&str> = pod.containers().flat_map(hosts).collect();
    let what = format!(
        "{} probe or lifecycle host{} {}",
        if names.len() == 1 { "uses" } else { "use" },
        if used.len() == 1 { "" } else { "s" },
        quoted(&used)
    );
    about(&names, "probe or lifecycle host", &what)
}

fn privileged(pod: Pod<'_>, _: u16) -> Option<Finding> {
    let names = pod.which(|container| container["securityContext"]["privileged"] == Value::Bool(true));
    about(&names, "privileged", "must not set securityContext.privileged=true")
}

fn proc_mount_baseline(pod: Pod<'_>, version: u16) -> Option<Finding> {
    if version >= 35 && pod.has_own_users() { None } else { proc_mount(pod, version) }
}

fn proc_mount(pod: Pod<'_>, _: u16) -> Option<Finding> {
    let bad = |container: &Value| {
        let mount = container["securityContext"]["procMount"].as_str().filter(|mount| *mount != "Default");
        mount.map(str::to_owned)
    };
    let kinds: BTreeSet<String> = pod.containers().filter_map(bad).collect();
    let what = format!("must not set securityContext.procMount to {}", quoted(kinds));
    about(&pod.which(|container| bad(container).is_some()), "procMount", &what)
}

fn se_linux(pod: Pod<'_>, version: u16) -> Option<Finding> {
    let options = |of: &Value| of["securityContext"]["seLinuxOptions"].clone();
    let bad_type = |options: &Value| {
        let kind = options["type"].as_str().unwrap_or_default();
        let known = matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || (version >= 31 && kind == "container_engine_t");
        (!known).then(|| kind.to_owned())
    };
    let sets = |options: &Value, field: &str| options[field].as_str().is_some_and(|text| !text.is_empty());
    let bad = |of: &Value| {
        let options = options(of);
        bad_type(&options).is_some() || sets(&options, "user") || sets(&options, "role")
    };
    let who = setters(bad(pod.spec), &pod.which(bad))?;
    let all: Vec<Value> = std::iter::once(pod.spec).chain(pod.containers()).map(options).collect();
    let types: BTreeSet<String> = all.iter().filter_map(bad_type).collect();
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("type{} {}", if types.len() == 1 { "" } else { "s" }, quoted(types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|options| sets(options, field)) {
            data.push(format!("{field} may not be set"));
        }
    }
    finding("seLinuxOptions", format!("{who} set forbidden securityContext.seLinuxOptions: {}", data.join("; ")))
}

/// The kind of profile that something sets, where it sets one.
fn seccomp(of: &Value) -> Option<&str> {
    let profile = &of["securityContext"]["seccompProfile"];
    profile.is_object().then(|| profile["type"].as_str().unwrap_or_default())
}

fn bad_seccomp(of: &Value) -> Option<&str> {
    seccomp(of).filter(|kind| !matches!(*kind, "RuntimeDefault" | "Localhost"))
}

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

fn seccomp_baseline(pod: Pod<'_>, version: u16) -> Option<Finding> {
    if version < 19 {
        return seccomp_annotations(pod);
    }
    let who = setters(bad_seccomp(pod.spec).is_some(), &pod.which(|container| bad_seccomp(container).is_some()))?;
    let kinds: BTreeSet<&str> = std::iter::once(pod.spec).chain(pod.containers()).filter_map(bad_seccomp).collect();
    finding("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(kinds)))
}

fn seccomp_annotations(pod: Pod<'_>) -> Option<Finding> {
    let keys = std::iter::once(SECCOMP_POD.to_owned())
        .chain(pod.containers().map(|container| format!("{SECCOMP_CONTAINER}{}", name(container))));
    let bad = keys.filter_map(|key| {
        let value = pod.metadata["annotations"][&key].as_str()?;
        let fine = matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
        (!fine).then(|| format!("{key}={value:?}"))
    });
    let bad: BTreeSet<String> = bad.collect();
    if bad.is_empty() {
        return None;
    }
    let list: Vec<&str> = bad.iter().map(String::as_str).collect();
    let plural = if bad.len() == 1 { "" } else { "s" };
    finding("seccompProfile", format!("forbidden annotation{plural} {}", list.join(", ")))
}

fn seccomp_restricted(pod: Pod<'_>, version: u16) -> Option<Finding> {
    if version >= WINDOWS_EXEMPT_SINCE && pod.is_windows() {
        return None;
    }
    if let Some(found) = seccomp_baseline(pod, version) {
        return Some(found);
    }
    if seccomp(pod.spec).is_some() {
        return None;
    }
    let names = pod.which(|container| seccomp(container).is_none());
    let what = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    about(&names, "seccompProfile", what).map(or_pod)
}

/// Something that either the pod or each of the containers has to do.
fn or_pod(finding: Finding) -> Finding {
    Finding { detail: format!("pod or {}", finding.detail), ..finding }
}

/// (minor version, sysctl): safe ones, and since when they count as such.
const SAFE_SYSCTLS: [(u16, &str); 12] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

fn sysctls(pod: Pod<'_>, version: u16) -> Option<Finding> {
    let all = pod.spec["securityContext"]["sysctls"].as_array().into_iter().flatten().map(name);
    let bad: Vec<&str> =
        all.filter(|name| !SAFE_SYSCTLS.iter().any(|(since, safe)| safe == name && version >= *since)).collect();
    if bad.is_empty() { None } else { finding("forbidden sysctls", bad.join(", ")) }
}

fn windows_host_process(pod: Pod<'_>, _: u16) -> Option<Finding> {
    let sets = |of: &Value| of["securityContext"]["windowsOptions"]["hostProcess"] == Value::Bool(true);
    let who = setters(sets(pod.spec), &pod.which(sets))?;
    finding("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}

/// Since then what Windows does not have is not asked of its pods.
const WINDOWS_EXEMPT_SINCE: u16 = 25;

fn privilege_escalation(pod: Pod<'_>, version: u16) -> Option<Finding> {
    if version >= WINDOWS_EXEMPT_SINCE && pod.is_windows() {
        return None;
    }
    let names = pod.which(|container| container["securityContext"]["allowPrivilegeEscalation"] != Value::Bool(false));
    let what = "must set securityContext.allowPrivilegeEscalation=false";
    about(&names, "allowPrivilegeEscalation != false", what)
}

fn run_as_non_root(pod: Pod<'_>, version: u16) -> Option<Finding> {
    if version >= 35 && pod.has_own_users() {
        return None;
    }
    let says = |of: &Value| of["securityContext"]["runAsNonRoot"].as_bool();
    let reason = "runAsNonRoot != true";
    let refusing = |of: &Value| says(of) == Some(false);
    if let Some(who) = setters(refusing(pod.spec), &pod.which(refusing)) {
        return finding(reason, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    if says(pod.spec) == Some(true) {
        return None;
    }
    let names = pod.which(|container| says(container).is_none());
    about(&names, reason, "must set securityContext.runAsNonRoot=true").map(or_pod)
}

fn run_as_user(pod: Pod<'_>, version: u16) -> Option<Finding> {
    if version >= 35 && pod.has_own_users() {
        return None;
    }
    let is_root = |of: &Value| of["securityContext"]["runAsUser"] == 0;
    let who = setters(is_root(pod.spec), &pod.which(is_root))?;
    finding("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(level: Level, spec: Value, expected: Expect) {
        let pod = Pod { metadata: &json!({}), spec: &spec };
        let found = findings(pod, level, Version::LATEST);
        let shown: Vec<String> = found.iter().map(|found| format!("{} ({})", found.reason, found.detail)).collect();
        expected.assert_eq(&shown.join("\n"));
    }

    #[test]
    fn a_plain_pod_is_baseline_but_not_restricted() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b", "securityContext": {"runAsNonRoot": true}}]});
        check(Level::Baseline, spec.clone(), expect![""]);
        check(
            Level::Restricted,
            spec,
            expect![[r#"
                allowPrivilegeEscalation != false (containers "a", "b" must set securityContext.allowPrivilegeEscalation=false)
                unrestricted capabilities (containers "a", "b" must set securityContext.capabilities.drop=["ALL"])
                runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)
                seccompProfile (pod or containers "a", "b" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#]],
        );
    }

    #[test]
    fn a_dangerous_pod_is_told_everything() {
        let spec = json!({
            "hostNetwork": true, "securityContext": {"sysctls": [{"name": "kernel.msgmax"}], "runAsUser": 0, "seccompProfile": {"type": "Unconfined"}},
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "t", "emptyDir": {}}],
            "containers": [{"name": "a", "ports": [{"hostPort": 80}], "securityContext": {"privileged": true, "capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}}],
        });
        check(
            Level::Baseline,
            spec.clone(),
            expect![[r#"
                non-default capabilities (container "a" must not include "NET_ADMIN" in securityContext.capabilities.add)
                host namespaces (hostNetwork=true)
                hostPath volumes (volume "v")
                hostPort (container "a" uses hostPort 80)
                privileged (container "a" must not set securityContext.privileged=true)
                seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")
                forbidden sysctls (kernel.msgmax)"#]],
        );
        check(
            Level::Restricted,
            spec,
            expect![[r#"
                host namespaces (hostNetwork=true)
                hostPort (container "a" uses hostPort 80)
                privileged (container "a" must not set securityContext.privileged=true)
                forbidden sysctls (kernel.msgmax)
                allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)
                unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; container "a" must not include "CHOWN", "NET_ADMIN" in securityContext.capabilities.add)
                restricted volume types (volume "v" uses restricted volume type "hostPath")
                runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)
                runAsUser=0 (pod must not set runAsUser=0)
                seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#]],
        );
    }

    #[test]
    fn a_careful_pod_is_restricted() {
        let spec = json!({
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        });
        check(Level::Restricted, spec, expect![""]);
    }
}
