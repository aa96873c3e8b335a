//! The built-in tables but for the references.

use super::{Config, references};
use crate::fieldspec::FieldSpec;

fn specs(table: &[(&str, &str, bool)]) -> Vec<FieldSpec> {
    table.iter().map(|(kind, path, create)| FieldSpec::short(kind, path, *create)).collect()
}

pub(super) fn config() -> Config {
    let mut config = Config {
        name_prefix: specs(&[("", "metadata/name", false)]),
        name_suffix: specs(&[("", "metadata/name", false)]),
        namespace: specs(&NAMESPACE),
        common_labels: common_labels(),
        labels: Vec::new(),
        template_labels: specs(&TEMPLATE_LABELS),
        volume_claim_template_labels: specs(&VOLUME_CLAIM_TEMPLATE_LABELS),
        common_annotations: specs(&COMMON_ANNOTATIONS),
        var_reference: var_reference(),
        images: images(),
        replicas: ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"]
            .iter()
            .map(|kind| FieldSpec::short(kind, "spec/replicas", true))
            .collect(),
        references: references::all(),
    };
    config.sort();
    config
}

const NAMESPACE: [(&str, &str, bool); 3] = [
    ("Namespace", "metadata/name", true),
    ("apiregistration.k8s.io.APIService", "spec/service/namespace", true),
    ("apiextensions.k8s.io.CustomResourceDefinition", "spec/conversion/webhook/clientConfig/service/namespace", false),
];

/// Where labels of an object and of the pods it makes stand.
const TEMPLATE_LABELS: [(&str, &str, bool); 9] = [
    ("", "metadata/labels", true),
    ("/v1.ReplicationController", "spec/template/metadata/labels", true),
    ("Deployment", "spec/template/metadata/labels", true),
    ("ReplicaSet", "spec/template/metadata/labels", true),
    ("DaemonSet", "spec/template/metadata/labels", true),
    ("apps.StatefulSet", "spec/template/metadata/labels", true),
    ("batch.Job", "spec/template/metadata/labels", true),
    ("batch.CronJob", "spec/jobTemplate/metadata/labels", true),
    ("batch.CronJob", "spec/jobTemplate/spec/template/metadata/labels", true),
];

const VOLUME_CLAIM_TEMPLATE_LABELS: [(&str, &str, bool); 1] =
    [("apps.StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels", true)];

/// Where labels stand that select, besides all of [`TEMPLATE_LABELS`].
fn common_labels() -> Vec<FieldSpec> {
    let mut all = specs(&[
        ("/v1.Service", "spec/selector", true),
        ("/v1.ReplicationController", "spec/selector", true),
        ("Deployment", "spec/selector/matchLabels", true),
        ("ReplicaSet", "spec/selector/matchLabels", true),
        ("DaemonSet", "spec/selector/matchLabels", true),
        ("apps.StatefulSet", "spec/selector/matchLabels", true),
        ("batch.Job", "spec/selector/matchLabels", false),
        ("batch.CronJob", "spec/jobTemplate/spec/selector/matchLabels", false),
        ("policy.PodDisruptionBudget", "spec/selector/matchLabels", false),
        ("networking.k8s.io.NetworkPolicy", "spec/podSelector/matchLabels", false),
        ("networking.k8s.io.NetworkPolicy", "spec/ingress/from/podSelector/matchLabels", false),
        ("networking.k8s.io.NetworkPolicy", "spec/egress/to/podSelector/matchLabels", false),
    ]);
    for kind in ["apps.Deployment", "apps.StatefulSet"] {
        for affinity in ["podAffinity", "podAntiAffinity"] {
            for term in [
                "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm",
                "requiredDuringSchedulingIgnoredDuringExecution",
            ] {
                let path = format!("spec/template/spec/affinity/{affinity}/{term}/labelSelector/matchLabels");
                all.push(FieldSpec::short(kind, &path, false));
            }
        }
        let spread = "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels";
        all.push(FieldSpec::short(kind, spread, false));
    }
    all.extend(specs(&TEMPLATE_LABELS));
    all.extend(specs(&VOLUME_CLAIM_TEMPLATE_LABELS));
    all
}

const COMMON_ANNOTATIONS: [(&str, &str, bool); 9] = [
    ("", "metadata/annotations", true),
    ("/v1.ReplicationController", "spec/template/metadata/annotations", true),
    ("Deployment", "spec/template/metadata/annotations", true),
    ("ReplicaSet", "spec/template/metadata/annotations", true),
    ("DaemonSet", "spec/template/metadata/annotations", true),
    ("StatefulSet", "spec/template/metadata/annotations", true),
    ("batch.Job", "spec/template/metadata/annotations", true),
    ("batch.CronJob", "spec/jobTemplate/metadata/annotations", true),
    ("batch.CronJob", "spec/jobTemplate/spec/template/metadata/annotations", true),
];

/// Where images stand in any kind of object.
fn images() -> Vec<FieldSpec> {
    let mut paths: Vec<String> = ["spec", "spec/template/spec"]
        .into_iter()
        .flat_map(|pod| {
            ["containers[]/image", "initContainers[]/image", "volumes[]/image/reference"]
                .map(|end| format!("{pod}/{end}"))
        })
        .collect();
    paths.push("spec/jobTemplate/spec/template/spec/volumes[]/image/reference".to_owned());
    paths.iter().map(|path| FieldSpec::of_all(path, true)).collect()
}

/// Where variables are filled in: in the containers of pods, and in some fields more.
fn var_reference() -> Vec<FieldSpec> {
    let holders = [
        ("CronJob", "spec/jobTemplate/spec/template/spec"),
        ("DaemonSet", "spec/template/spec"),
        ("Deployment", "spec/template/spec"),
        ("Job", "spec/template/spec"),
        ("Pod", "spec"),
        ("ReplicaSet", "spec/template/spec"),
        ("StatefulSet", "spec/template/spec"),
    ];
    let mut all = Vec::new();
    for (kind, pod) in holders {
        for containers in ["containers", "initContainers"] {
            for field in ["args", "command", "env/value", "volumeMounts/mountPath"] {
                all.push(FieldSpec::short(kind, &format!("{pod}/{containers}/{field}"), false));
            }
        }
        match kind {
            "CronJob" => all.push(FieldSpec::short(kind, "spec/jobTemplate/spec/template/volumes/nfs/server", false)),
            "StatefulSet" => all.push(FieldSpec::short(kind, "spec/volumeClaimTemplates/spec/nfs/server", false)),
            _ => all.push(FieldSpec::short(kind, &format!("{pod}/volumes/nfs/server"), false)),
        }
    }
    all.extend(specs(&[
        ("Deployment", "spec/template/metadata/annotations", false),
        ("Ingress", "spec/rules/host", false),
        ("Ingress", "spec/tls/hosts", false),
        ("Ingress", "spec/tls/secretName", false),
        ("Service", "spec/ports/port", false),
        ("Service", "spec/ports/targetPort", false),
        ("PersistentVolume", "spec/nfs/server", false),
        ("", "metadata/labels", false),
        ("", "metadata/annotations", false),
    ]));
    all
}
