//! Each `cases/NAME.txt` is a chart and the flags it is rendered with; `NAME.helm4` and `NAME.helm3` hold what Helm 4.3.1
//! and Helm 3.22.0 printed, or the error they ended with.
//!
//! Where `HELM4` and `HELM3` name the real programs, the recordings are made anew and must be what is there already.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use coracle_helm::{
    Capabilities, Flavour, KubeVersion, Lookup, NoCluster, Release, Request, Shown, Warnings, World, load,
    on_deep_stack, template, values::options::Options,
};

pub struct Fixed(pub NoCluster);

impl World for Fixed {
    fn now(&mut self) -> (i64, u32) {
        (1_700_000_000, 0)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }

    fn lookup(&mut self) -> &mut dyn Lookup {
        &mut self.0
    }
}

struct Case {
    name: String,
    arguments: Vec<String>,
    files: BTreeMap<String, String>,
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases")
}

fn read(path: &Path) -> Case {
    let text = fs::read_to_string(path).expect("a case");
    let (arguments, rest) = text.split_once('\n').expect("a line of arguments");
    let mut files = BTreeMap::new();
    let mut current = None;
    for line in rest.split_inclusive('\n') {
        match line.strip_prefix("-- ").and_then(|line| line.trim_end().strip_suffix(" --")) {
            Some(name) => {
                files.insert(name.to_owned(), String::new());
                current = Some(name.to_owned());
            }
            None => {
                let name = current.as_ref().expect("a file's name comes first");
                files.get_mut(name).expect("just made").push_str(line);
            }
        }
    }
    Case {
        name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
        arguments: arguments.trim_start_matches("args:").split_whitespace().map(str::to_owned).collect(),
        files,
    }
}

fn write(case: &Case, dir: &Path) {
    for (name, content) in &case.files {
        let path = dir.join("web").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, content).expect("a file");
    }
}

/// What the real program says.
fn real(program: &str, case: &Case, dir: &Path) -> String {
    let mut command = Command::new(program);
    command.args(["template", "rel", "web"]).current_dir(dir);
    if !case.arguments.iter().any(|argument| argument == "--kube-version") {
        command.args(["--kube-version", "1.37.0"]);
    }
    for (index, argument) in case.arguments.iter().enumerate() {
        let names_a_file = index > 0 && case.arguments[index - 1] == "-f";
        command.arg(if names_a_file { format!("web/{argument}") } else { argument.clone() });
    }
    let output = command.output().expect("the real program");
    if output.status.success() {
        return String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let start = text.find("Error: ").unwrap_or(0);
    without_place(&text[start..], dir)
}

/// The same wherever the chart was put.
fn without_place(text: &str, dir: &Path) -> String {
    text.replace(&dir.display().to_string(), "DIR")
}

/// What is wrong with a YAML text is told in words of our own; that something is, and in which file, must be the same.
fn without_yaml_details(text: &str) -> String {
    let mark = "error converting YAML to JSON: yaml:";
    text.find(mark).map_or_else(|| text.to_owned(), |at| text[..at + mark.len()].to_owned())
}

/// What we say.
fn ours(case: &Case, dir: &Path, flavour: Flavour) -> String {
    match render(case, dir, flavour) {
        Ok(text) => text,
        Err(message) => without_place(&format!("Error: {message}\n"), dir),
    }
}

fn render(case: &Case, dir: &Path, flavour: Flavour) -> Result<String, String> {
    let mut options = Options::default();
    let mut shown = Shown::default();
    let mut only = Vec::new();
    let mut capabilities = Capabilities::default_of(flavour);
    capabilities.kube_version = KubeVersion::parse("1.37.0")?;
    let mut release =
        Release { name: "rel".to_owned(), namespace: "default".to_owned(), is_upgrade: false, revision: 1 };
    let mut skip_schema = false;
    let mut arguments = case.arguments.iter();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().expect("a value").clone();
        match flag.as_str() {
            "--set" => options.set.push(value()),
            "--set-string" => options.strings.push(value()),
            "--set-json" => options.json.push(value()),
            "--set-literal" => options.literals.push(value()),
            "-f" => {
                let name = value();
                let text = fs::read_to_string(dir.join("web").join(&name)).expect("a values file");
                options.files.push((format!("web/{name}"), text));
            }
            "--kube-version" => {
                let version = value();
                capabilities.kube_version = KubeVersion::parse(&version)
                    .map_err(|error| format!("invalid kube version '{version}': {error}"))?;
            }
            "--api-versions" => capabilities.api_versions.push(value()),
            "--namespace" => release.namespace = value(),
            "--show-only" => only.push(value()),
            "--is-upgrade" => release.is_upgrade = true,
            "--include-crds" => shown.crds = true,
            "--skip-tests" => shown.no_tests = true,
            "--no-hooks" => shown.no_hooks = true,
            "--skip-schema-validation" => skip_schema = true,
            other => panic!("{other}: the cases know no such flag"),
        }
    }
    let values =
        options.merge(flavour, &mut |path| Err(format!("{path}: no files here"))).map_err(|error| error.to_string())?;
    let mut warnings = Warnings::default();
    let chart = load(&dir.join("web"), flavour, &mut warnings).map_err(|error| error.to_string())?;
    let request = Request { release, values, capabilities, flavour, skip_schema };
    let output = template(&chart, &request, &mut Fixed(NoCluster), &mut warnings).map_err(|error| {
        let hint = if error.came_from_rendering() { "\n\nUse --debug flag to render out invalid YAML" } else { "" };
        format!("{error}{hint}")
    })?;
    if only.is_empty() { Ok(output.text(shown)) } else { output.only(shown, &only, flavour) }
}

fn check(flavour: Flavour, extension: &str, variable: &str) {
    let program = std::env::var(variable).ok();
    if program.is_none() {
        println!("{variable} does not name the real program: the recordings are taken as they are");
    }
    let mut paths: Vec<PathBuf> = fs::read_dir(cases())
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    let mut wrong = Vec::new();
    for path in &paths {
        let case = read(path);
        let dir = tempfile::tempdir().expect("a directory");
        write(&case, dir.path());
        let golden = path.with_extension(extension);
        if let Some(program) = &program {
            let said = real(program, &case, dir.path());
            if fs::read_to_string(&golden).ok().as_ref() != Some(&said) {
                fs::write(&golden, said).expect("a recording");
                wrong.push(format!("{}: recorded anew", case.name));
            }
        }
        let want = fs::read_to_string(&golden).unwrap_or_default();
        let got = on_deep_stack(|| ours(&case, dir.path(), flavour));
        if without_yaml_details(&want) != without_yaml_details(&got) {
            wrong.push(format!("{}:\n--- want\n{want}--- got\n{got}", case.name));
        }
    }
    assert!(paths.len() > 60, "only {} cases", paths.len());
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), paths.len(), wrong.join("\n"));
}

/// The functions that Go's templates bring along and those that need a chart; the others are `coracle-sprig`'s.
#[test]
fn every_function_is_in_a_case() {
    let text: String = fs::read_dir(cases())
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| fs::read_to_string(path).expect("a case"))
        .collect();
    let words: BTreeSet<&str> = text.split(|char: char| !char.is_ascii_alphanumeric()).collect();
    let functions = "and call html index slice js len not or print printf println urlquery eq ge gt le lt ne include tpl \
                     required fail lookup getHostByName";
    let missing: Vec<&str> = functions.split_whitespace().filter(|name| !words.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn charts_render_as_helm_4_renders_them() {
    check(Flavour::Helm4, "helm4", "HELM4");
}

#[test]
fn charts_render_as_helm_3_renders_them() {
    check(Flavour::Helm3, "helm3", "HELM3");
}
