//! Errors show the line they are about, and what led to it.

use std::rc::Rc;

use coracle_helm::{Excerpt, Flavour, NoCluster, Warnings, load, on_deep_stack, template, values::options::Options};
use expect_test::{Expect, expect};

use crate::{file, golden::Fixed, request};

/// The line shown for what is wrong with a chart of these files.
fn shown(files: &[(&str, &str)]) -> Option<Excerpt> {
    let chart = ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    let files: Vec<(String, String)> =
        [chart].iter().chain(files).map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    on_deep_stack(move || {
        let files = files.iter().map(|(name, text)| file(name, text)).collect();
        let mut warnings = Warnings::default();
        let chart = match load::files(files, Flavour::Helm4, &mut warnings) {
            Ok(chart) => chart,
            Err(error) => return error.excerpt(),
        };
        let request = request(Rc::default(), Flavour::Helm4);
        template(&chart, &request, &mut Fixed(NoCluster), &mut warnings).expect_err("a wrong chart").excerpt()
    })
}

fn check(files: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&shown(files).map_or_else(|| "nothing is shown".to_owned(), |excerpt| excerpt.to_string()));
}

#[test]
fn a_template_that_fails_is_shown_with_what_called_it() {
    check(
        &[
            ("templates/_h.tpl", "{{ define \"name\" }}\n  {{ .Values.a.b }}\n{{ end }}"),
            ("templates/a.yaml", "a: 1\nb: {{ include \"name\" . }}\n"),
        ],
        expect![[r#"
            web/templates/_h.tpl:2:12
              |   {{ .Values.a.b }}
              included from web/templates/a.yaml:2:6"#]],
    );
}

#[test]
fn a_text_that_is_no_template_is_shown() {
    check(
        &[("templates/a.yaml", "a: 1\nb: {{ nothing }}\n")],
        expect![[r#"
            web/templates/a.yaml:2
              | b: {{ nothing }}"#]],
    );
}

#[test]
fn a_rendered_line_that_is_no_yaml_is_shown() {
    check(
        &[("templates/a.yaml", "a: b: {{ 1 }}\n")],
        expect![[r#"
            web/templates/a.yaml:1
              | a: b: 1"#]],
    );
}

#[test]
fn a_line_of_values_that_is_no_yaml_is_shown() {
    check(
        &[("values.yaml", "a: 1\nb: c: d\n")],
        expect![[r#"
            values.yaml:2
              | b: c: d"#]],
    );
    let options = Options { files: vec![("v.yaml".to_owned(), "x: [\n".to_owned())], ..Options::default() };
    let merged = options.merge(Flavour::Helm4, &mut |_| Err(String::new()));
    let error = merged.err().expect("no YAML");
    expect![[r#"
        v.yaml:1
          | x: ["#]]
    .assert_eq(&error.excerpt.map_or_else(String::new, |excerpt| excerpt.to_string()));
}
