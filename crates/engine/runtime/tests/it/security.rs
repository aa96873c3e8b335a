//! What a process in a container is, may do and can see.

use std::fs;

use coracle_runtime::{Capabilities, ContainerSpec, Mount, MountKind, Rlimit, Seccomp, User};

use crate::rig::Rig;

/// The lines of `/proc/self/status` that tell.
fn told(status: &str) -> String {
    let wanted = ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"];
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        wanted.contains(&name).then(|| format!("{name} {}\n", value.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    status.lines().filter_map(line).collect()
}

async fn check(change: impl FnOnce(&mut ContainerSpec), expected: expect_test::Expect) {
    let rig = Rig::new().await;
    let mut spec = rig.spec("a", &["show", "/proc/self/status"]);
    change(&mut spec);
    let (_, text) = rig.run(spec).await;
    expected.assert_eq(&told(&text));
    rig.finish().await;
}

#[tokio::test]
async fn root_by_default() {
    check(
        |_| {},
        expect_test::expect![[r#"
            Uid 0 0 0 0
            Gid 0 0 0 0
            Groups 0
            CapInh 0000000000000000
            CapPrm 00000000a80425fb
            CapEff 00000000a80425fb
            CapBnd 00000000a80425fb
            CapAmb 0000000000000000
            NoNewPrivs 0
            Seccomp 0
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_restricted_user() {
    check(
        |spec| {
            spec.process.user = User { uid: 1000, gid: 2000, groups: vec![4, 3000] };
            spec.process.capabilities = Capabilities { add: vec!["NET_BIND_SERVICE".into()], drop: vec!["ALL".into()] };
            spec.process.no_new_privs = true;
            spec.process.seccomp = Seccomp::RuntimeDefault;
        },
        expect_test::expect![[r#"
            Uid 1000 1000 1000 1000
            Gid 2000 2000 2000 2000
            Groups 4 2000 3000
            CapInh 0000000000000000
            CapPrm 0000000000000000
            CapEff 0000000000000000
            CapBnd 0000000000000400
            CapAmb 0000000000000000
            NoNewPrivs 1
            Seccomp 2
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_filter_without_no_new_privs() {
    check(
        |spec| spec.process.seccomp = Seccomp::RuntimeDefault,
        expect_test::expect![[r#"
            Uid 0 0 0 0
            Gid 0 0 0 0
            Groups 0
            CapInh 0000000000000000
            CapPrm 00000000a80425fb
            CapEff 00000000a80425fb
            CapBnd 00000000a80425fb
            CapAmb 0000000000000000
            NoNewPrivs 0
            Seccomp 2
        "#]],
    )
    .await;
}

#[tokio::test]
async fn the_filter_filters() {
    let rig = Rig::new().await;
    let (_, text) = rig.run(rig.spec("free", &["unshare"])).await;
    assert_eq!(text, "allowed\n");
    let mut spec = rig.spec("held", &["unshare"]);
    spec.process.seccomp = Seccomp::RuntimeDefault;
    let (_, text) = rig.run(spec).await;
    assert_eq!(text, "Operation not permitted (os error 1)\n");
    // An executed process is held too.
    let mut spec = rig.spec("main", &["sleep"]);
    spec.process.seccomp = Seccomp::RuntimeDefault;
    rig.runtime.start(spec).await.unwrap();
    let executed = rig
        .runtime
        .exec_capture("main", &["/bin/tool".into(), "unshare".into()], crate::rig::PATIENCE, 100)
        .await
        .unwrap();
    assert_eq!(executed.output, b"Operation not permitted (os error 1)\n");
    rig.finish().await;
}

#[tokio::test]
async fn the_file_system() {
    let rig = Rig::new().await;
    let outside = rig.path().join("volume");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "from outside\n").unwrap();
    let bind = |destination: &str, source: &std::path::Path, read_only| Mount {
        destination: destination.into(),
        kind: MountKind::Bind { source: source.into(), propagation: Default::default(), recursive_read_only: false },
        read_only,
    };
    let volumes = vec![
        bind("/data/rw", &outside, false),
        bind("/data/ro", &outside, true),
        bind("/etc/single", &outside.join("file"), true),
        Mount {
            destination: "/cache".into(),
            kind: MountKind::Tmpfs { size_bytes: Some(1 << 20), mode: None },
            read_only: false,
        },
    ];
    let run = async |id: &str, args: &[&str], read_only_root: bool| {
        let mut spec = rig.spec(id, args);
        spec.mounts = volumes.clone();
        spec.read_only_root = read_only_root;
        rig.run(spec).await.1
    };
    assert_eq!(run("1", &["show", "/etc/single", "/data/ro/file"], false).await, "from outside\nfrom outside\n");
    assert_eq!(
        run("2", &["write", "/data/ro/x", "y"], false).await,
        "/data/ro/x: Read-only file system (os error 30)\n"
    );
    assert_eq!(run("3", &["write", "/data/rw/x", "y"], true).await, "wrote /data/rw/x\n");
    assert_eq!(fs::read_to_string(outside.join("x")).unwrap(), "y");
    assert_eq!(run("4", &["write", "/x", "y"], true).await, "/x: Read-only file system (os error 30)\n");
    assert_eq!(run("5", &["write", "/cache/x", "y"], true).await, "wrote /cache/x\n");
    assert_eq!(
        run("6", &["write", "/proc/sys/kernel/panic", "1"], false).await,
        "/proc/sys/kernel/panic: Read-only file system (os error 30)\n"
    );
    assert_eq!(run("7", &["show", "/proc/interrupts"], false).await, "");
    assert_eq!(run("8", &["ls", "/sys/firmware"], false).await, "\n");
    assert_eq!(
        run("9", &["ls", "/dev"], false).await,
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n"
    );
    // What one container wrote is not in the image.
    assert_eq!(run("10", &["write", "/new", "y"], false).await, "wrote /new\n");
    assert_eq!(run("11", &["show", "/new"], false).await, "/new: No such file or directory (os error 2)\n");
    rig.finish().await;
}

#[tokio::test]
async fn links_of_an_image_lead_nowhere() {
    let rig = Rig::new().await;
    let evil = rig.path().join("evil");
    // The mount point is a link that would lead out, were it followed from outside.
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    archive.append_link(&mut header, "data", rig.path().join("victim")).unwrap();
    crate::rig::save(&evil, "localhost/evil:1", &[&crate::rig::base_layer(), &archive.into_inner().unwrap()]);
    let image = rig.runtime.images().load(&evil).await.unwrap().remove(0);
    let mut spec = crate::rig::spec(&image, rig.path(), "a", &["ls", "/data"]);
    spec.mounts.push(Mount {
        destination: "/data/made".into(),
        kind: MountKind::Tmpfs { size_bytes: None, mode: None },
        read_only: false,
    });
    assert_eq!(rig.run(spec).await.1, "made\n");
    assert!(!rig.path().join("victim").exists());
    rig.finish().await;
}

#[tokio::test]
async fn settings_of_the_process() {
    let rig = Rig::new().await;
    let mut spec = rig.spec("env", &["env"]);
    spec.process.env = vec!["A=1".into(), "A=2".into()];
    spec.process.user = User { uid: 1000, gid: 1000, groups: Vec::new() };
    assert_eq!(rig.run(spec).await.1, "A=2\nHOME=/home/app\n");
    let mut spec = rig.spec("cwd", &["pwd"]);
    spec.process.cwd = "/made/for/this".into();
    assert_eq!(rig.run(spec).await.1, "/made/for/this\n");
    let mut spec = rig.spec("limits", &["show", "/proc/self/limits"]);
    spec.process.rlimits = vec![Rlimit { name: "nofile".into(), soft: 123, hard: 456 }];
    let limits = rig.run(spec).await.1;
    assert!(limits.contains("Max open files            123                  456"), "{limits}");
    let mut spec =
        rig.spec("sysctl", &["show", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/self/oom_score_adj"]);
    spec.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "80".into());
    assert_eq!(rig.run(spec).await.1, "80\n100\n");
    let mut spec = rig.spec("host", &["show", "/proc/sys/kernel/hostname"]);
    spec.namespaces.hostname = Some("inside".into());
    assert_eq!(rig.run(spec).await.1, "inside\n");
    let mut spec = rig.spec("mighty", &["show", "/proc/self/status"]);
    spec.privileged = true;
    let status = rig.run(spec).await.1;
    // All that the tests themselves have.
    let own = told(&fs::read_to_string("/proc/self/status").unwrap());
    let effective = |told: &str| told.lines().find(|line| line.starts_with("CapEff")).map(str::to_owned);
    assert_eq!(effective(&told(&status)), effective(&own));
    rig.finish().await;
}
