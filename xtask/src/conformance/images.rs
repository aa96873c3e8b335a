//! The images that Kubernetes' tests run: made of static binaries, pushed to the engine's own registry.
//!
//! The real ones come from outside. These hold the same programs: `agnhost`, which does most of the work, and busybox in
//! place of a distribution and of web servers that are only asked for a page.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use coracle_harness::Engine;
use serde_json::json;

use super::push::Registry;

/// The static binaries, and what names them.
const AGNHOST: &str = "CORACLE_AGNHOST";
const BUSYBOX: &str = "CORACLE_BUSYBOX";
const SAMPLE_APISERVER: &str = "CORACLE_SAMPLE_APISERVER";
const ETCD: &str = "CORACLE_ETCD";

/// Where the suite finds images, in the words of its `KUBE_TEST_REPO_LIST`.
const PLACES: &str = "promoterE2eRegistry: registry.coracle.internal/e2e-test-images
gcRegistry: registry.coracle.internal
gcEtcdRegistry: registry.coracle.internal
";

/// How an image is started and what is in it, beside busybox.
struct Recipe {
    name: &'static str,
    binary: Option<(&'static str, &'static str)>,
    page: Option<(&'static str, &'static str)>,
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
}

const SERVE: &[&str] = &["/bin/httpd", "-f", "-p", "80", "-h", "/www"];
const AGNHOST_BINARY: Option<(&str, &str)> = Some((AGNHOST, "agnhost"));

const RECIPES: &[Recipe] = &[
    Recipe { name: "agnhost", binary: AGNHOST_BINARY, page: None, entrypoint: &["/agnhost"], command: &["pause"] },
    Recipe { name: "pause", binary: AGNHOST_BINARY, page: None, entrypoint: &["/agnhost", "pause"], command: &[] },
    Recipe { name: "busybox", binary: None, page: None, entrypoint: &[], command: &["sh"] },
    web("httpd", ("index.html", "<html><body><h1>It works!</h1></body></html>\n")),
    web("nginx", ("index.html", "<html><body><h1>Welcome to nginx!</h1></body></html>\n")),
    web("nautilus", ("data.json", "{\"image\":\"nautilus.jpg\"}\n")),
    web("kitten", ("data.json", "{\"image\":\"kitten.jpg\"}\n")),
    Recipe {
        name: "sample-apiserver",
        binary: Some((SAMPLE_APISERVER, "sample-apiserver")),
        page: None,
        entrypoint: &["/sample-apiserver"],
        command: &[],
    },
    Recipe {
        name: "etcd",
        binary: Some((ETCD, "usr/local/bin/etcd")),
        page: None,
        entrypoint: &[],
        command: &["etcd"],
    },
];

const fn web(name: &'static str, page: (&'static str, &'static str)) -> Recipe {
    Recipe { name, binary: None, page: Some(page), entrypoint: SERVE, command: &[] }
}

/// Pushes what there are binaries for, says what is left out, and returns the file that tells the suite about it.
pub(super) fn load(engine: &Engine, e2e_test: &Path) -> anyhow::Result<PathBuf> {
    let places = engine.dir().join("test-images.yaml");
    fs::write(&places, PLACES)?;
    let listed = Command::new(e2e_test).arg("--list-images").env("KUBE_TEST_REPO_LIST", &places).output()?;
    ensure!(listed.status.success(), "e2e.test --list-images failed");
    let listed = String::from_utf8(listed.stdout)?;
    let registry = Registry::of(engine)?;
    for recipe in RECIPES {
        let references = listed.lines().filter_map(|line| line.trim().strip_prefix("registry.coracle.internal/"));
        let of_recipe = |reference: &&str| {
            let last = reference.rsplit('/').next().unwrap_or_default();
            last.split_once(':').is_some_and(|(name, _)| name == recipe.name)
        };
        let references: Vec<&str> = references.filter(of_recipe).collect();
        match recipe.layer()? {
            Some(layer) => {
                references.iter().try_for_each(|reference| registry.push(reference, &layer, &recipe.config()))?;
            }
            None => println!("left out: {} (its binary is not named)", references.join(", ")),
        }
    }
    Ok(places)
}

impl Recipe {
    fn config(&self) -> serde_json::Value {
        json!({"Entrypoint": self.entrypoint, "Cmd": self.command, "Env": ["PATH=/bin:/usr/local/bin:/"], "WorkingDir": "/"})
    }

    /// All its files; nothing where a binary is not to be had.
    fn layer(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(busybox) = binary(BUSYBOX) else { return Ok(None) };
        let mut layer = tar::Builder::new(Vec::new());
        for (directory, mode) in [("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777), ("root/", 0o700), ("www/", 0o755)]
        {
            append(&mut layer, directory, b"", mode)?;
        }
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
        append(&mut layer, "etc/passwd", passwd, 0o644)?;
        append(&mut layer, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644)?;
        append(&mut layer, "bin/busybox", &fs::read(&busybox)?, 0o755)?;
        let applets = Command::new(&busybox).arg("--list").output().context("busybox --list")?;
        for applet in String::from_utf8(applets.stdout)?.lines().filter(|applet| *applet != "busybox") {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Link);
            header.set_size(0);
            header.set_mode(0o755);
            layer.append_link(&mut header, format!("bin/{applet}"), "bin/busybox")?;
        }
        if let Some((variable, path)) = self.binary {
            let Some(binary) = binary(variable) else { return Ok(None) };
            layer.append_file(path, &mut File::open(&binary).with_context(|| binary.display().to_string())?)?;
        }
        if let Some((path, content)) = self.page {
            append(&mut layer, &format!("www/{path}"), content.as_bytes(), 0o644)?;
        }
        Ok(Some(layer.into_inner()?))
    }
}

fn binary(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from)
}

fn append(layer: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_entry_type(if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
    Ok(layer.append_data(&mut header, path, content)?)
}
