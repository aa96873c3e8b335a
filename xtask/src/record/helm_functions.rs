//! Each line of `tests/golden/cases` in the functions' room is a template. A chart with all of them is rendered by the
//! real tool; a template that fails is taken out with its error and the rest is rendered again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/delivery/sprig/tests/golden");

pub fn run() -> anyhow::Result<()> {
    let helm = std::env::var_os("HELM").map(PathBuf::from);
    let helm3 = std::env::var_os("HELM3").map(PathBuf::from);
    let helm = helm.context("name the real Helm 4 by HELM")?;
    let templates = read_cases()?;
    let four = record(&helm, &templates, |_| true)?;
    let three = match &helm3 {
        Some(helm3) => Some(record(helm3, &templates, |(file, _)| file != "helm4")?),
        None => None,
    };
    let mut lines = String::new();
    for (index, (_, template)) in templates.iter().enumerate() {
        let mut case = json!({ "template": template, "helm4": four[index] });
        if let Some(other) = three.as_ref().map(|three| &three[index]).filter(|other| **other != four[index]) {
            case["helm3"] = other.clone();
        }
        lines.push_str(&format!("{case}\n"));
    }
    fs::write(Path::new(GOLDEN).join("recorded.jsonl"), lines)?;
    println!("recorded {} templates", templates.len());
    Ok(())
}

/// The templates, each with the name of its file.
fn read_cases() -> anyhow::Result<Vec<(String, String)>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(Path::new(GOLDEN).join("cases"))?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file)?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        cases.extend(lines.map(|line| (name.clone(), line.to_owned())));
    }
    Ok(cases)
}

/// What a Helm makes of each template: `{"output": …}`, `{"error": …}`, or null for one that is not for it.
fn record(
    helm: &Path,
    templates: &[(String, String)],
    is_for: impl Fn(&(String, String)) -> bool,
) -> anyhow::Result<Vec<Value>> {
    let chart = tempfile::tempdir()?;
    let folder = chart.path().join("golden/templates");
    fs::create_dir_all(&folder)?;
    fs::write(chart.path().join("golden/Chart.yaml"), "apiVersion: v2\nname: golden\nversion: 1.0.0\n")?;
    fs::copy(Path::new(GOLDEN).join("values.yaml"), chart.path().join("golden/values.yaml"))?;
    for (index, (_, template)) in templates.iter().enumerate().filter(|(_, case)| is_for(case)) {
        let text = format!(
            "{{{{- define \"case.{index}\" -}}}}{template}{{{{- end -}}}}\nindex: {index}\noutput: {{{{ include \"case.{index}\" . | toJson }}}}\n"
        );
        fs::write(folder.join(format!("{index}.yaml")), text)?;
    }
    let mut recorded = vec![Value::Null; templates.len()];
    loop {
        let output = Command::new(helm).args(["template", "golden"]).arg(chart.path().join("golden")).output()?;
        if output.status.success() {
            read_outputs(&String::from_utf8_lossy(&output.stdout), &mut recorded)?;
            return Ok(recorded);
        }
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let failed = failed_template(&error).with_context(|| format!("an error that names no template: {error}"))?;
        recorded[failed] = json!({ "error": last_cause(&error) });
        fs::remove_file(folder.join(format!("{failed}.yaml")))?;
    }
}

/// The number of the template an error speaks of.
fn failed_template(error: &str) -> Option<usize> {
    let (_, rest) = error.split_once("golden/templates/")?;
    rest.split_once(".yaml")?.0.parse().ok()
}

/// What the innermost function said.
fn last_cause(error: &str) -> &str {
    let line = error.trim().lines().next().unwrap_or_default();
    line.rsplit_once("error calling ").map_or(line, |(_, cause)| cause)
}

fn read_outputs(rendered: &str, recorded: &mut [Value]) -> anyhow::Result<()> {
    for document in rendered.split("---\n") {
        let field = |name: &str| document.lines().find_map(|line| line.strip_prefix(name));
        let (Some(index), Some(output)) = (field("index: "), field("output: ")) else { continue };
        let index: usize = index.parse()?;
        ensure!(index < recorded.len(), "an output of no template");
        recorded[index] = json!({ "output": serde_json::from_str::<Value>(output)? });
    }
    Ok(())
}
