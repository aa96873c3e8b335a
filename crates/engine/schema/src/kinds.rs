//! The registry of kinds: what is served under which name, with which verbs and subresources.

mod crd;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use crate::types::Schema;

pub use crd::{CrdError, CrdVersion, CustomFacts, PrinterColumn, ScalePaths};

/// A subresource: its name below the object, the kind its bodies have, and its verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    pub name: &'static str,
    /// Group, version and kind of the bodies; `None` means the parent's own.
    pub body: Option<(&'static str, &'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}

/// One kind in one version.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Empty for the core group.
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub list_kind: Cow<'static, str>,
    pub plural: Cow<'static, str>,
    pub singular: Cow<'static, str>,
    pub short_names: Vec<Cow<'static, str>>,
    pub categories: Vec<Cow<'static, str>>,
    pub namespaced: bool,
    pub verbs: &'static [&'static str],
    pub subresources: Vec<Subresource>,
    pub schema: Schema,
    /// What a CustomResourceDefinition says beyond the schema; `None` for built-in kinds.
    pub custom: Option<CustomFacts>,
}

impl Kind {
    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`, or `pods` in the core group: how messages name the resource.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_string() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Deployment.apps`, or `Pod` in the core group: how invalid objects are named.
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_string() } else { format!("{}.{}", self.kind, self.group) }
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    pub fn is_builtin(&self) -> bool {
        self.custom.is_none()
    }
}

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const ALL_BUT_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const GET_LIST: &[&str] = &["get", "list"];
const UPDATE: &[&str] = &["update"];
const STATUS: &[&str] = &["get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// A subresource by name, as upstream serves it below `parent`.
fn subresource(name: &str, parent: &str) -> Option<Subresource> {
    let core = |kind| Some(("", "v1", kind));
    let (name, body, verbs) = match name {
        "status" => ("status", None, STATUS),
        "scale" => ("scale", Some(("autoscaling", "v1", "Scale")), STATUS),
        "log" => ("log", None, GET),
        "exec" => ("exec", core("PodExecOptions"), CONNECT),
        "attach" => ("attach", core("PodAttachOptions"), CONNECT),
        "portforward" => ("portforward", core("PodPortForwardOptions"), CONNECT),
        "proxy" => {
            let options = match parent {
                "Pod" => "PodProxyOptions",
                "Service" => "ServiceProxyOptions",
                _ => "NodeProxyOptions",
            };
            ("proxy", core(options), PROXY)
        }
        "binding" => ("binding", core("Binding"), CREATE),
        "eviction" => ("eviction", Some(("policy", "v1", "Eviction")), CREATE),
        "ephemeralcontainers" => ("ephemeralcontainers", None, STATUS),
        "resize" => ("resize", None, STATUS),
        "token" => ("token", Some(("authentication.k8s.io", "v1", "TokenRequest")), CREATE),
        "finalize" => ("finalize", None, UPDATE),
        "approval" => ("approval", None, STATUS),
        _ => return None,
    };
    Some(Subresource { name, body, verbs })
}

/// Every built-in kind, each group's preferred version first.
pub fn builtin() -> &'static [Kind] {
    static KINDS: OnceLock<Vec<Kind>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let table = include_str!("../facts/kinds.txt");
        table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(read_line).collect()
    })
}

fn read_line(line: &'static str) -> Kind {
    let words: Vec<&'static str> = line.split_whitespace().collect();
    let [api_version, kind, plural, short_names, categories, scope, verbs, subresources] = words[..] else {
        panic!("facts/kinds.txt: eight words expected in `{line}`");
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let list = |words: &'static str| -> Vec<Cow<'static, str>> {
        words.split(',').filter(|word| *word != "-").map(Cow::Borrowed).collect()
    };
    let definition = definition_name(group, version, kind);
    Kind {
        group: group.into(),
        version: version.into(),
        kind: kind.into(),
        list_kind: format!("{kind}List").into(),
        plural: plural.into(),
        singular: kind.to_lowercase().into(),
        short_names: list(short_names),
        categories: list(categories),
        namespaced: scope == "ns",
        verbs: match verbs {
            "all" => ALL,
            "all!" => ALL_BUT_COLLECTION,
            "get,list" => GET_LIST,
            "create" => CREATE,
            other => panic!("facts/kinds.txt: unknown verbs `{other}`"),
        },
        subresources: subresources.split(',').filter_map(|name| subresource(name, kind)).collect(),
        schema: Schema::builtin(&definition).expect("the build script collects every kind in facts/kinds.txt"),
        custom: None,
    }
}

/// The OpenAPI name of a built-in kind.
pub fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let package = match group {
        "" => "io.k8s.api.core".to_owned(),
        "apiextensions.k8s.io" => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions".to_owned(),
        "apiregistration.k8s.io" => "io.k8s.kube-aggregator.pkg.apis.apiregistration".to_owned(),
        _ => format!("io.k8s.api.{}", group.split('.').next().unwrap_or(group)),
    };
    format!("{package}.{version}.{kind}")
}

/// The built-in kind served at `group/version/plural`.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    type ByResource = HashMap<(&'static str, &'static str, &'static str), &'static Kind>;
    static INDEX: OnceLock<ByResource> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        builtin()
            .iter()
            .map(|kind| ((kind.group.as_ref(), kind.version.as_ref(), kind.plural.as_ref()), kind))
            .collect()
    });
    index.get(&(group, version, plural)).copied()
}

/// The built-in kind with this group, version and kind.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    builtin().iter().find(|k| k.kind == kind && k.group == group && k.version == version)
}
