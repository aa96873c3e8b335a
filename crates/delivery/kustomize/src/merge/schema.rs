//! Which lists merge, and by which keys: the part of the Kubernetes types that says so, as a table.

use std::rc::Rc;

use coracle_yaml::Node;

use super::openapi::CustomTypes;
use crate::scalars::text;

/// A type, as far as something in it merges.
#[derive(Debug)]
pub(crate) struct Type {
    fields: &'static [(&'static str, Field)],
}

/// What a field is.
#[derive(Debug)]
enum Field {
    Of(&'static Type),
    /// A list that merges by keys; by its values if there are none.
    Merged(&'static [&'static str], Option<&'static Type>),
}

use Field::{Merged, Of};

const fn by_name(of: &'static Type) -> Field {
    Merged(&["name"], Some(of))
}

static LEAF: Type = Type { fields: &[] };
static METADATA: Type =
    Type { fields: &[("finalizers", Merged(&[], None)), ("ownerReferences", Merged(&["uid"], Some(&LEAF)))] };
static OBJECT: Type = Type { fields: &[("metadata", Of(&METADATA))] };
static CONDITIONS: Type = Type { fields: &[("conditions", Merged(&["type"], Some(&LEAF)))] };

static CONTAINER: Type = Type {
    fields: &[
        ("env", by_name(&LEAF)),
        ("ports", Merged(&["containerPort", "protocol"], Some(&LEAF))),
        ("volumeDevices", Merged(&["devicePath"], Some(&LEAF))),
        ("volumeMounts", Merged(&["mountPath"], Some(&LEAF))),
    ],
};
static EPHEMERAL_CONTAINER: Type = Type {
    fields: &[
        ("env", by_name(&LEAF)),
        ("volumeDevices", Merged(&["devicePath"], Some(&LEAF))),
        ("volumeMounts", Merged(&["mountPath"], Some(&LEAF))),
    ],
};
static VOLUME: Type = Type { fields: &[("ephemeral", Of(&EPHEMERAL_VOLUME))] };
static EPHEMERAL_VOLUME: Type = Type { fields: &[("volumeClaimTemplate", Of(&OBJECT))] };
static POD_SPEC: Type = Type {
    fields: &[
        ("containers", by_name(&CONTAINER)),
        ("ephemeralContainers", by_name(&EPHEMERAL_CONTAINER)),
        ("hostAliases", Merged(&["ip"], Some(&LEAF))),
        ("imagePullSecrets", by_name(&LEAF)),
        ("initContainers", by_name(&CONTAINER)),
        ("topologySpreadConstraints", Merged(&["topologyKey", "whenUnsatisfiable"], Some(&LEAF))),
        ("volumes", by_name(&VOLUME)),
    ],
};
static POD_STATUS: Type =
    Type { fields: &[("conditions", Merged(&["type"], Some(&LEAF))), ("podIPs", Merged(&["ip"], Some(&LEAF)))] };
static POD: Type =
    Type { fields: &[("metadata", Of(&METADATA)), ("spec", Of(&POD_SPEC)), ("status", Of(&POD_STATUS))] };
static POD_TEMPLATE_SPEC: Type = Type { fields: &[("metadata", Of(&METADATA)), ("spec", Of(&POD_SPEC))] };
static POD_TEMPLATE: Type = Type { fields: &[("metadata", Of(&METADATA)), ("template", Of(&POD_TEMPLATE_SPEC))] };
static WORKLOAD_SPEC: Type = Type { fields: &[("template", Of(&POD_TEMPLATE_SPEC))] };
static WORKLOAD: Type =
    Type { fields: &[("metadata", Of(&METADATA)), ("spec", Of(&WORKLOAD_SPEC)), ("status", Of(&CONDITIONS))] };
static JOB_TEMPLATE: Type = Type { fields: &[("metadata", Of(&METADATA)), ("spec", Of(&WORKLOAD_SPEC))] };
static CRON_JOB_SPEC: Type = Type { fields: &[("jobTemplate", Of(&JOB_TEMPLATE))] };
static CRON_JOB: Type = Type { fields: &[("metadata", Of(&METADATA)), ("spec", Of(&CRON_JOB_SPEC))] };
static SERVICE_SPEC: Type = Type { fields: &[("ports", Merged(&["port", "protocol"], Some(&LEAF)))] };
static SERVICE: Type =
    Type { fields: &[("metadata", Of(&METADATA)), ("spec", Of(&SERVICE_SPEC)), ("status", Of(&CONDITIONS))] };
static SERVICE_ACCOUNT: Type = Type { fields: &[("metadata", Of(&METADATA)), ("secrets", by_name(&LEAF))] };
static NODE_SPEC: Type = Type { fields: &[("podCIDRs", Merged(&[], None))] };
static NODE_STATUS: Type =
    Type { fields: &[("addresses", Merged(&["type"], Some(&LEAF))), ("conditions", Merged(&["type"], Some(&LEAF)))] };
static NODE: Type =
    Type { fields: &[("metadata", Of(&METADATA)), ("spec", Of(&NODE_SPEC)), ("status", Of(&NODE_STATUS))] };
static WITH_STATUS: Type = Type { fields: &[("metadata", Of(&METADATA)), ("status", Of(&CONDITIONS))] };
static COMPONENT_STATUS: Type =
    Type { fields: &[("metadata", Of(&METADATA)), ("conditions", Merged(&["type"], Some(&LEAF)))] };
static WEBHOOKS: Type = Type { fields: &[("metadata", Of(&METADATA)), ("webhooks", by_name(&LEAF))] };
static CSI_NODE_SPEC: Type = Type { fields: &[("drivers", by_name(&LEAF))] };
static CSI_NODE: Type = Type { fields: &[("metadata", Of(&METADATA)), ("spec", Of(&CSI_NODE_SPEC))] };

/// The type of a kind the original has a schema for. Newer kinds have none there, so their lists do not merge.
fn builtin(api_version: &str, kind: &str) -> Option<&'static Type> {
    let found = match (api_version, kind) {
        ("apps/v1", "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet")
        | ("batch/v1", "Job")
        | ("v1", "ReplicationController") => &WORKLOAD,
        ("batch/v1" | "batch/v1beta1", "CronJob") => &CRON_JOB,
        ("v1", "Pod") => &POD,
        ("v1", "PodTemplate") => &POD_TEMPLATE,
        ("v1", "Service") => &SERVICE,
        ("v1", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("v1", "Node") => &NODE,
        ("v1", "ComponentStatus") => &COMPONENT_STATUS,
        ("v1", "Namespace" | "PersistentVolumeClaim")
        | ("policy/v1" | "policy/v1beta1", "PodDisruptionBudget")
        | ("apiregistration.k8s.io/v1" | "apiregistration.k8s.io/v1beta1", "APIService") => &WITH_STATUS,
        (
            "admissionregistration.k8s.io/v1" | "admissionregistration.k8s.io/v1beta1",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => &WEBHOOKS,
        ("storage.k8s.io/v1" | "storage.k8s.io/v1beta1", "CSINode") => &CSI_NODE,
        _ => return plain_object(api_version, kind),
    };
    Some(found)
}

fn plain_object(api_version: &str, kind: &str) -> Option<&'static Type> {
    let kinds: &[&str] = match api_version {
        "v1" => {
            &["Binding", "ConfigMap", "Endpoints", "Event", "LimitRange", "PersistentVolume", "ResourceQuota", "Secret"]
        }
        "apps/v1" => &["ControllerRevision"],
        "autoscaling/v1" => &["HorizontalPodAutoscaler", "Scale"],
        "autoscaling/v2beta1" | "autoscaling/v2beta2" => &["HorizontalPodAutoscaler"],
        "apiextensions.k8s.io/v1" | "apiextensions.k8s.io/v1beta1" => &["CustomResourceDefinition"],
        "authentication.k8s.io/v1" => &["TokenRequest", "TokenReview"],
        "authentication.k8s.io/v1beta1" => &["TokenReview"],
        "authorization.k8s.io/v1" | "authorization.k8s.io/v1beta1" => {
            &["LocalSubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"]
        }
        "certificates.k8s.io/v1" | "certificates.k8s.io/v1beta1" => &["CertificateSigningRequest"],
        "coordination.k8s.io/v1" | "coordination.k8s.io/v1beta1" => &["Lease"],
        "discovery.k8s.io/v1" | "discovery.k8s.io/v1beta1" => &["EndpointSlice"],
        "events.k8s.io/v1" | "events.k8s.io/v1beta1" => &["Event"],
        "extensions/v1beta1" => &["Ingress"],
        "flowcontrol.apiserver.k8s.io/v1beta1" => &["FlowSchema", "PriorityLevelConfiguration"],
        "networking.k8s.io/v1" => &["Ingress", "IngressClass", "NetworkPolicy"],
        "networking.k8s.io/v1beta1" => &["Ingress", "IngressClass"],
        "node.k8s.io/v1" | "node.k8s.io/v1beta1" => &["RuntimeClass"],
        "policy/v1beta1" => &["Eviction", "PodSecurityPolicy"],
        "rbac.authorization.k8s.io/v1" | "rbac.authorization.k8s.io/v1beta1" => {
            &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]
        }
        "scheduling.k8s.io/v1" | "scheduling.k8s.io/v1beta1" => &["PriorityClass"],
        "storage.k8s.io/v1" => &["CSIDriver", "StorageClass", "VolumeAttachment"],
        "storage.k8s.io/v1beta1" => &["CSIDriver", "CSIStorageCapacity", "StorageClass", "VolumeAttachment"],
        _ => &[],
    };
    kinds.contains(&kind).then_some(&OBJECT)
}

/// The types a build merges by: the built-in ones, or those of an OpenAPI document instead.
#[derive(Debug, Default)]
pub(crate) enum Types {
    #[default]
    BuiltIn,
    Custom(Rc<CustomTypes>),
}

/// The type of a node.
#[derive(Clone)]
pub(crate) enum Schema {
    Object(&'static Type),
    List(&'static [&'static str], Option<&'static Type>),
    Custom(Rc<CustomTypes>, usize),
}

impl Types {
    /// The type of an object by what it says it is.
    pub fn of(&self, node: &Node) -> Option<Schema> {
        let (api_version, kind) = (node.get("apiVersion").map(text)?, node.get("kind").map(text)?);
        match self {
            Types::BuiltIn => builtin(api_version, kind).map(Schema::Object),
            Types::Custom(types) => types.object(api_version, kind).map(|at| Schema::Custom(types.clone(), at)),
        }
    }
}

impl Schema {
    pub fn field(&self, name: &str) -> Option<Schema> {
        match self {
            Schema::Object(of) => of.fields.iter().find(|(field, _)| *field == name).map(|(_, field)| match field {
                Of(of) => Schema::Object(of),
                Merged(keys, of) => Schema::List(keys, *of),
            }),
            Schema::List(..) => None,
            Schema::Custom(types, at) => types.field(*at, name).map(|at| Schema::Custom(types.clone(), at)),
        }
    }

    pub fn elements(&self) -> Option<Schema> {
        match self {
            Schema::Object(_) => None,
            Schema::List(_, of) => of.map(Schema::Object),
            Schema::Custom(types, at) => types.elements(*at).map(|at| Schema::Custom(types.clone(), at)),
        }
    }

    /// The keys a list merges by, if it does; none for a list of plain values.
    pub fn merge_keys(&self) -> Option<Vec<String>> {
        match self {
            Schema::Object(_) => None,
            Schema::List(keys, _) => Some(keys.iter().map(|key| (*key).to_owned()).collect()),
            Schema::Custom(types, at) => types.merge_keys(*at),
        }
    }
}
