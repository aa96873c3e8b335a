//! How long things take; run by hand: `cargo test -p coracle-runtime --release -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use crate::rig::{PATIENCE, Rig, kill};

fn spread(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!("{what}: p50 {:?}, p90 {:?}, p99 {:?} of {}", at(50), at(90), at(99), times.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn speed() {
    let rig = Rig::new().await;
    let (mut starts, mut ends, mut execs, mut removes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..50 {
        let id = format!("c{n}");
        let before = Instant::now();
        let status = rig.runtime.start(rig.spec(&id, &["sleep"])).await.unwrap();
        starts.push(before.elapsed());
        let before = Instant::now();
        rig.runtime.exec_capture(&id, &["/bin/tool".into(), "exit".into(), "0".into()], PATIENCE, 100).await.unwrap();
        execs.push(before.elapsed());
        let coracle_runtime::State::Running { pid, .. } = status.state else { panic!("{status:?}") };
        let before = Instant::now();
        kill(pid);
        rig.runtime.wait(&id).await.unwrap();
        ends.push(before.elapsed());
        let before = Instant::now();
        rig.runtime.remove(&id).await.unwrap();
        removes.push(before.elapsed());
    }
    spread("start", starts);
    spread("exec", execs);
    spread("kill to known", ends);
    spread("remove", removes);
    rig.finish().await;
}
