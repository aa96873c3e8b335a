//! What holds for namespaces that say nothing themselves, and who is exempt: the plugin's part of an AdmissionConfiguration.

use std::path::{Path, PathBuf};

use coracle_schema::validate::names;
use serde::Deserialize;
use serde_json::Value;

use super::policy::{LEVELS, Policy, Standard, VERSIONS, Version, parse_level, parse_version};

const PLUGIN: &str = "PodSecurity";
const FILE_VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1alpha1"];
const VERSIONS_OF_PLUGIN: [&str; 3] = [
    "pod-security.admission.config.k8s.io/v1",
    "pod-security.admission.config.k8s.io/v1beta1",
    "pod-security.admission.config.k8s.io/v1alpha1",
];

/// The plugin's configuration.
#[derive(Debug, Clone, Default)]
pub struct PodSecurityConfiguration {
    /// Where a namespace's labels say nothing.
    pub(super) defaults: Policy,
    /// Who is not looked at.
    pub(super) exemptions: Exemptions,
}

/// Whom and what the standards do not hold for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Exemptions {
    pub usernames: Vec<String>,
    pub namespaces: Vec<String>,
    pub runtime_classes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    #[serde(default)]
    path: Option<PathBuf>,
    #[serde(default)]
    configuration: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OfPlugin {
    api_version: String,
    kind: String,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    exemptions: Exemptions,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Defaults {
    enforce: Option<String>,
    enforce_version: Option<String>,
    audit: Option<String>,
    audit_version: Option<String>,
    warn: Option<String>,
    warn_version: Option<String>,
}

impl PodSecurityConfiguration {
    /// Reads an AdmissionConfiguration; `read` gives the files that it names. The error says where something is wrong.
    pub fn from_yaml(text: &str, read: impl Fn(&Path) -> Result<String, String>) -> Result<Self, String> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if file.kind != "AdmissionConfiguration" || !FILE_VERSIONS.contains(&file.api_version.as_str()) {
            return Err(format!(
                "no AdmissionConfiguration of {}, but {} {}",
                FILE_VERSIONS[0], file.api_version, file.kind
            ));
        }
        let mut found = Self::default();
        for plugin in file.plugins {
            if plugin.name != PLUGIN {
                return Err(format!("there is nothing to configure of {:?}, only of {PLUGIN}", plugin.name));
            }
            let of_plugin = match (plugin.configuration, plugin.path) {
                (Some(configuration), _) => serde_json::from_value(configuration).map_err(|error| error.to_string()),
                (None, Some(path)) => serde_saphyr::from_str(&read(&path)?).map_err(|error| error.to_string()),
                (None, None) => continue,
            };
            found = of_plugin.and_then(Self::checked).map_err(|error| format!("{PLUGIN}: {error}"))?;
        }
        Ok(found)
    }

    fn checked(of: OfPlugin) -> Result<Self, String> {
        if of.kind != "PodSecurityConfiguration" || !VERSIONS_OF_PLUGIN.contains(&of.api_version.as_str()) {
            return Err(format!(
                "no PodSecurityConfiguration of {}, but {} {}",
                VERSIONS_OF_PLUGIN[0], of.api_version, of.kind
            ));
        }
        let Defaults { enforce, enforce_version, audit, audit_version, warn, warn_version } = of.defaults;
        let defaults = Policy {
            enforce: standard("enforce", enforce, enforce_version)?,
            audit: standard("audit", audit, audit_version)?,
            warn: standard("warn", warn, warn_version)?,
        };
        let Exemptions { usernames, namespaces, runtime_classes } = &of.exemptions;
        check("usernames", usernames, |name| {
            if name.is_empty() { vec!["username must not be empty".into()] } else { Vec::new() }
        })?;
        check("namespaces", namespaces, names::dns_1123_label)?;
        check("runtimeClasses", runtime_classes, names::dns_1123_subdomain)?;
        Ok(Self { defaults, exemptions: of.exemptions })
    }
}

fn standard(mode: &str, level: Option<String>, version: Option<String>) -> Result<Standard, String> {
    let wrong = |field: &str, text: &str, why: &str| format!("defaults.{field}: Invalid value: {text:?}: {why}");
    let default = Policy::default().enforce;
    let level = match level {
        Some(text) => parse_level(&text).ok_or_else(|| wrong(mode, &text, LEVELS))?,
        None => default.level,
    };
    let version = match version {
        Some(text) => parse_version(&text).ok_or_else(|| wrong(&format!("{mode}-version"), &text, VERSIONS))?,
        None => Version::LATEST,
    };
    Ok(Standard { level, version })
}

fn check(field: &str, list: &[String], problems: impl Fn(&str) -> Vec<String>) -> Result<(), String> {
    for (at, name) in list.iter().enumerate() {
        let problems = problems(name);
        if !problems.is_empty() {
            return Err(format!("exemptions.{field}[{at}]: Invalid value: {name:?}: {}", problems.join(", ")));
        }
        if list[..at].contains(name) {
            return Err(format!("exemptions.{field}[{at}]: Duplicate value: {name:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(plugins: &str, expected: Expect) {
        let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: {plugins}");
        let read = |path: &Path| Err(format!("{}: there are no files here", path.display()));
        let shown = match PodSecurityConfiguration::from_yaml(&text, read) {
            Ok(PodSecurityConfiguration { defaults: Policy { enforce, audit, warn }, exemptions }) => {
                format!("{enforce} {audit} {warn}, {exemptions:?}")
            }
            Err(error) => error,
        };
        expected.assert_eq(&shown);
    }

    fn plugin(rest: &str) -> String {
        format!(
            "[{{name: PodSecurity, configuration: {{apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, {rest}}}}}]"
        )
    }

    #[test]
    fn files_are_read() {
        check(
            "[]",
            expect![
                "privileged:latest privileged:latest privileged:latest, Exemptions { usernames: [], namespaces: [], runtime_classes: [] }"
            ],
        );
        check(
            &plugin(
                "defaults: {enforce: baseline, enforce-version: v1.30, warn: restricted}, exemptions: {usernames: [ci], namespaces: [kube-system], runtimeClasses: [vm]}",
            ),
            expect![[
                r#"baseline:v1.30 privileged:latest restricted:latest, Exemptions { usernames: ["ci"], namespaces: ["kube-system"], runtime_classes: ["vm"] }"#
            ]],
        );
    }

    #[test]
    fn mistakes_are_told() {
        check(
            &plugin("defaults: {enforce: strict}"),
            expect![[
                r#"PodSecurity: defaults.enforce: Invalid value: "strict": must be one of privileged, baseline, restricted"#
            ]],
        );
        check(
            &plugin("defaults: {enforced: baseline}"),
            expect![
                "PodSecurity: unknown field `enforced`, expected one of `enforce`, `enforce-version`, `audit`, `audit-version`, `warn`, `warn-version`"
            ],
        );
        check(
            &plugin("exemptions: {namespaces: [a, A]}"),
            expect![[
                r#"PodSecurity: exemptions.namespaces[1]: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"#
            ]],
        );
        check(
            &plugin("exemptions: {usernames: [a, a]}"),
            expect![[r#"PodSecurity: exemptions.usernames[1]: Duplicate value: "a""#]],
        );
        check("[{name: PodSecurity, path: elsewhere.yaml}]", expect!["elsewhere.yaml: there are no files here"]);
        check(
            "[{name: ImagePolicyWebhook}]",
            expect![[r#"there is nothing to configure of "ImagePolicyWebhook", only of PodSecurity"#]],
        );
    }
}
