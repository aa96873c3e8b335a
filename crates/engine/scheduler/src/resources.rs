//! What a pod asks for, and what a node has.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

/// Amounts by resource name, in thousandths.
pub(crate) type Amounts = BTreeMap<String, i128>;

fn amounts(quantities: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    quantities.into_iter().flatten().map(|(name, quantity)| (name.clone(), milli(quantity))).collect()
}

/// Rounded up; the API server lets nothing through that cannot be read.
fn milli(quantity: &Quantity) -> i128 {
    coracle_quantity::Quantity::parse(&quantity.0).map_or(0, |exact| exact.millis().into())
}

pub(crate) fn add(into: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        *into.entry(name.clone()).or_default() += amount;
    }
}

fn raise(into: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let present = into.entry(name.clone()).or_default();
        *present = (*present).max(*amount);
    }
}

fn requests(container: &Container) -> Amounts {
    let resources: Option<&ResourceRequirements> = container.resources.as_ref();
    amounts(resources.and_then(|resources| resources.requests.as_ref()))
}

/// What a pod requests: its containers and sidecars together, or what an init container needs beside the sidecars
/// started before it, whichever is more; what it says for the pod as a whole instead; and the overhead.
pub(crate) fn requested(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &requests(container));
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let own = requests(container);
        let mut while_it_runs = sidecars.clone();
        add(&mut while_it_runs, &own);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.clone_from(&while_it_runs);
        }
        raise(&mut peak, &while_it_runs);
    }
    add(&mut total, &sidecars);
    raise(&mut total, &peak);
    for (name, amount) in amounts(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref())) {
        total.insert(name, amount);
    }
    add(&mut total, &amounts(spec.overhead.as_ref()));
    total
}

/// What a node offers to pods.
pub(crate) fn allocatable(node: &Node) -> Amounts {
    let status = node.status.as_ref();
    amounts(status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn init_containers_count_where_they_need_more_than_the_rest() {
        let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "resources": cpu("100m")},
                {"name": "init", "resources": cpu("1")},
            ],
            "containers": [{"name": "a", "resources": cpu("200m")}, {"name": "b", "resources": {"requests": {"memory": "1Ki"}}}],
            "overhead": {"cpu": "5m"},
        }}))
        .expect("a pod");
        let expected = Amounts::from([("cpu".to_owned(), 1105), ("memory".to_owned(), 1_024_000)]);
        assert_eq!(requested(&pod), expected);
    }
}
