//! Which fields of which kinds hold names, labels, images and replica counts: kustomize's built-in configuration.

use std::sync::LazyLock;

use crate::fieldspec::FieldSpec;

fn specs(table: &[(&str, &str, bool)]) -> Vec<FieldSpec> {
    table.iter().map(|(kind, path, create)| FieldSpec::new(kind, path, *create)).collect()
}

/// Where labels of an object and of the pods it makes stand.
pub(crate) static TEMPLATE_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    specs(&[
        ("", "metadata/labels", true),
        ("/v1.ReplicationController", "spec/template/metadata/labels", true),
        ("Deployment", "spec/template/metadata/labels", true),
        ("ReplicaSet", "spec/template/metadata/labels", true),
        ("DaemonSet", "spec/template/metadata/labels", true),
        ("apps.StatefulSet", "spec/template/metadata/labels", true),
        ("batch.Job", "spec/template/metadata/labels", true),
        ("batch.CronJob", "spec/jobTemplate/metadata/labels", true),
        ("batch.CronJob", "spec/jobTemplate/spec/template/metadata/labels", true),
    ])
});

pub(crate) static VOLUME_CLAIM_TEMPLATE_LABELS: LazyLock<Vec<FieldSpec>> =
    LazyLock::new(|| specs(&[("apps.StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels", true)]));

/// Where labels stand that select, besides all of [`TEMPLATE_LABELS`].
pub(crate) static COMMON_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
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
                all.push(FieldSpec::new(kind, &path, false));
            }
        }
        let spread = "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels";
        all.push(FieldSpec::new(kind, spread, false));
    }
    all.extend(TEMPLATE_LABELS.iter().cloned());
    all.extend(VOLUME_CLAIM_TEMPLATE_LABELS.iter().cloned());
    all
});

pub(crate) static COMMON_ANNOTATIONS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    specs(&[
        ("", "metadata/annotations", true),
        ("/v1.ReplicationController", "spec/template/metadata/annotations", true),
        ("Deployment", "spec/template/metadata/annotations", true),
        ("ReplicaSet", "spec/template/metadata/annotations", true),
        ("DaemonSet", "spec/template/metadata/annotations", true),
        ("StatefulSet", "spec/template/metadata/annotations", true),
        ("batch.Job", "spec/template/metadata/annotations", true),
        ("batch.CronJob", "spec/jobTemplate/metadata/annotations", true),
        ("batch.CronJob", "spec/jobTemplate/spec/template/metadata/annotations", true),
    ])
});

pub(crate) static NAMESPACE: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    specs(&[
        ("Namespace", "metadata/name", true),
        ("apiregistration.k8s.io.APIService", "spec/service/namespace", true),
        (
            "apiextensions.k8s.io.CustomResourceDefinition",
            "spec/conversion/webhook/clientConfig/service/namespace",
            false,
        ),
    ])
});

pub(crate) static REPLICAS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    specs(&[
        ("Deployment", "spec/replicas", true),
        ("ReplicationController", "spec/replicas", true),
        ("ReplicaSet", "spec/replicas", true),
        ("StatefulSet", "spec/replicas", true),
    ])
});

/// Where images stand in any kind of object.
pub(crate) static IMAGES: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    ["spec", "spec/template/spec"]
        .into_iter()
        .flat_map(|pod| {
            ["containers[]/image", "initContainers[]/image", "volumes[]/image/reference"].map(|end| (pod, end))
        })
        .map(|(pod, end)| FieldSpec::new("", &format!("{pod}/{end}"), true))
        .collect()
});

/// A kind whose names others refer to, and where they do.
pub(crate) struct Reference {
    pub target: FieldSpec,
    pub referrers: Vec<FieldSpec>,
}

/// The kinds that hold a pod template, with the path to its spec.
const POD_HOLDERS: [(&str, &str); 8] = [
    ("/v1.Pod", "spec"),
    ("PodTemplate", "template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
];

/// Those whose service account, claims and priority are followed: an older list than [`POD_HOLDERS`].
const ACCOUNT_HOLDERS: [(&str, &str); 7] = [
    ("Pod", "spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicationController", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
];

const CONFIG_MAP_FIELDS: [&str; 6] = [
    "volumes/configMap/name",
    "containers/env/valueFrom/configMapKeyRef/name",
    "initContainers/env/valueFrom/configMapKeyRef/name",
    "containers/envFrom/configMapRef/name",
    "initContainers/envFrom/configMapRef/name",
    "volumes/projected/sources/configMap/name",
];

const SECRET_FIELDS: [&str; 7] = [
    "volumes/secret/secretName",
    "containers/env/valueFrom/secretKeyRef/name",
    "initContainers/env/valueFrom/secretKeyRef/name",
    "containers/envFrom/secretRef/name",
    "initContainers/envFrom/secretRef/name",
    "imagePullSecrets/name",
    "volumes/projected/sources/secret/name",
];

fn in_pods(holders: &[(&str, &str)], fields: &[&str]) -> Vec<FieldSpec> {
    holders
        .iter()
        .flat_map(|(kind, pod)| fields.iter().map(move |field| FieldSpec::new(kind, &format!("{pod}/{field}"), false)))
        .collect()
}

fn reference(target: &str, mut in_pods: Vec<FieldSpec>, others: &[(&str, &str)]) -> Reference {
    in_pods.extend(others.iter().map(|(kind, path)| FieldSpec::new(kind, path, false)));
    Reference { target: FieldSpec::new(target, "metadata/name", false), referrers: in_pods }
}

/// Who refers to whom by name.
pub(crate) static REFERENCES: LazyLock<Vec<Reference>> = LazyLock::new(|| {
    let scale = [("HorizontalPodAutoscaler", "spec/scaleTargetRef/name")];
    let mut all: Vec<Reference> = ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"]
        .iter()
        .map(|kind| reference(kind, Vec::new(), &scale))
        .collect();
    all.push(reference(
        "/v1.ConfigMap",
        in_pods(&POD_HOLDERS, &CONFIG_MAP_FIELDS),
        &[
            ("Node", "spec/configSource/configMap"),
            ("Role", "rules/resourceNames"),
            ("ClusterRole", "rules/resourceNames"),
            ("Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap"),
        ],
    ));
    all.push(reference(
        "/v1.Secret",
        in_pods(&POD_HOLDERS, &SECRET_FIELDS),
        &[
            ("Ingress", "spec/tls/secretName"),
            ("Ingress", r"metadata/annotations/ingress.kubernetes.io\/auth-secret"),
            ("Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret"),
            ("Ingress", r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret"),
            ("ServiceAccount", "imagePullSecrets/name"),
            ("StorageClass", "parameters/secretName"),
            ("StorageClass", "parameters/adminSecretName"),
            ("StorageClass", "parameters/userSecretName"),
            ("StorageClass", "parameters/secretRef"),
            ("Role", "rules/resourceNames"),
            ("ClusterRole", "rules/resourceNames"),
            ("serving.knative.dev/v1.Service", "spec/template/spec/containers/env/valueFrom/secretKeyRef/name"),
            ("PersistentVolume", "spec/azureFile/secretName"),
        ],
    ));
    all.push(reference(
        "/v1.Service",
        Vec::new(),
        &[
            ("apps.StatefulSet", "spec/serviceName"),
            ("Ingress", "spec/rules/http/paths/backend/serviceName"),
            ("Ingress", "spec/backend/serviceName"),
            ("Ingress", "spec/rules/http/paths/backend/service/name"),
            ("Ingress", "spec/defaultBackend/service/name"),
            ("apiregistration.k8s.io.APIService", "spec/service/name"),
            ("admissionregistration.k8s.io.ValidatingWebhookConfiguration", "webhooks/clientConfig/service"),
            ("admissionregistration.k8s.io.MutatingWebhookConfiguration", "webhooks/clientConfig/service"),
        ],
    ));
    let binding = ("rbac.authorization.k8s.io.RoleBinding", "roleRef/name");
    all.push(reference("rbac.authorization.k8s.io.Role", Vec::new(), &[binding]));
    all.push(reference(
        "rbac.authorization.k8s.io.ClusterRole",
        Vec::new(),
        &[binding, ("rbac.authorization.k8s.io.ClusterRoleBinding", "roleRef/name")],
    ));
    let mut accounts = vec![
        ("rbac.authorization.k8s.io.RoleBinding", "subjects"),
        ("rbac.authorization.k8s.io.ClusterRoleBinding", "subjects"),
    ];
    let account = in_pods(&ACCOUNT_HOLDERS, &["serviceAccountName"]);
    all.push(reference("/v1.ServiceAccount", account, &std::mem::take(&mut accounts)));
    let claims = in_pods(&ACCOUNT_HOLDERS, &["volumes/persistentVolumeClaim/claimName"]);
    all.push(reference("/v1.PersistentVolumeClaim", claims, &[]));
    all.push(reference(
        "/v1.PersistentVolume",
        Vec::new(),
        &[("PersistentVolumeClaim", "spec/volumeName"), ("ClusterRole", "rules/resourceNames")],
    ));
    all.push(reference(
        "storage.k8s.io/v1.StorageClass",
        Vec::new(),
        &[
            ("PersistentVolume", "spec/storageClassName"),
            ("PersistentVolumeClaim", "spec/storageClassName"),
            ("StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName"),
        ],
    ));
    all.push(reference("scheduling.k8s.io/v1.PriorityClass", in_pods(&ACCOUNT_HOLDERS, &["priorityClassName"]), &[]));
    all.push(reference(
        "admissionregistration.k8s.io.ValidatingAdmissionPolicy",
        Vec::new(),
        &[("admissionregistration.k8s.io.ValidatingAdmissionPolicyBinding", "spec/policyName")],
    ));
    all
});
