//! Small unit-test files of our own.

use std::collections::BTreeMap;

use coracle_promql::parser::Options;
use coracle_rules::{
    Files, file,
    unit_test::{Settings, run},
};
use expect_test::{Expect, expect};

#[derive(Default)]
struct Memory(BTreeMap<&'static str, &'static str>);

impl Files for Memory {
    fn read(&self, path: &str) -> Result<String, String> {
        self.0.get(path).map(|text| (*text).to_owned()).ok_or_else(|| format!("open {path}: no such file or directory"))
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        self.0.contains_key(pattern).then(|| pattern.to_owned()).into_iter().collect()
    }
}

fn check(rules: &'static str, test: &'static str, expected: Expect) {
    let files = Memory(BTreeMap::from([("rules.yml", rules), ("test.yml", test)]));
    let report = run(&files, "test.yml", Settings::default());
    let all = report.warnings.iter().chain(&report.failures);
    let lines: String = all.map(|line| format!("{line}\n")).collect();
    expected.assert_eq(&format!("failures:\n{lines}"));
}

const DOWN: &str = r#"
groups:
  - name: alerts
    rules:
      - alert: Down
        expr: up == 0
        for: 2m
        keep_firing_for: 3m
        labels:
          severity: page
        annotations:
          summary: '{{ $labels.instance | toUpper }} is down, {{ $value | humanize }}'
      - record: job:up:sum
        expr: sum by (job) (up)
"#;

#[test]
fn an_alert_waits_fires_and_lingers() {
    check(
        DOWN,
        r#"
rule_files: [rules.yml]
tests:
  - interval: 1m
    input_series:
      - series: up{job="a", instance="one"}
        values: 1 0x4 1x10
    alert_rule_test:
      - {eval_time: 2m, alertname: Down, exp_alerts: []}
      - eval_time: 3m
        alertname: Down
        exp_alerts:
          - exp_labels: {severity: page, job: a, instance: one}
            exp_annotations: {summary: 'ONE is down, 0'}
      - eval_time: 8m
        alertname: Down
        exp_alerts:
          - exp_labels: {severity: page, job: a, instance: one}
            exp_annotations: {summary: 'ONE is down, 0'}
      - {eval_time: 9m, alertname: Down, exp_alerts: []}
    promql_expr_test:
      - expr: ALERTS
        eval_time: 2m
        exp_samples:
          - {labels: 'ALERTS{alertname="Down", alertstate="pending", instance="one", job="a", severity="page"}', value: 1}
      - expr: ALERTS
        eval_time: 3m
        exp_samples:
          - {labels: 'ALERTS{alertname="Down", alertstate="firing", instance="one", job="a", severity="page"}', value: 1}
      - {expr: 'job:up:sum', eval_time: 1m, exp_samples: [{labels: 'job:up:sum{job="a"}', value: 0}]}
"#,
        expect![[r#"
            failures:
        "#]],
    );
}

#[test]
fn differences_are_shown_as_promtool_shows_them() {
    check(
        DOWN,
        r#"
rule_files: [rules.yml]
tests:
  - name: wrong
    input_series: [{series: 'up{job="a"}', values: '0x10'}]
    alert_rule_test: [{eval_time: 5m, alertname: Down, exp_alerts: []}]
    promql_expr_test: [{expr: up, eval_time: 1m, exp_samples: [{labels: 'up{job="b"}', value: 1.5}]}]
"#,
        expect![[r#"
            failures:
                name: wrong,
                alertname: Down, time: 5m, 
                    exp:[], 
                    got:[
                        0:
                          Labels:{alertname="Down", job="a", severity="page"}
                          Annotations:{summary=" is down, 0"}
                        ]
                expr: "up", time: 1m,
                    exp: {__name__="up", job="b"} 1.5E+00
                    got: {__name__="up", job="a"} 0E+00
        "#]],
    );
}

fn check_file(text: &str, expected: Expect) {
    let shown = match file::parse(text, Options::default(), false) {
        Ok(groups) => format!("{} rules\n", groups.iter().map(|group| group.rules.len()).sum::<usize>()),
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn mistakes_in_rule_files_are_all_told() {
    check_file(DOWN, expect!["2 rules\n"]);
    check_file(
        "groups:\n- name: g\n  rules:\n  - record: a\n    expr: sum(\n  - alert: b\n    record: c\n    expr: up\n  - alert: d\n    \
         expr: up\n    annotations: {x: '{{ $nothing }}'}\n",
        expect![[r#"
            5:11: group "g", rule 1, "a": could not parse expression: 1:5: parse error: unclosed left parenthesis
            7:13: 6:12: group "g", rule 2, "b": only one of 'record' and 'alert' must be set
            group "g", rule 3, "d": annotation "x": template: __alert_d:1: undefined variable "$nothing"
        "#]],
    );
}
