//! Kustomizations as a whole: `tests/cases` holds trees whose `expected.yaml` was written by `kubectl kustomize`,
//! `tests/golden` smaller ones recorded from kustomize itself, and the errors below are what a person would read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod golden;
mod refusals;

use std::path::{Path, PathBuf};

use coracle_kustomize::{Files, MemoryFiles, Options, build};
use expect_test::{Expect, expect};

struct Disk(PathBuf);

impl Files for Disk {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(path)).ok()
    }

    fn is_directory(&self, path: &str) -> bool {
        self.0.join(path).is_dir()
    }
}

fn cases(root: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            cases(root, &path, found);
        } else if path.ends_with("expected.yaml") {
            let relative = path.parent().unwrap().strip_prefix(root).unwrap();
            found.push(relative.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn builds_are_byte_for_byte_those_of_the_original() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut found = Vec::new();
    cases(&root, &root, &mut found);
    found.sort();
    assert!(found.len() >= 15, "the recorded cases are missing: {found:?}");
    for case in found {
        let expected = std::fs::read_to_string(root.join(&case).join("expected.yaml")).unwrap();
        let built =
            build(&Disk(root.clone()), &case, &Options::default()).unwrap_or_else(|error| panic!("{case}: {error}"));
        let built = built.to_yaml();
        let difference =
            built.lines().zip(expected.lines()).enumerate().find(|(_, (built, expected))| built != expected);
        assert!(built == expected, "{case} differs, first at (line, (built, expected)) {difference:?}");
    }
}

/// Files after lines of the form `-- path --`.
fn check_error(text: &str, expected: Expect) {
    let mut files = MemoryFiles::default();
    for part in text.split("-- ").skip(1) {
        let (path, content) = part.split_once(" --\n").unwrap();
        files.insert(path, content);
    }
    let error = build(&files, ".", &Options::default()).expect_err("the tree is broken on purpose");
    expected.assert_eq(&error.to_string());
}

const SERVICE: &str = "-- s.yaml --\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n";

#[test]
fn errors_say_where_and_what_was_expected() {
    check_error(
        "-- a.txt --\n",
        expect![".: no kustomization file here; expected one of kustomization.yaml, kustomization.yml, Kustomization"],
    );
    check_error("-- kustomization.yaml --\n", expect!["kustomization.yaml: the kustomization is empty"]);
    check_error(
        "-- kustomization.yaml --\nresources:\n- a\n  b: [\n",
        expect![[r#"
            kustomization.yaml:3:4: this is not YAML: mapping values are not allowed in this context
              |   b: ["#]],
    );
    check_error(
        "-- kustomization.yaml --\nresouces: [s.yaml]\n",
        expect![[r#"
            kustomization.yaml:1:1: unknown field "resouces"; did you mean "resources"?
              | resouces: [s.yaml]"#]],
    );
    check_error(
        "-- kustomization.yaml --\nresources: [nope.yaml]\n",
        expect![[r#"
            kustomization.yaml:1:13: there is no file or directory "nope.yaml"
              | resources: [nope.yaml]"#]],
    );
    check_error(
        "-- kustomization.yaml --\nresources: [../up.yaml]\n",
        expect![[r#"
            kustomization.yaml:1:13: "../up.yaml" leads outside the tree
              | resources: [../up.yaml]"#]],
    );
    check_error(
        "-- kustomization.yaml --\nresources:\n- https://example.com/x\n",
        expect![[r#"
            kustomization.yaml:2:3: "https://example.com/x" is remote, and nothing is fetched here
              | - https://example.com/x"#]],
    );
    check_error(
        "-- kustomization.yaml --\nreplacements: [{}]\n",
        expect![[r#"
        kustomization.yaml:1:16: a replacement needs a source and at least one target
          | replacements: [{}]"#]],
    );
    check_error(
        "-- kustomization.yaml --\nresources: [a.yaml, b.yaml, s.yaml]\n",
        expect![[r#"
        kustomization.yaml:1:13: there is no file or directory "a.yaml"
          | resources: [a.yaml, b.yaml, s.yaml]
        kustomization.yaml:1:21: there is no file or directory "b.yaml"
          | resources: [a.yaml, b.yaml, s.yaml]
        kustomization.yaml:1:29: there is no file or directory "s.yaml"
          | resources: [a.yaml, b.yaml, s.yaml]"#]],
    );
    check_error(
        "-- kustomization.yaml --\nhelmCharts: [{name: x}]\n",
        expect![[r#"
        kustomization.yaml:1:14: Helm charts are not rendered unless that is asked for (--enable-helm)
          | helmCharts: [{name: x}]"#]],
    );
    check_error(
        "-- kustomization.yaml --\ntransformers:\n- |-\n  apiVersion: x.io/v1\n  kind: Y\n  metadata: {name: z}\n",
        expect![[r#"
            kustomization.yaml:3:1: Y (x.io/v1) is a plugin that would run a program or a container, which is not done here; only built-in ones (apiVersion: builtin) are
              |   apiVersion: x.io/v1"#]],
    );
    check_error(
        "-- kustomization.yaml --\nresources: [s.yaml]\n-- s.yaml --\nkind: Service\n",
        expect![[r#"
            s.yaml:1:1: the Service has no metadata.name
              | kind: Service"#]],
    );
    check_error(
        &format!(
            "-- kustomization.yaml --\nresources: [s.yaml, t.yaml]\n{SERVICE}{}",
            SERVICE.replace("s.yaml", "t.yaml")
        ),
        expect![[r#"
            t.yaml:1:1: Service web is defined twice; the other one is at line 1 of its file
              | apiVersion: v1"#]],
    );
    check_error(
        &format!("-- kustomization.yaml --\nresources: [s.yaml]\nreplicas: [{{name: web, count: 2}}]\n{SERVICE}"),
        expect![[r#"
            kustomization.yaml:2:12: replicas: there is no workload called "web"
              | replicas: [{name: web, count: 2}]"#]],
    );
    check_error(
        "-- kustomization.yaml --\nconfigMapGenerator:\n- name: c\n  files: [a.txt]\n",
        expect![[r#"
            kustomization.yaml:3:11: there is no file "a.txt"
              |   files: [a.txt]"#]],
    );
}

#[test]
fn errors_in_patches_point_into_the_patch() {
    let with = |patch: &str| format!("-- kustomization.yaml --\nresources: [s.yaml]\npatches:\n{patch}{SERVICE}");
    check_error(
        &with("- patch: |-\n    apiVersion: v1\n    kind: Service\n    metadata: {name: wob}\n"),
        expect![[r#"
            kustomization.yaml:4:1: nothing to patch: there is no Service wob; there is Service web
              |     apiVersion: v1"#]],
    );
    check_error(
        &with("- target: {kind: Service}\n  patch: |-\n    - op: replace\n      path: /spec/ports\n      value: []\n"),
        expect![[r#"
            kustomization.yaml:5:3: replace /spec/ports: there is no "spec" on the way to it
              |     - op: replace"#]],
    );
    check_error(
        &with("- patch: |-\n    - op: ad\n      path: /x\n  target: {}\n"),
        expect![[r#"
            kustomization.yaml:4:3: ad /x: expected add, remove, replace, move, copy or test, found "ad"
              |     - op: ad"#]],
    );
    check_error(
        &with(
            "- patch: |-\n    apiVersion: v1\n    kind: Service\n    metadata:\n      name: web\n      $patch: drop\n",
        ),
        expect![[r#"
            kustomization.yaml:8:11: metadata.$patch: expected merge, replace or delete, found the string "drop"
              |       $patch: drop"#]],
    );
}

#[test]
fn errors_name_the_kustomizations_that_led_there() {
    check_error(
        "-- kustomization.yaml --\nresources: [a]\n-- a/kustomization.yaml --\nresources: [b]\n-- a/b/kustomization.yaml --\nnope: 1\n",
        expect![[r#"
            a/b/kustomization.yaml:1:1: unknown field "nope"; expected one of kind, apiVersion, metadata, resources, bases, components, crds, configurations, generators, transformers, validators, generatorOptions, configMapGenerator, secretGenerator, helmGlobals, helmCharts, helmChartInflationGenerator, namespace, namePrefix, nameSuffix, commonLabels, labels, commonAnnotations, images, imageTags, patchesJson6902, patchesStrategicMerge, patches, replicas, replacements, vars, openapi, sortOptions, buildMetadata
              | nope: 1
              included from a/kustomization.yaml
              included from kustomization.yaml"#]],
    );
    check_error(
        "-- kustomization.yaml --\nresources: [a]\n-- a/kustomization.yaml --\nresources: [..]\n",
        expect![[r#"
            a/kustomization.yaml:1:13: a circle: "." holds a kustomization that led here
              | resources: [..]
              included from kustomization.yaml"#]],
    );
}
