//! Who refers to whom by name.

use super::Reference;
use crate::fieldspec::{FieldSpec, short_gvk};
use crate::id::Gvk;

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
        .flat_map(|(kind, pod)| {
            fields.iter().map(move |field| FieldSpec::short(kind, &format!("{pod}/{field}"), false))
        })
        .collect()
}

fn reference(target: &str, mut in_pods: Vec<FieldSpec>, others: &[(&str, &str)]) -> Reference {
    in_pods.extend(others.iter().map(|(kind, path)| FieldSpec::short(kind, path, false)));
    Reference { target: short_gvk(target), referrers: in_pods }
}

/// Who refers to whom by name.
pub(super) fn all() -> Vec<Reference> {
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
    let accounts = reference(
        "/v1.ServiceAccount",
        in_pods(&ACCOUNT_HOLDERS, &["serviceAccountName"]),
        &[
            ("rbac.authorization.k8s.io.RoleBinding", "subjects"),
            ("rbac.authorization.k8s.io.ClusterRoleBinding", "subjects"),
        ],
    );
    all.push(accounts);
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
    // The original's table has the version in the group here, so it fits nothing; kept for the order of the rest.
    all.push(Reference {
        target: Gvk {
            group: "networking.k8s.io/v1".to_owned(),
            version: "v1".to_owned(),
            kind: "IngressClass".to_owned(),
        },
        referrers: vec![FieldSpec::short("Ingress", "spec/ingressClassName", false)],
    });
    all.push(reference(
        "admissionregistration.k8s.io.ValidatingAdmissionPolicy",
        Vec::new(),
        &[("admissionregistration.k8s.io.ValidatingAdmissionPolicyBinding", "spec/policyName")],
    ));
    all
}
