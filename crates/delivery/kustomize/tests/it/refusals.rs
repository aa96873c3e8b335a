//! Trees that are too large, too deep or broken are refused with a word, and nothing panics.

use coracle_kustomize::{MemoryFiles, Options, build};
use proptest::prelude::*;

fn error(files: &MemoryFiles) -> String {
    build(files, ".", &Options::default()).expect_err("the tree is to be refused").message
}

#[test]
fn limits_are_named() {
    let mut deep = MemoryFiles::default();
    let mut path = String::new();
    for _ in 0..80 {
        deep.insert(&format!("{path}kustomization.yaml"), "resources: [a]\n");
        path.push_str("a/");
    }
    deep.insert(&format!("{path}kustomization.yaml"), "namespace: x\n");
    assert_eq!(error(&deep), "kustomizations include each other more than 64 levels deep");

    let nested = format!("a: {}1{}\n", "[".repeat(300), "]".repeat(300));
    let files = MemoryFiles::from_iter([("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", nested.as_str())]);
    assert_eq!(error(&files), "this is not YAML: recursion limit exceeded");

    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &(b'b'..b'j')
            .map(|name| {
                let (name, before) = (name as char, (name - 1) as char);
                format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(", "))
            })
            .collect::<String>();
    let files = MemoryFiles::from_iter([("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", bomb.as_str())]);
    assert_eq!(error(&files), "this is not YAML: aliases expand to more than 100000 nodes");
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,3}",
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[{}]".to_owned()),
        Just("[a.yaml]".to_owned()),
        Just("{a: b}".to_owned()),
        Just("[{name: a, path: a.yaml, target: {kind: .*}}]".to_owned()),
        Just(
            "[{source: {kind: Pod}, targets: [{select: {kind: Pod}, fieldPaths: [spec.containers.*.image]}]}]"
                .to_owned()
        ),
        Just("[{name: x, objref: {kind: Pod, name: a, apiVersion: v1}}]".to_owned()),
        "\\PC{0,12}",
    ]
}

const FIELDS: [&str; 24] = [
    "resources",
    "bases",
    "components",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "configMapGenerator",
    "secretGenerator",
    "images",
    "replicas",
    "namespace",
    "namePrefix",
    "labels",
    "commonLabels",
    "replacements",
    "vars",
    "configurations",
    "crds",
    "openapi",
    "helmCharts",
    "generators",
    "transformers",
    "sortOptions",
    "buildMetadata",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_panics(
        fields in prop::collection::btree_map(prop::sample::select(FIELDS.to_vec()), word(), 0..6),
        content in "(apiVersion: v1\nkind: (Pod|List|X)\n)?(metadata: \\{name: a\\}\n)?(items|spec): \\PC{0,30}\n",
    ) {
        let kustomization: String = fields.iter().map(|(field, value)| format!("{field}: {value}\n")).collect();
        let files = MemoryFiles::from_iter([
            ("kustomization.yaml", kustomization.as_str()),
            ("a.yaml", content.as_str()),
        ]);
        let _ = build(&files, ".", &Options::default()).map(|documents| documents.to_yaml());
    }

    #[test]
    fn the_same_tree_gives_the_same_text(prefix in "[a-z]{1,4}-", value in "\\PC{0,40}") {
        let quoted = serde_json::to_string(&value).unwrap();
        let kustomization =
            format!("namePrefix: {prefix}\nconfigMapGenerator:\n- name: c\n  literals:\n  - {}\n", serde_json::to_string(&format!("k={value}")).unwrap());
        let files = MemoryFiles::from_iter([("kustomization.yaml", kustomization.as_str())]);
        let once = build(&files, ".", &Options::default());
        prop_assume!(once.is_ok());
        let once = once.unwrap().to_yaml();
        prop_assert_eq!(&once, &build(&files, ".", &Options::default()).unwrap().to_yaml());
        prop_assert!(!quoted.is_empty());
    }
}
