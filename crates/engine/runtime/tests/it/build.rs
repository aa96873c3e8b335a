//! Dockerfile RUN.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    time::Duration,
};

use coracle_runtime::{BuildStep, BuildStepError};

use crate::rig::{PATIENCE, Rig};

fn step(rig: &Rig, name: &str, args: &[&str]) -> BuildStep {
    let directory = rig.path().join(name);
    for below in ["upper", "work"] {
        fs::create_dir_all(directory.join(below)).unwrap();
    }
    BuildStep {
        layers: rig.image.layers.clone(),
        upper: directory.join("upper"),
        work: directory.join("work"),
        args: std::iter::once("/bin/tool").chain(args.iter().copied()).map(str::to_owned).collect(),
        env: vec!["PATH=/bin".into()],
        cwd: "/tmp".into(),
        user: String::new(),
        network: None,
        mounts: Vec::new(),
        resources: Default::default(),
        timeout: PATIENCE,
    }
}

#[tokio::test]
async fn changes_stay_behind() {
    let rig = Rig::new().await;
    let mut lines = Vec::new();
    let code = rig
        .runtime
        .run_build_step(step(&rig, "1", &["write", "made", "here"]), |line| lines.push(line.to_owned()))
        .await
        .unwrap();
    assert_eq!((code, lines.as_slice()), (0, ["wrote made".to_owned()].as_slice()));
    assert_eq!(fs::read_to_string(rig.path().join("1/upper/tmp/made")).unwrap(), "here");
    assert!(!rig.path().join("1/upper/proc").join("self").exists());
    let code = rig.runtime.run_build_step(step(&rig, "2", &["remove", "/etc/group"]), |_| ()).await.unwrap();
    assert_eq!(code, 0);
    let gone = rig.path().join("2/upper/etc/group").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut lines = Vec::new();
    let code =
        rig.runtime.run_build_step(step(&rig, "3", &["both"]), |line| lines.push(line.to_owned())).await.unwrap();
    lines.sort();
    assert_eq!((code, lines.len()), (0, 2));
    let mut with_user = step(&rig, "4", &["write", "/tmp/mine", "x"]);
    with_user.user = "app".into();
    assert_eq!(rig.runtime.run_build_step(with_user, |_| ()).await.unwrap(), 0);
    assert_eq!(rig.path().join("4/upper/tmp/mine").metadata().unwrap().uid(), 1000);
    rig.finish().await;
}

#[tokio::test]
async fn failures() {
    let rig = Rig::new().await;
    assert_eq!(rig.runtime.run_build_step(step(&rig, "1", &["exit", "9"]), |_| ()).await.unwrap(), 9);
    let mut missing = step(&rig, "2", &[]);
    missing.args = vec!["nosuch".into()];
    assert!(matches!(
        rig.runtime.run_build_step(missing, |_| ()).await,
        Err(BuildStepError::Start { code: Some(127), .. })
    ));
    let mut slow = step(&rig, "3", &["sleep"]);
    slow.timeout = Duration::from_millis(100);
    assert!(matches!(rig.runtime.run_build_step(slow, |_| ()).await, Err(BuildStepError::TimedOut(_))));
    let mut unknown = step(&rig, "4", &["echo"]);
    unknown.user = "stranger".into();
    assert!(matches!(rig.runtime.run_build_step(unknown, |_| ()).await, Err(BuildStepError::User(_))));
    // A caller that loses interest.
    let abandoned = rig.runtime.run_build_step(step(&rig, "5", &["sleep"]), |_| ());
    assert!(tokio::time::timeout(Duration::from_millis(300), abandoned).await.is_err());
    rig.finish().await;
}
