//! Charts and flags that mean harm end with an error, in bounded time and memory.

use std::rc::Rc;

use coracle_helm::{File, Flavour, NoCluster, Warnings, load, on_deep_stack, template, values::set};
use proptest::prelude::*;

use crate::{file, golden::Fixed, request};

fn render(template_text: &str) -> Result<String, String> {
    render_files(vec![
        file("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        file("values.yaml", "a: 1\nlist: [1, 2]\n"),
        file("templates/a.yaml", template_text),
    ])
}

fn render_files(files: Vec<File>) -> Result<String, String> {
    on_deep_stack(move || {
        let mut warnings = Warnings::default();
        let chart = load::files(files, Flavour::Helm4, &mut warnings).map_err(|error| error.to_string())?;
        let output = template(&chart, &request(Rc::default(), Flavour::Helm4), &mut Fixed(NoCluster), &mut warnings);
        output.map(|output| output.text(Default::default())).map_err(|error| error.to_string())
    })
}

#[test]
fn recursion_through_many_names_ends() {
    let mut text = String::new();
    for index in 0..20 {
        let next = (index + 1) % 20;
        text.push_str(&format!("{{{{ define \"n{index}\" }}}}{{{{ include \"n{next}\" . }}}}{{{{ end }}}}"));
    }
    text.push_str("{{ include \"n0\" . }}");
    let error = render(&text).expect_err("endless");
    assert!(error.contains("nested reference name") || error.contains("maximum template depth"), "{}", &error[..200]);
}

#[test]
fn recursion_through_texts_ends() {
    let error = render("{{ define \"t\" }}{{ tpl \"{{ include \\\"t\\\" . }}\" . }}{{ end }}{{ include \"t\" . }}")
        .expect_err("endless");
    assert!(error.contains("nested reference name") || error.contains("maximum template depth"));
}

/// Functions that walk through values, given one that holds itself, one that is nested too deep, and one that comes
/// to 2^60 lists.
#[test]
fn values_without_end_are_refused() {
    let makings = [
        "{{ $x := dict }}{{ $_ := set $x \"self\" $x }}",
        "{{ $x := list }}{{ range until 20000 }}{{ $x = list $x }}{{ end }}",
        "{{ $x := list }}{{ range until 60 }}{{ $x = list $x $x }}{{ end }}",
    ];
    let uses = [
        "toJson $x | len",
        "toPrettyJson $x | len",
        "toYaml $x | len",
        "toYamlPretty $x | len",
        "toToml $x | len",
        "deepCopy $x",
        "deepEqual (list $x 1) (list $x 2)",
        "has $x (list $x 1)",
        "without (list $x) $x",
        "uniq (list $x $x)",
        "merge (dict \"a\" $x) (dict \"a\" (dict \"b\" $x))",
        "mergeOverwrite (dict) (dict \"a\" $x)",
    ];
    for making in makings {
        for call in uses {
            // A refusal, or an empty text where Go's function would give one: not a crash.
            let _ = render(&format!("{making}a: {{{{ {call} | toString | trunc 9 }}}}"));
        }
    }
    let error = render(&format!("{}{{{{ mustToJson $x }}}}", makings[0])).expect_err("endless");
    assert!(error.contains("holds itself or is nested more than 1000 deep"), "{error}");
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    for schema in [
        r##"{"$ref": "#"}"##,
        r##"{"allOf": [{"$ref": "#/definitions/a"}], "definitions": {"a": {"$ref": "#"}}}"##,
        r##"{"properties": {"a": {"$ref": "#"}}, "additionalProperties": {"$ref": "#"}}"##,
    ] {
        let files = vec![
            file("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
            file("values.yaml", "a: {a: {b: 1}}\n"),
            file("values.schema.json", schema),
        ];
        let _ = render_files(files);
    }
}

#[test]
fn a_chart_within_itself_ends() {
    let mut name = String::new();
    let mut files = vec![file("Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n")];
    for _ in 0..100 {
        name.push_str("charts/c/");
        files.push(file(&format!("{name}Chart.yaml"), "apiVersion: v2\nname: c\nversion: 1.0.0\n"));
    }
    assert!(load::files(files, Flavour::Helm4, &mut Warnings::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_set_flag_is_read_or_refused(text in "[a-c.,=\\[\\]{}0-9\\\\ -]{0,40}") {
        let values = Rc::default();
        let _ = set::typed(&text, &values);
        let _ = set::strings(&text, &values);
        let _ = set::json(&text, &values);
        let _ = set::literal(&text, &values);
    }

    #[test]
    fn any_template_is_rendered_or_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{{-", "-}}", "if", "else", "end", "range", "with", "define", "\"x\"", "include", "tpl",
            ".Values", ".Values.a", ".Values.list", ".Files", ".", "$", "|", "toYaml", "fromYaml", "dict", "list",
            "merge", "set", "1", "until", "repeat", "\n", "---", "a: b", "- x", "kind: K", ":", " ",
        ]), 0..40),
    ) {
        let _ = render(&words.join(" "));
    }
}
