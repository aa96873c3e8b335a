//! `.Capabilities`: what the charts are told about the cluster and about Helm.

use std::{any::Any, fmt, rc::Rc};

use coracle_gotemplate::{Context, FunctionError, Kind, List, ListType, Member, Object, Type, Value};

use crate::Flavour;

/// What templates are told the cluster can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    pub kube_version: KubeVersion,
    pub api_versions: Vec<String>,
}

impl Capabilities {
    /// What each Helm assumes when it talks to no cluster.
    pub fn default_of(flavour: Flavour) -> Capabilities {
        let kube_version = KubeVersion::parse(flavour.kube_version()).expect("the default is a version");
        let api_versions = API_VERSIONS.iter().map(|version| (*version).to_owned()).collect();
        Capabilities { kube_version, api_versions }
    }

    pub(super) fn to_value(&self, flavour: Flavour) -> Value {
        let versions = self.api_versions.iter().map(|version| Value::from(version.as_str())).collect();
        Value::Object(Rc::new(Fields {
            type_name: flavour.capabilities_type(),
            kind: Kind::Ptr,
            fields: vec![
                ("KubeVersion", Value::Object(Rc::new(self.kube_version.typed(flavour)))),
                ("APIVersions", Value::Object(Rc::new(VersionSet::new(versions, flavour)))),
                ("HelmVersion", helm_version(flavour)),
            ],
        }))
    }
}

fn helm_version(flavour: Flavour) -> Value {
    let mut fields = vec![
        ("Version", Value::from(flavour.version())),
        ("GitCommit", Value::from("")),
        ("GitTreeState", Value::from("clean")),
        ("GoVersion", Value::from("go1.26.8")),
    ];
    if flavour == Flavour::Helm4 {
        fields.push(("KubeClientVersion", Value::from("v1.37")));
    }
    Value::Object(Rc::new(Fields { type_name: "version.BuildInfo", kind: Kind::Struct, fields }))
}

/// A version of Kubernetes, as given and as compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeVersion {
    /// As given, with a `v`.
    pub version: String,
    /// Without what follows the numbers.
    pub normalized: String,
    pub major: String,
    pub minor: String,
}

impl KubeVersion {
    /// Reads `v1.29`, `1.29.3`, `v1.29.3-gke.100`; the error is the Kubernetes libraries'.
    pub fn parse(text: &str) -> Result<KubeVersion, String> {
        let quoted = || coracle_gotemplate::quote(text.as_bytes());
        let bare = text.trim().strip_prefix('v').unwrap_or(text.trim());
        let end = bare.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(bare.len());
        let numbers = bare[..end].trim_end_matches('.');
        let parts: Vec<&str> = numbers.split('.').collect();
        if parts.len() < 2 || parts.iter().any(|part| part.is_empty()) {
            return Err(format!("could not parse {} as version", quoted()));
        }
        let mut components = Vec::new();
        for part in &parts {
            if part.len() > 1 && part.starts_with('0') {
                return Err(format!("illegal zero-prefixed version component {} in {}", quoted_part(part), quoted()));
            }
            let number: u32 =
                part.parse().map_err(|_| format!("illegal non-numeric version component in {}", quoted()))?;
            components.push(number.to_string());
        }
        Ok(KubeVersion {
            version: if text.starts_with('v') { text.to_owned() } else { format!("v{text}") },
            normalized: format!("v{}", components.join(".")),
            major: components[0].clone(),
            minor: components[1].clone(),
        })
    }

    fn typed(&self, flavour: Flavour) -> TypedKubeVersion {
        let mut version = self.clone();
        if flavour == Flavour::Helm3 {
            version.version.clone_from(&self.normalized);
        }
        TypedKubeVersion { version, flavour }
    }
}

fn quoted_part(part: &str) -> String {
    coracle_gotemplate::quote(part.as_bytes())
}

struct TypedKubeVersion {
    version: KubeVersion,
    flavour: Flavour,
}

impl Object for TypedKubeVersion {
    fn type_name(&self) -> &str {
        self.flavour.kube_version_type()
    }

    fn member(&self, name: &str) -> Member {
        let text = match name {
            "Version" | "GitVersion" => &self.version.version,
            "String" => &self.version.normalized,
            "Major" => &self.version.major,
            "Minor" => &self.version.minor,
            _ => return Member::Absent,
        };
        Member::Field(Value::from(text.as_str()))
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version.normalized)
    }

    fn json(&self) -> Option<Value> {
        Some(Value::dict([
            ("Version", Value::from(self.version.version.as_str())),
            ("Major", Value::from(self.version.major.as_str())),
            ("Minor", Value::from(self.version.minor.as_str())),
        ]))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `.APIVersions`: a list that can be asked whether it has a version.
struct VersionSet {
    flavour: Flavour,
    versions: Value,
}

impl VersionSet {
    fn new(versions: Vec<Value>, flavour: Flavour) -> VersionSet {
        VersionSet { flavour, versions: Value::List(Rc::new(List::new(ListType::String, versions))) }
    }
}

impl Object for VersionSet {
    fn type_name(&self) -> &str {
        self.flavour.version_set_type()
    }

    fn kind(&self) -> Kind {
        Kind::Slice
    }

    fn member(&self, name: &str) -> Member {
        match name {
            "Has" => Member::Method { params: &[Type::String], rest: None },
            _ => Member::Absent,
        }
    }

    fn call(&self, _: &str, _: &mut Context<'_>, arguments: &[Value]) -> Result<Value, FunctionError> {
        let wanted = arguments[0].as_str();
        let versions = self.versions.as_list().expect("made as a list");
        Ok(Value::Bool(versions.iter().any(|version| version.as_str() == wanted)))
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.versions)
    }

    fn is_true(&self) -> bool {
        self.versions.is_true()
    }

    fn underlying(&self) -> Option<Value> {
        Some(self.versions.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A struct of plain fields.
struct Fields {
    type_name: &'static str,
    kind: Kind,
    fields: Vec<(&'static str, Value)>,
}

impl Object for Fields {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn member(&self, name: &str) -> Member {
        let field = self.fields.iter().find(|(field, _)| *field == name);
        field.map_or(Member::Absent, |(_, value)| Member::Field(value.clone()))
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.kind == Kind::Ptr { "&{" } else { "{" })?;
        for (index, (_, value)) in self.fields.iter().enumerate() {
            write!(f, "{}{value}", if index > 0 { " " } else { "" })?;
        }
        f.write_str("}")
    }

    fn json(&self) -> Option<Value> {
        Some(Value::dict(self.fields.iter().cloned()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What Helm knows without a cluster: every API its Kubernetes libraries have types for.
const API_VERSIONS: [&str; 57] = [
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "lifecycle.k8s.io/v1alpha1",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

#[cfg(test)]
mod tests {
    use super::KubeVersion;

    #[test]
    fn versions_are_read_as_kubernetes_does() {
        let version = KubeVersion::parse("1.29.3-gke.100").expect("a version");
        assert_eq!((version.version.as_str(), version.normalized.as_str()), ("v1.29.3-gke.100", "v1.29.3"));
        assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "29"));
        assert_eq!(KubeVersion::parse("x"), Err("could not parse \"x\" as version".to_owned()));
    }
}
