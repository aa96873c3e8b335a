//! `coracle render` as people call it: output, exit codes, comparisons and progress.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, process::Output};

/// Files in a new directory, and what the binary says of a command line run in it.
fn run(files: &[(&str, &str)], line: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let output = std::process::Command::new(super::binary())
        .arg("render")
        .args(line.split(' '))
        .current_dir(dir.path())
        .output();
    output.unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const CHART: &[(&str, &str)] = &[
    ("web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
    ("web/values.yaml", "colour: blue\n"),
    (
        "web/templates/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  colour: {{ .Values.colour.deep | default .Values.colour }}\n",
    ),
    ("before.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {colour: red}\n"),
    ("k/kustomization.yaml", "resources: [../before.yaml]\nnamePrefix: x-\n"),
    (
        "l/kustomization.yaml",
        "resources: [c.yaml]\nhelmCharts: [{name: web, releaseName: r}]\nhelmGlobals: {chartHome: .}\n",
    ),
    ("l/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"),
    ("l/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
    ("l/web/values.yaml", "a: 1\n"),
    (
        "l/web/templates/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ .Values.a | quote }}}\n",
    ),
];

#[test]
fn a_failing_template_is_told_in_helms_words_with_its_line() {
    let output = run(CHART, "helm r web");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.starts_with("Error: web/templates/a.yaml:5:"), "{said}");
    assert!(said.contains("  |   colour: {{ .Values.colour.deep"), "{said}");
}

#[test]
fn two_renders_are_compared_by_object_and_field() {
    let chart = [
        CHART,
        &[(
            "web/templates/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {colour: {{ .Values.colour }}}\n",
        )],
    ]
    .concat();
    let output = run(&chart, "helm r web --diff before.yaml");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(stdout(&output), "~ ConfigMap a (v1)\n  - data.colour: \"red\"\n  + data.colour: \"blue\"\n");
    let output = run(&chart, "helm r web --set colour=red --diff before.yaml");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_kustomization_with_a_chart_is_built_and_counted() {
    let refused = run(CHART, "kustomize l");
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("l/kustomization.yaml:2:14"), "{}", stderr(&refused));
    let output = run(CHART, "kustomize l --enable-helm=true --progress");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("data:\n  a: \"1\"\n"), "{}", stdout(&output));
    assert_eq!(stderr(&output), "3 files read\n");
}

#[test]
fn what_is_wrong_ends_with_one_as_the_real_tools_do() {
    for line in ["kustomize k", "kustomize --unknown k", "helm --unknown r web", "helm r nowhere", "helm"] {
        let output = run(CHART, line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(stderr(&output).starts_with("Error: "), "{line}: {}", stderr(&output));
    }
}
