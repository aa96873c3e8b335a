//! Security contexts as what the runtime is asked for. Pure.

use coracle_runtime::{Capabilities, Seccomp, User};
use k8s_openapi::api::core::v1 as core;

use super::ConfigError;

/// The context of one container over that of its pod.
pub struct Security<'a> {
    pod_name: String,
    container: &'a str,
    pod: Option<&'a core::PodSecurityContext>,
    own: Option<&'a core::SecurityContext>,
}

impl<'a> Security<'a> {
    pub fn new(pod: &'a core::Pod, container: &'a core::Container) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let metadata = &pod.metadata;
        Self {
            pod_name: format!("{}_{}({})", text(&metadata.name), text(&metadata.namespace), text(&metadata.uid)),
            container: &container.name,
            pod: pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()),
            own: container.security_context.as_ref(),
        }
    }

    fn run_as_user(&self) -> Option<i64> {
        self.own.and_then(|own| own.run_as_user).or_else(|| self.pod?.run_as_user)
    }

    fn run_as_group(&self) -> Option<i64> {
        self.own.and_then(|own| own.run_as_group).or_else(|| self.pod?.run_as_group)
    }

    fn run_as_non_root(&self) -> bool {
        self.own.and_then(|own| own.run_as_non_root).or_else(|| self.pod?.run_as_non_root).unwrap_or_default()
    }

    /// Who to run as, in the words of an image's `USER`: `uid`, `name`, `uid:gid`, `name:gid`.
    pub fn user(&self, image_user: &str) -> Result<String, ConfigError> {
        let image_name = image_user.split(':').next().unwrap_or_default();
        if self.run_as_non_root() {
            self.refuse_root(image_name)?;
        }
        let name = self.run_as_user().map_or_else(|| image_name.to_owned(), |uid| uid.to_string());
        Ok(match self.run_as_group() {
            Some(gid) if name.is_empty() => format!("0:{gid}"),
            Some(gid) => format!("{name}:{gid}"),
            // The image's own group goes with the image's own user.
            None if self.run_as_user().is_none() => image_user.to_owned(),
            None => name,
        })
    }

    fn refuse_root(&self, image_name: &str) -> Result<(), ConfigError> {
        let about = format!("(pod: \"{}\", container: {})", self.pod_name, self.container);
        let refusal = match (self.run_as_user(), image_name, image_name.parse::<u32>()) {
            (Some(0), ..) => format!("container's runAsUser breaks non-root policy {about}"),
            (Some(_), ..) => return Ok(()),
            (None, "", _) | (None, _, Ok(0)) => {
                format!("container has runAsNonRoot and image will run as root {about}")
            }
            (None, name, Err(_)) => format!(
                "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {about}"
            ),
            (None, _, Ok(_)) => return Ok(()),
        };
        Err(ConfigError::User(refusal))
    }

    /// Adds the pod's groups to those the image's user has.
    pub fn with_groups(&self, mut user: User) -> User {
        let Some(pod) = self.pod else { return user };
        if pod.supplemental_groups_policy.as_deref() == Some("Strict") {
            user.groups.clear();
        }
        let groups = pod.supplemental_groups.iter().flatten().chain(&pod.fs_group);
        for group in groups.filter_map(|group| u32::try_from(*group).ok()) {
            if !user.groups.contains(&group) {
                user.groups.push(group);
            }
        }
        user
    }

    pub fn privileged(&self) -> bool {
        self.own.and_then(|own| own.privileged).unwrap_or_default()
    }

    pub fn read_only_root(&self) -> bool {
        self.own.and_then(|own| own.read_only_root_filesystem).unwrap_or_default()
    }

    pub fn unmasked_proc(&self) -> bool {
        self.own.and_then(|own| own.proc_mount.as_deref()) == Some("Unmasked")
    }

    pub fn no_new_privs(&self) -> bool {
        self.own.and_then(|own| own.allow_privilege_escalation) == Some(false)
    }

    pub fn capabilities(&self) -> Capabilities {
        let capabilities = self.own.and_then(|own| own.capabilities.as_ref());
        Capabilities {
            add: capabilities.and_then(|capabilities| capabilities.add.clone()).unwrap_or_default(),
            drop: capabilities.and_then(|capabilities| capabilities.drop.clone()).unwrap_or_default(),
        }
    }

    pub fn seccomp(&self) -> Result<Seccomp, ConfigError> {
        let profile =
            self.own.and_then(|own| own.seccomp_profile.as_ref()).or_else(|| self.pod?.seccomp_profile.as_ref());
        match profile.map(|profile| profile.type_.as_str()) {
            _ if self.privileged() => Ok(Seccomp::Unconfined),
            None | Some("Unconfined") => Ok(Seccomp::Unconfined),
            Some("RuntimeDefault") => Ok(Seccomp::RuntimeDefault),
            Some(other) => Err(ConfigError::Seccomp(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_runtime::User;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::Security;

    fn check(pod: Value, own: Value, image_user: &str, expected: Expect) {
        let pod = json!({ "metadata": { "name": "web", "namespace": "shop", "uid": "u1" },
            "spec": { "securityContext": pod, "containers": [{ "name": "a", "securityContext": own }] } });
        let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(pod).expect("a pod");
        let security = Security::new(&pod, &pod.spec.as_ref().expect("a spec").containers[0]);
        let shown = match security.user(image_user) {
            Ok(user) => {
                let groups = security.with_groups(User { uid: 0, gid: 0, groups: vec![7] }).groups;
                format!("{user:?} {groups:?}")
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn the_containers_user_wins_over_the_pods_and_the_images() {
        check(json!({}), json!({}), "", expect![[r#""" [7]"#]]);
        check(json!({}), json!({}), "nginx:www", expect![[r#""nginx:www" [7]"#]]);
        check(json!({ "runAsUser": 5 }), json!({}), "nginx:www", expect![[r#""5" [7]"#]]);
        check(
            json!({ "runAsUser": 5, "runAsGroup": 9 }),
            json!({ "runAsUser": 6 }),
            "nginx",
            expect![[r#""6:9" [7]"#]],
        );
        check(json!({ "runAsGroup": 9 }), json!({}), "", expect![[r#""0:9" [7]"#]]);
        check(json!({ "fsGroup": 20, "supplementalGroups": [30, 7] }), json!({}), "", expect![[r#""" [7, 30, 20]"#]]);
        check(json!({ "fsGroup": 20, "supplementalGroupsPolicy": "Strict" }), json!({}), "", expect![[r#""" [20]"#]]);
    }

    #[test]
    fn root_is_refused_where_it_is_forbidden() {
        let non_root = || json!({ "runAsNonRoot": true });
        check(
            non_root(),
            json!({}),
            "",
            expect![[r#"container has runAsNonRoot and image will run as root (pod: "web_shop(u1)", container: a)"#]],
        );
        check(
            non_root(),
            json!({}),
            "nginx",
            expect![[
                r#"container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root (pod: "web_shop(u1)", container: a)"#
            ]],
        );
        check(
            non_root(),
            json!({ "runAsUser": 0 }),
            "nginx",
            expect![[r#"container's runAsUser breaks non-root policy (pod: "web_shop(u1)", container: a)"#]],
        );
        check(non_root(), json!({}), "1000", expect![[r#""1000" [7]"#]]);
        check(non_root(), json!({ "runAsNonRoot": false }), "", expect![[r#""" [7]"#]]);
    }
}
