//! The quality-of-service class of a pod. Pure.

use k8s_openapi::api::core::v1 as core;

use crate::quantity::{self, ResourceList};

/// How gladly a pod's memory is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class by the rules of Kubernetes: cpu and memory, all containers, requests default to limits.
pub fn qos(spec: &core::PodSpec) -> Qos {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let (mut any, mut all) = (false, true);
    for container in containers {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        for name in ["cpu", "memory"] {
            let limit = positive(limits, name);
            let request = positive(requests, name).or(limit);
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && request == limit;
        }
    }
    match (any, all) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

fn positive(list: Option<&ResourceList>, name: &str) -> Option<u64> {
    quantity::milli_of(list, name).filter(|value| *value > 0)
}

/// What the kernel's out-of-memory killer adds to a container's score.
pub fn oom_score_adj(qos: Qos, memory_request_bytes: u64, memory_capacity_bytes: u64) -> i32 {
    match qos {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let capacity = memory_capacity_bytes.max(1);
            let share = i32::try_from(1000 * u128::from(memory_request_bytes) / u128::from(capacity)).unwrap_or(1000);
            (1000 - share).clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Qos, oom_score_adj, qos};

    fn class(containers: &str) -> &'static str {
        let spec = serde_json::from_str(&format!("{{\"containers\":[{containers}]}}")).expect("a pod spec");
        qos(&spec).as_str()
    }

    #[test]
    fn classes() {
        let guaranteed = r#"{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}"#;
        let none = r#"{"name":"b"}"#;
        assert_eq!(class(none), "BestEffort");
        assert_eq!(class(guaranteed), "Guaranteed");
        assert_eq!(class(&format!("{guaranteed},{none}")), "Burstable");
        assert_eq!(class(r#"{"name":"a","resources":{"requests":{"cpu":"1"}}}"#), "Burstable");
        assert_eq!(class(r#"{"name":"a","resources":{"requests":{"cpu":"0"}}}"#), "BestEffort");
        let same = r#"{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m","memory":"1024Mi"}}}"#;
        assert_eq!(class(same), "Guaranteed");
    }

    #[test]
    fn scores() {
        assert_eq!(oom_score_adj(Qos::Guaranteed, 1, 10), -997);
        assert_eq!(oom_score_adj(Qos::BestEffort, 0, 10), 1000);
        assert_eq!(oom_score_adj(Qos::Burstable, 5, 10), 500);
        assert_eq!(oom_score_adj(Qos::Burstable, 10, 10), 3);
        assert_eq!(oom_score_adj(Qos::Burstable, 0, 10), 999);
    }
}
