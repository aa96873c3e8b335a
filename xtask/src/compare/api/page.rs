//! The page of figures.

use std::fmt::Write as _;

use super::{AT_ONCE, Figures, Measured};

/// From here on the page is written by hand, and kept.
const KEPT: &str = "\n## Where the rest goes\n";

/// The table of one server beside the other, or of one alone.
pub fn table(
    objects: usize,
    memory_objects: usize,
    ours: &Figures,
    theirs: Option<&Figures>,
) -> anyhow::Result<String> {
    let mut table = String::from(
        "| what | Coracle | Kubernetes 1.35 | ratio | aim | processor time: Coracle | Kubernetes | ratio |\n|---|---|---|---|---|---|---|---|\n",
    );
    let memory = format!("memory with {memory_objects} objects");
    let list = format!("LIST of {objects}");
    type Of = fn(&Figures) -> Measured;
    let rows: [(&str, Of, &str); 7] = [
        ("start to ready", |figures| figures.ready, "20×"),
        ("creates", |figures| figures.creates, "5×"),
        ("updates", |figures| figures.updates, "5×"),
        ("GET", |figures| figures.gets, "3×"),
        (&list, |figures| figures.lists, "10×"),
        ("watch: deliveries to 100 watchers", |figures| figures.deliveries, "5×"),
        (&memory, |figures| figures.memory, "4×"),
    ];
    for (what, of, aim) in rows {
        let ours = of(ours);
        let Some(theirs) = theirs.map(of) else {
            writeln!(table, "| {what} | {} | | | {aim} | {} | | |", ours.shown(), ours.processor())?;
            continue;
        };
        let (shown, processor) = (ours.shown(), ours.processor());
        let (ratio, lean) = (ours.ratio(&theirs), ours.processor_ratio(&theirs));
        writeln!(
            table,
            "| {what} | {shown} | {} | {ratio} | {aim} | {processor} | {} | {lean} |",
            theirs.shown(),
            theirs.processor()
        )?;
    }
    Ok(table)
}

/// The page, with what was written by hand on the one before.
pub fn page(objects: usize, table: &str, before: &str) -> String {
    let kept = before.split_once(KEPT).map(|(_, kept)| format!("{KEPT}{kept}")).unwrap_or_default();
    format!(
        "# The API server beside kube-apiserver and etcd\n\nWritten by `cargo run --release -p xtask -- compare api --write`: the same requests by the same \
         client, {AT_ONCE} at once, one server after the other in one run, each write durable before it is acknowledged. \
         {objects} ConfigMaps of 0.7 KB, as JSON over HTTP/1.1 and TLS; ours runs as a whole engine with its controllers and a node. The client writes prepared \
         requests and counts what comes back without reading it, but shares the two cores with the server. So the time \
         that the servers' processes were given by the kernel stands beside: for Kubernetes, kube-apiserver and etcd together; a request's, an \
         object's or a delivery's share.\n\n{table}{kept}"
    )
}
