//! A runtime of its own for each test, images to run in it, and the check that nothing is left.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use coracle_runtime::{
    ContainerSpec, Digest, Exit, Image, LogSpec, Namespaces, Options, ProcessSpec, Resources, Runtime, Seccomp, User,
};
use serde_json::json;

/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Rig {
    pub runtime: Runtime,
    pub options: Options,
    pub image: Image,
    _directory: tempfile::TempDir,
}

/// The static program, compiled once for all tests of a run.
pub fn tool() -> &'static [u8] {
    static TOOL: OnceLock<Vec<u8>> = OnceLock::new();
    TOOL.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("tool");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tool.rs");
        let compiled = Command::new("rustc")
            .args([
                "--edition",
                "2024",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "opt-level=1",
                "-C",
                "strip=symbols",
                source,
                "-o",
            ])
            .arg(&output)
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        fs::read(output).unwrap()
    })
}

/// A tar archive of these files; a name that ends in `/` is a directory.
pub fn tarball(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_entry_type(if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn base_layer() -> Vec<u8> {
    tarball(&[
        ("bin/", b"", 0o755),
        ("bin/tool", tool(), 0o755),
        ("etc/", b"", 0o755),
        ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:\n", 0o644),
        ("etc/group", b"root:x:0:\napp:x:1000:\nlog:x:4:app\n", 0o644),
        ("tmp/", b"", 0o1777),
    ])
}

pub fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": ["/bin/tool"], "Cmd": null, "Env": ["PATH=/bin", "FROM_IMAGE=yes"], "User": "app", "WorkingDir": "/work"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    serde_json::to_vec(&config).unwrap()
}

/// What `docker save` would write, as a directory.
pub fn save(directory: &Path, name: &str, layers: &[&[u8]]) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("config.json"), config(layers)).unwrap();
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n}.tar")).collect();
    for (name, layer) in names.iter().zip(layers) {
        fs::File::create(directory.join(name)).unwrap().write_all(layer).unwrap();
    }
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": names}]);
    fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
}

pub fn options(root: PathBuf) -> Options {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Options {
        root,
        cgroup: format!("/coracle-test-{}-{number}", std::process::id()),
        shim: env!("CARGO_BIN_EXE_coracle-runtime-test-shim").into(),
        mirrors: BTreeMap::new(),
    }
}

impl Rig {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path().join("data"));
        let runtime = Runtime::open(options.clone()).await.unwrap();
        let saved = directory.path().join("saved");
        save(&saved, "localhost/tool:1", &[&base_layer()]);
        let image = runtime.images().load(&saved).await.unwrap().remove(0);
        Self { runtime, options, image, _directory: directory }
    }

    pub fn path(&self) -> &Path {
        self._directory.path()
    }

    /// A container that runs the tool with these arguments, as root, with nothing special.
    pub fn spec(&self, id: &str, args: &[&str]) -> ContainerSpec {
        spec(&self.image, self.path(), id, args)
    }

    /// Runs it to its end; how it ended, and what it wrote.
    pub async fn run(&self, spec: ContainerSpec) -> (Exit, String) {
        let id = spec.id.clone();
        let log = spec.log.clone().unwrap().path;
        self.runtime.start(spec).await.unwrap();
        let exit = tokio::time::timeout(PATIENCE, self.runtime.wait(&id)).await.unwrap().unwrap();
        (exit, text_of(&log))
    }

    /// Ends it all, and looks whether it is gone.
    pub async fn finish(self) {
        let cgroup = self.options.cgroup.clone();
        let root = self.options.root.clone();
        tokio::time::timeout(PATIENCE, self.runtime.purge()).await.unwrap().unwrap();
        assert_eq!(leftovers(&cgroup, &root), Vec::<String>::new());
    }
}

pub fn spec(image: &Image, directory: &Path, id: &str, args: &[&str]) -> ContainerSpec {
    let mut command = vec!["/bin/tool".to_owned()];
    command.extend(args.iter().map(|arg| (*arg).to_owned()));
    ContainerSpec {
        id: id.into(),
        labels: BTreeMap::from([("name".to_owned(), id.to_owned())]),
        image: image.id.clone(),
        layers: image.layers.clone(),
        process: ProcessSpec {
            args: command,
            env: vec!["PATH=/bin".into()],
            cwd: String::new(),
            user: User::default(),
            tty: false,
            capabilities: Default::default(),
            no_new_privs: false,
            seccomp: Seccomp::Unconfined,
            rlimits: Vec::new(),
            oom_score_adj: 100,
        },
        namespaces: Namespaces::default(),
        mounts: Vec::new(),
        read_only_root: false,
        privileged: false,
        unmasked_proc: false,
        cgroup: format!("pods/p/{id}"),
        resources: Resources::default(),
        log: Some(LogSpec::new(directory.join(format!("{id}.log")))),
        stdin: false,
        stdin_once: false,
        sysctls: BTreeMap::new(),
    }
}

/// The messages of a CRI log.
pub fn text_of(log: &Path) -> String {
    let content = fs::read_to_string(log).unwrap();
    content.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned() + "\n").collect()
}

fn leftovers(cgroup: &str, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(
        mounts.lines().filter(|line| line.contains(&*root.to_string_lossy())).map(|line| format!("mount {line}")),
    );
    for hierarchy in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let path = PathBuf::from(format!("{}{cgroup}", hierarchy.split(' ').nth(4).unwrap()));
        if path.exists() {
            found.push(format!("cgroup {}", path.display()));
        }
    }
    for directory in ["containers", "sandboxes", "builds", "images"] {
        if root.join(directory).exists() {
            found.push(format!("directory {directory}"));
        }
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let group = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // What has ended may wait a moment for process 1 to notice.
        if group.contains(cgroup) && !stat.contains(") Z ") {
            found.push(format!("process {}", process.path().display()));
        }
    }
    found
}

/// Until it holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn kill(pid: i32) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}

pub fn parent_of(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}
