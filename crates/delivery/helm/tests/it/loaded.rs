//! A chart that is loaded once and rendered often.

use std::rc::Rc;

use coracle_gotemplate::{Dict, DictType, Value};
use coracle_helm::{
    Capabilities, Chart, File, Flavour, NoCluster, Release, Request, Warnings, load, on_deep_stack, template,
};

use crate::golden::Fixed;

fn chart() -> Chart {
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, condition: db.on}]\n"),
        ("values.yaml", "n: 0\n"),
        ("templates/_a.tpl", "{{ define \"a\" }}{{ .Values.n }}{{ end }}"),
        ("templates/a.yaml", "a: {{ include \"a\" . }}\n"),
        ("templates/b.yaml", "b: {{ duration \"90\" }}\n"),
        ("charts/db/Chart.yaml", "apiVersion: v2\nname: db\nversion: 1.0.0\n"),
        ("charts/db/templates/c.yaml", "c: 1\n"),
    ];
    let files = files.map(|(name, text)| File { name: name.to_owned(), data: text.as_bytes().into() });
    load::files(files.into(), Flavour::Helm4, &mut Warnings::default()).expect("a chart")
}

fn render(chart: &Chart, n: i64, with_db: bool, flavour: Flavour) -> String {
    let table = |entries: Vec<(&str, Value)>| Rc::new(Dict::from_entries(DictType::Any, entries));
    let db = Value::Dict(table(vec![("on", Value::Bool(with_db))]));
    let request = Request {
        release: Release { name: "r".to_owned(), namespace: "n".to_owned(), is_upgrade: false, revision: 1 },
        values: table(vec![("n", Value::Int(n)), ("db", db)]),
        capabilities: Capabilities::default_of(flavour),
        flavour,
        skip_schema: false,
    };
    let output = template(chart, &request, &mut Fixed(NoCluster), &mut Warnings::default()).expect("a render");
    output.text(Default::default())
}

#[test]
fn a_thousand_renders_with_different_values_parse_once() {
    on_deep_stack(|| {
        let chart = chart();
        for n in 0..1000 {
            let text = render(&chart, n, n % 2 == 0, Flavour::Helm4);
            assert!(text.contains(&format!("a: {n}\n")), "{text}");
            assert_eq!(text.contains("c: 1"), n % 2 == 0, "{text}");
        }
        assert_eq!(chart.templates_parsed(), 4);
        render(&chart, 0, true, Flavour::Helm3);
        assert_eq!(chart.templates_parsed(), 8, "the other Helm has other functions");
    });
}
