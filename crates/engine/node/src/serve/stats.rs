//! What pods and containers use: the summary API, and the same as metrics.

use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{Body, Server, json_body, whole};
use crate::{doors::Usage, pod::state::PodState};

struct ContainerUsage {
    name: String,
    image: String,
    id: String,
    started_at: Time,
    usage: Usage,
}

struct PodUsage {
    state: std::sync::Arc<PodState>,
    containers: Vec<ContainerUsage>,
    whole: Usage,
}

async fn collect(server: &Server) -> Vec<PodUsage> {
    let mut pods = Vec::new();
    let mut states = server.pods.states();
    states.sort_by(|a, b| (a.namespace(), a.name()).cmp(&(b.namespace(), b.name())));
    for state in states {
        let mut containers = Vec::new();
        for container in &state.containers {
            let Some(instance) = container.instance() else { continue };
            // One that has just ended has nothing to tell.
            let Ok(usage) = server.context.runtime.usage(&instance.id).await else { continue };
            containers.push(ContainerUsage {
                name: container.name.clone(),
                image: instance.image.clone(),
                id: instance.id.clone(),
                started_at: Time(instance.started_at),
                usage,
            });
        }
        let sum = || containers.iter().fold(Usage::default(), |sum, container| add(sum, container.usage));
        let whole = server.context.runtime.pod_usage(state.uid()).unwrap_or_else(sum);
        pods.push(PodUsage { state, containers, whole });
    }
    pods
}

fn add(a: Usage, b: Usage) -> Usage {
    Usage {
        cpu_ns: a.cpu_ns + b.cpu_ns,
        memory_bytes: a.memory_bytes + b.memory_bytes,
        working_set_bytes: a.working_set_bytes + b.working_set_bytes,
        rss_bytes: a.rss_bytes + b.rss_bytes,
        page_faults: a.page_faults + b.page_faults,
        major_page_faults: a.major_page_faults + b.major_page_faults,
        pids: a.pids + b.pids,
    }
}

fn cpu(usage: &Usage, time: &Time) -> Value {
    json!({ "time": time, "usageCoreNanoSeconds": usage.cpu_ns })
}

fn memory(usage: &Usage, time: &Time) -> Value {
    json!({
        "time": time,
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    })
}

/// `/stats/summary`.
pub async fn summary(server: &Server) -> http::Response<Body> {
    let now = Time(server.context.clock.now());
    let collected = collect(server).await;
    let total = collected.iter().fold(Usage::default(), |sum, pod| add(sum, pod.whole));
    let pods: Vec<_> = collected.iter().map(|pod| pod_summary(pod, &now)).collect();
    let node =
        json!({ "nodeName": server.context.node.name, "cpu": cpu(&total, &now), "memory": memory(&total, &now) });
    json_body(&json!({ "node": node, "pods": pods }))
}

fn pod_summary(pod: &PodUsage, now: &Time) -> Value {
    let containers: Vec<_> = pod
        .containers
        .iter()
        .map(|container| {
            json!({
                "name": container.name,
                "startTime": container.started_at,
                "cpu": cpu(&container.usage, now),
                "memory": memory(&container.usage, now),
            })
        })
        .collect();
    json!({
        "podRef": { "name": pod.state.name(), "namespace": pod.state.namespace(), "uid": pod.state.uid() },
        "startTime": Time(pod.state.started_at),
        "containers": containers,
        "cpu": cpu(&pod.whole, now),
        "memory": memory(&pod.whole, now),
        "process_stats": { "process_count": pod.whole.pids },
    })
}

const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/metrics/cadvisor`: the names dashboards ask for.
pub async fn cadvisor(server: &Server) -> http::Response<Body> {
    let pods = collect(server).await;
    let mut out = String::new();
    type Read = fn(&Usage) -> f64;
    let families: [(&str, &str, Read); 5] = [
        ("container_cpu_usage_seconds_total", "counter", |usage| usage.cpu_ns as f64 / 1e9),
        ("container_memory_usage_bytes", "gauge", |usage| usage.memory_bytes as f64),
        ("container_memory_working_set_bytes", "gauge", |usage| usage.working_set_bytes as f64),
        ("container_memory_rss", "gauge", |usage| usage.rss_bytes as f64),
        ("container_processes", "gauge", |usage| usage.pids as f64),
    ];
    for (name, kind, read) in families {
        out += &format!("# TYPE {name} {kind}\n");
        for pod in &pods {
            let of_pod = format!("namespace=\"{}\",pod=\"{}\"", pod.state.namespace(), pod.state.name());
            for container in &pod.containers {
                let own =
                    format!("container=\"{}\",id=\"{}\",image=\"{}\"", container.name, container.id, container.image);
                out += &format!("{name}{{{own},{of_pod}}} {}\n", read(&container.usage));
            }
            out += &format!(
                "{name}{{container=\"\",id=\"{}\",image=\"\",{of_pod}}} {}\n",
                pod.state.uid(),
                read(&pod.whole)
            );
        }
    }
    whole(StatusCode::OK, METRICS, out)
}

/// `/metrics/resource`: what a metrics server reads.
pub async fn resource(server: &Server) -> http::Response<Body> {
    let pods = collect(server).await;
    let mut out = String::new();
    let now_ms = server.context.clock.now().as_millisecond();
    out += "# TYPE container_cpu_usage_seconds_total counter\n# TYPE container_memory_working_set_bytes gauge\n";
    for pod in &pods {
        let of_pod = format!("namespace=\"{}\",pod=\"{}\"", pod.state.namespace(), pod.state.name());
        for container in &pod.containers {
            let labels = format!("{{container=\"{}\",{of_pod}}}", container.name);
            let usage = &container.usage;
            out += &format!("container_cpu_usage_seconds_total{labels} {} {now_ms}\n", usage.cpu_ns as f64 / 1e9);
            out += &format!("container_memory_working_set_bytes{labels} {} {now_ms}\n", usage.working_set_bytes);
        }
    }
    let total = pods.iter().fold(Usage::default(), |sum, pod| add(sum, pod.whole));
    out += "# TYPE node_cpu_usage_seconds_total counter\n# TYPE node_memory_working_set_bytes gauge\n";
    out += &format!("node_cpu_usage_seconds_total {} {now_ms}\n", total.cpu_ns as f64 / 1e9);
    out += &format!("node_memory_working_set_bytes {} {now_ms}\n", total.working_set_bytes);
    whole(StatusCode::OK, METRICS, out)
}
