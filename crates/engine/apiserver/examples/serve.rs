//! The API server alone on a loopback port, to try clients on: prints where its kubeconfig is, and ends with Ctrl-C.
//! With a directory as its argument it keeps its objects there, otherwise in memory.

#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests")]
#[path = "../tests/it/support.rs"]
mod support;

#[tokio::main]
async fn main() {
    let store = match std::env::args().nth(1) {
        Some(directory) => coracle_store::Store::open(directory.as_ref(), coracle_store::Options::default())
            .expect("the directory can be opened"),
        None => coracle_store::Store::in_memory(),
    };
    let listening = support::listen(support::server_over(store).await).await;
    println!("export KUBECONFIG={}", listening.kubeconfig.display());
    println!("https://{}", listening.address);
    tokio::signal::ctrl_c().await.expect("signals can be awaited");
}
