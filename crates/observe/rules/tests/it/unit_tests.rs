//! Small unit-test files of our own.

use std::collections::BTreeMap;

use coracle_promql::parser::Options;
use coracle_rules::{
    Files, file, lint,
    report::{Report, junit},
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

fn report(rules: &'static str, test: &'static str, settings: Settings<'_>) -> Report {
    let files = Memory(BTreeMap::from([("rules.yml", rules), ("test.yml", test)]));
    run(&files, "test.yml", settings)
}

fn check_with(settings: Settings<'_>, rules: &'static str, test: &'static str, expected: Expect) {
    let report = report(rules, test, settings);
    let all = report.notes.iter().map(String::as_str).chain(report.failures());
    let lines: String = all.map(|line| format!("{line}\n")).collect();
    expected.assert_eq(&format!("failures:\n{lines}"));
}

fn check(rules: &'static str, test: &'static str, expected: Expect) {
    check_with(Settings::default(), rules, test, expected);
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

/// One test that fails and one that passes.
const TWO: &str = r#"
rule_files: [rules.yml]
tests:
  - name: wrong & loud
    input_series: [{series: 'up{job="a"}', values: '0x10'}]
    alert_rule_test: [{eval_time: 5m, alertname: Down, exp_alerts: [{exp_labels: {job: b}}]}]
  - input_series: [{series: 'up{job="a"}', values: '1 0'}]
    promql_expr_test: [{expr: up, eval_time: 1m, exp_samples: [{labels: 'up{job="a"}', value: 0}]}]
"#;

#[test]
fn differences_of_alerts_can_be_all_that_is_shown() {
    check_with(
        Settings { diff: true, ..Settings::default() },
        DOWN,
        TWO,
        expect![[r#"
            failures:
                name: wrong & loud,
                alertname: Down, time: 5m, 
                    diff: 
                        - Labels:{alertname="Down", job="b"} Annotations:{}
                        + Labels:{alertname="Down", job="a", severity="page"} Annotations:{summary=" is down, 0"}
        "#]],
    );
}

#[test]
fn samples_can_be_shown() {
    check_with(
        Settings { debug: true, run: &["^$".to_owned()], ..Settings::default() },
        DOWN,
        TWO,
        expect![[r#"
            failures:
            DEBUG: Starting test unnamed#1
            DEBUG: Dump of all data (input_series and rules) at 1m1s:
            {__name__="ALERTS", alertname="Down", alertstate="pending", job="a", severity="page"} =>
            1 @[60000]
            {__name__="ALERTS_FOR_STATE", alertname="Down", job="a", severity="page"} =>
            60 @[60000]
            {__name__="job:up:sum", job="a"} =>
            0 @[60000]
            {__name__="up", job="a"} =>
            0 @[60000]
        "#]],
    );
}

#[test]
fn build_servers_get_xml() {
    let reports = [("test.yml".to_owned(), report(DOWN, TWO, Settings { diff: true, ..Settings::default() }))];
    expect![[r#"<testsuites><testsuite name="test.yml" tests="2" failures="1" errors="0" skipped="0" timestamp="2026-01-31T12:00:00"><testcase name="wrong &amp; loud"><failure>    name: wrong &amp; loud,&#xA;    alertname: Down, time: 5m, &#xA;        diff: &#xA;            - Labels:{alertname=&#34;Down&#34;, job=&#34;b&#34;} Annotations:{}&#xA;            + Labels:{alertname=&#34;Down&#34;, job=&#34;a&#34;, severity=&#34;page&#34;} Annotations:{summary=&#34; is down, 0&#34;}</failure></testcase><testcase name="unnamed#1"></testcase></testsuite></testsuites>"#]]
    .assert_eq(&junit(&reports, "2026-01-31T12:00:00"));
}

#[test]
fn rules_that_write_the_same_series_are_told() {
    let groups = |text| file::parse(text, Options::default(), false).unwrap();
    assert_eq!(lint::duplicates(&groups(DOWN)), None);
    let twice = "groups:\n- name: g\n  labels: {team: x}\n  rules:\n  - {record: a, expr: up}\n  - {record: a, expr: \
                 down, labels: {team: x}}\n  - {record: a, expr: up, labels: {team: y}}\n";
    expect![[r#"
        lint error 1 duplicate rule(s) found.
        Metric: a
        Label(s):
        	team: x
        Might cause inconsistency while recording expressions"#]]
    .assert_eq(&lint::duplicates(&groups(twice)).unwrap());
}

#[test]
fn a_histogram_is_text_and_has_numbers() {
    let rules = "groups:\n- name: g\n  rules:\n  - alert: Slow\n    expr: latency\n    annotations: {of: '{{ $value.Count }} at {{ \
                 $value.Sum }}', all: '{{ $value }}'}\n";
    let test = "rule_files: [rules.yml]\ntests:\n- input_series: [{series: latency, values: '{{schema:0 count:3 sum:4.5 buckets:[1 \
                2]}}'}]\n  alert_rule_test: [{eval_time: 0s, alertname: Slow, exp_alerts: []}]\n";
    check(
        rules,
        test,
        expect![[r#"
            failures:
                alertname: Slow, time: 0s, 
                    exp:[], 
                    got:[
                        0:
                          Labels:{alertname="Slow"}
                          Annotations:{all="{count:3, sum:4.5, (0.5,1]:1, (1,2]:2}", of="3 at 4.5"}
                        ]
        "#]],
    );
}
