//! The objects a Dockerfile alone stands for.

use serde_json::{Value, json};

use super::settings::{EnvValue, Settings};
use crate::names::Environment;

const REPLICAS: u32 = 3;
/// The port of an image that exposes none; it is told so by the `PORT` variable.
const PORT: u16 = 8080;
const REQUESTS: [(&str, &str); 2] = [("cpu", "50m"), ("memory", "32Mi")];
const LIMITS: [(&str, &str); 2] = [("cpu", "1"), ("memory", "256Mi")];
/// A new version that gets nowhere for this long has failed.
const PROGRESS_DEADLINE_SECONDS: u32 = 120;

/// Deployment, Service and Ingress of an app, its image called by the app's name.
pub(super) fn objects(environment: &Environment, settings: &Settings, exposed_ports: &[u16]) -> Vec<Value> {
    let port = settings.port.or_else(|| exposed_ports.first().copied()).unwrap_or(PORT);
    let others: Vec<u16> = exposed_ports.iter().copied().filter(|exposed| *exposed != port).collect();
    vec![
        deployment(environment, settings, port, &others),
        service(&environment.app, port, &others),
        ingress(environment, settings),
    ]
}

fn labels(app: &str) -> Value {
    json!({"app.kubernetes.io/name": app})
}

fn deployment(environment: &Environment, settings: &Settings, port: u16, others: &[u16]) -> Value {
    let app = &environment.app;
    let mut ports = vec![json!({"name": "http", "containerPort": port, "protocol": "TCP"})];
    ports.extend(
        others.iter().map(|port| json!({"name": format!("port-{port}"), "containerPort": port, "protocol": "TCP"})),
    );
    let mut env = vec![json!({"name": "PORT", "value": port.to_string()})];
    env.retain(|_| settings.env.iter().all(|(name, _)| name != "PORT"));
    env.extend(settings.env.iter().map(|(name, value)| match value {
        EnvValue::Text(text) => json!({"name": name, "value": text}),
        EnvValue::Secret { name: secret, key } => {
            json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
        }
    }));
    let mut probe = match &settings.health {
        Some(path) => json!({"httpGet": {"path": path, "port": "http"}}),
        None => json!({"tcpSocket": {"port": "http"}}),
    };
    // Quick to find a new replica ready, slow enough not to be a load.
    probe["periodSeconds"] = 1.into();
    probe["failureThreshold"] = 3.into();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "labels": labels(app)},
        "spec": {
            "replicas": settings.replicas.unwrap_or(REPLICAS),
            "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS,
            "selector": {"matchLabels": labels(app)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels(app)},
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": app,
                        "image": app,
                        "ports": ports,
                        "env": env,
                        "readinessProbe": probe,
                        "resources": {
                            "requests": quantities(&REQUESTS, &settings.requests),
                            "limits": quantities(&LIMITS, &settings.limits),
                        },
                    }],
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": labels(app)},
                    }],
                },
            },
        },
    })
}

fn quantities(defaults: &[(&str, &str)], settings: &[(String, String)]) -> Value {
    let mut quantities = json!({});
    for (name, quantity) in defaults {
        quantities[*name] = (*quantity).into();
    }
    for (name, quantity) in settings {
        quantities[name] = quantity.as_str().into();
    }
    quantities
}

fn service(app: &str, port: u16, others: &[u16]) -> Value {
    // Requests come in at the usual port, whatever the app listens on.
    let mut ports = vec![json!({"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"})];
    if port != 80 && others.contains(&80) {
        ports[0]["port"] = port.into();
    }
    ports.extend(
        others
            .iter()
            .map(|port| json!({"name": format!("port-{port}"), "port": port, "protocol": "TCP", "targetPort": port})),
    );
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app, "labels": labels(app)},
        "spec": {"selector": labels(app), "ports": ports},
    })
}

fn ingress(environment: &Environment, settings: &Settings) -> Value {
    let app = &environment.app;
    let mut hosts = vec![environment.host()];
    // A preview answers below the app's other hosts, as it does below its first.
    hosts.extend(settings.hosts.iter().map(|host| match environment.preview.as_str() {
        "" => host.clone(),
        preview => format!("{preview}.{host}"),
    }));
    let rules: Vec<Value> = hosts
        .into_iter()
        .map(|host| {
            let backend = json!({"service": {"name": app, "port": {"name": "http"}}});
            json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}})
        })
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": app, "labels": labels(app)},
        "spec": {"rules": rules},
    })
}

/// The same as files in the directory `deploy`, held together by a kustomization.
pub(super) fn files(app: &str, settings: &Settings, exposed_ports: &[u16]) -> Vec<(String, String)> {
    let environment = Environment { app: app.to_owned(), preview: String::new() };
    let mut files = Vec::new();
    let mut names = Vec::new();
    for object in objects(&environment, settings, exposed_ports) {
        let name = format!("{}.yaml", object["kind"].as_str().unwrap_or_default().to_lowercase());
        files.push((format!("deploy/{name}"), coracle_yaml::emit(&object)));
        names.push(name);
    }
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": names,
    });
    files.push(("deploy/kustomization.yaml".to_owned(), coracle_yaml::emit(&kustomization)));
    files
}
