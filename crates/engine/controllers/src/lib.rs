//! One module a controller: each an ordinary API client.
//!
//! A controller is told keys of objects to look at, compares what its caches say with what should be, and changes the
//! difference through the API. It keeps no state that matters: killed at any moment, it goes on from what the API says.

pub mod certificates;
mod control;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
mod discovery;
pub mod disruption;
pub mod endpoints;
pub mod garbage;
mod history;
pub mod job;
pub mod namespaces;
mod owner;
mod pods;
mod queue;
pub mod replicaset;
pub mod role_aggregation;
pub mod serviceaccounts;
pub mod statefulset;
mod template;

use coracle_client::AbortOnDrop;
use futures::future::BoxFuture;

pub use control::Context;
pub use queue::Queue;

/// Runs all controllers until the future is dropped. `authority_pem` is the certificate that pods are to trust the API
/// server by. Boxed, so that it is compiled with this crate and not with whoever runs it.
pub fn run(context: Context, authority_pem: String) -> BoxFuture<'static, ()> {
    Box::pin(run_all(context, authority_pem))
}

async fn run_all(context: Context, authority_pem: String) {
    let own = || context.clone();
    let running = [
        coracle_tasks::spawn("namespace-controller", namespaces::run(own())),
        coracle_tasks::spawn("serviceaccount-controller", serviceaccounts::run(own(), authority_pem)),
        coracle_tasks::spawn("deployment-controller", deployment::run(own())),
        coracle_tasks::spawn("replicaset-controller", replicaset::run(own())),
        coracle_tasks::spawn("statefulset-controller", statefulset::run(own())),
        coracle_tasks::spawn("daemonset-controller", daemonset::run(own())),
        coracle_tasks::spawn("job-controller", job::run(own())),
        coracle_tasks::spawn("cronjob-controller", cronjob::run(own())),
        coracle_tasks::spawn("endpoint-slice-controller", endpoints::run(own())),
        coracle_tasks::spawn("endpoint-slice-mirroring-controller", endpoints::mirror::run(own())),
        coracle_tasks::spawn("disruption-controller", disruption::run(own())),
        coracle_tasks::spawn("certificate-controller", certificates::run(own())),
        coracle_tasks::spawn("clusterrole-aggregation-controller", role_aggregation::run(own())),
        coracle_tasks::spawn("garbage-collector", garbage::run(own())),
    ];
    let _ended_with_this = running.map(AbortOnDrop);
    std::future::pending::<()>().await;
}
