//! A chart that is loaded once and rendered often.

use std::rc::Rc;

use coracle_gotemplate::{Dict, DictType, Value};
use coracle_helm::{Chart, Flavour, Lookup, NoCluster, Warnings, World, load, on_deep_stack, template};

use crate::{file, golden::Fixed, request};

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
    let files = files.map(|(name, text)| file(name, text));
    load::files(files.into(), Flavour::Helm4, &mut Warnings::default()).expect("a chart")
}

fn render(chart: &Chart, n: i64, with_db: bool, flavour: Flavour) -> String {
    let table = |entries: Vec<(&str, Value)>| Rc::new(Dict::from_entries(DictType::Any, entries));
    let db = Value::Dict(table(vec![("on", Value::Bool(with_db))]));
    let request = request(table(vec![("n", Value::Int(n)), ("db", db)]), flavour);
    let output = template(chart, &request, &mut Fixed(NoCluster), &mut Warnings::default()).expect("a render");
    output.text(Default::default())
}

/// A cluster in which everything is this one map.
struct One(Rc<Dict>);

impl Lookup for One {
    fn lookup(&mut self, _: &str, _: &str, _: &str, _: &str) -> Result<Value, String> {
        Ok(Value::Dict(self.0.clone()))
    }
}

impl World for One {
    fn now(&mut self) -> (i64, u32) {
        (0, 0)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }

    fn lookup(&mut self) -> &mut dyn Lookup {
        self
    }
}

#[test]
fn what_templates_put_into_itself_is_given_back() {
    let template_text = "{{ $_ := set .Values \"found\" (lookup \"v1\" \"Pod\" \"a\" \"b\") }}{{ $_ := set .Values \"root\" $ }}\
                         {{ $_ := set . \"self\" . }}a: 1\n";
    let files = [("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"), ("templates/a.yaml", template_text)];
    let files = files.map(|(name, text)| file(name, text));
    let mut warnings = Warnings::default();
    let chart = load::files(files.into(), Flavour::Helm4, &mut warnings).expect("a chart");
    let mut world = One(Rc::default());
    let output =
        template(&chart, &request(Rc::default(), Flavour::Helm4), &mut world, &mut warnings).expect("a render");
    assert_eq!(output.manifests[0].content, "a: 1\n");
    assert_eq!(Rc::strong_count(&world.0), 1);
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
