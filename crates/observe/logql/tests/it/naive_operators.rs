//! Every aggregation and every operator, against what a few lines of arithmetic make of the windows.

use std::collections::BTreeMap;

use coracle_logql::{Answer, Direction, Labels, Limits, Query, evaluate, syntax::parse};
use proptest::prelude::*;

use crate::{
    naive::{SECOND, asked, level_of, lines, same, steps, value_of, windows},
    source::{Line, Lines},
};

type Values = BTreeMap<(Labels, i64), f64>;

fn by_app_and_level(line: &Line) -> Labels {
    [("level", level_of(line)), ("app", line.labels.get("app").unwrap().to_owned())].into_iter().collect()
}

fn by_app(line: &Line) -> Labels {
    line.labels.keep(|name| name == "app")
}

/// A query for the number of lines by app and level, and what it gives.
fn counts(lines: &Lines, steps: (i64, i64, i64), range: i64) -> (String, Values) {
    let windows = windows(lines, steps, range * SECOND, 0, by_app_and_level);
    let values = windows.into_iter().map(|(key, values)| (key, values.len() as f64)).collect();
    (format!(r#"sum by (app, level) (count_over_time({{app=~".+"}} | logfmt [{range}s]))"#), values)
}

/// A query for the sum of values by app, and what it gives.
fn sums(lines: &Lines, steps: (i64, i64, i64), range: i64) -> (String, Values) {
    let windows = windows(lines, steps, range * SECOND, 0, by_app);
    let values = windows.into_iter().map(|(key, values)| (key, values.iter().sum::<f64>() + 0.0)).collect();
    (format!(r#"sum by (app) (sum_over_time({{app=~".+"}} | logfmt | unwrap value [{range}s]))"#), values)
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

fn check(lines: &Lines, query: &str, steps: (i64, i64, i64), expected: &Values) -> Result<(), TestCaseError> {
    let found = asked(lines, query, steps);
    prop_assert!(same(&found, expected), "{}: {:?} instead of {:?}", query, found, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn ranges_of_bytes_and_rates(lines in lines(), steps in steps(), range in 1..40_i64) {
        type Reduce = fn(&[&Line], f64) -> f64;
        let bytes: Reduce = |lines, _| lines.iter().map(|line| line.text.len() as f64).sum();
        let reductions: [(&str, Reduce); 4] = [
            ("rate", |lines, seconds| lines.len() as f64 / seconds),
            ("bytes_over_time", bytes),
            ("bytes_rate", |lines, seconds| lines.iter().map(|line| line.text.len() as f64).sum::<f64>() / seconds),
            ("count_over_time", |lines, _| lines.len() as f64),
        ];
        for (name, reduce) in reductions {
            let mut expected = Values::new();
            let mut at = steps.0;
            while at <= steps.1 {
                let mut groups: BTreeMap<Labels, Vec<&Line>> = BTreeMap::new();
                for line in lines.0.iter().filter(|line| line.ts > at - range * SECOND && line.ts <= at) {
                    groups.entry((*line.labels).clone()).or_default().push(line);
                }
                expected.extend(groups.into_iter().map(|(labels, lines)| ((labels, at / 1_000_000), reduce(&lines, range as f64))));
                at += steps.2;
            }
            check(&lines, &format!(r#"{name}({{app=~".+"}}[{range}s])"#), steps, &expected)?;
        }
    }

    #[test]
    fn ranges_where_nothing_is(lines in lines(), steps in steps(), range in 1..40_i64) {
        let labels: Labels = [("env", "dev")].into_iter().collect();
        let dev = Lines(lines.0.iter().filter(|line| line.labels.get("env") == Some("dev")).cloned().collect());
        let dev_here = windows(&dev, steps, range * SECOND, 0, |_| labels.clone());
        let moments = (0..=(steps.1 - steps.0) / steps.2).map(|step| (steps.0 + step * steps.2) / 1_000_000);
        let expected = moments.map(|at| ((labels.clone(), at), 1.0)).filter(|(key, _)| !dev_here.contains_key(key)).collect();
        check(&lines, &format!(r#"absent_over_time({{env="dev"}}[{range}s])"#), steps, &expected)?;
    }

    #[test]
    fn more_ranges_of_values(lines in lines(), steps in steps(), range in 1..40_i64) {
        type Reduce = fn(&[f64], f64) -> f64;
        let reductions: [(&str, &str, Reduce); 6] = [
            ("rate", "", |values, seconds| values.iter().sum::<f64>() / seconds + 0.0),
            ("stddev_over_time", "", |values, _| variance(values).sqrt()),
            ("first_over_time", "", |values, _| values[0]),
            ("last_over_time", "", |values, _| values[values.len() - 1]),
            ("quantile_over_time", "2, ", |_, _| f64::INFINITY),
            ("quantile_over_time", "1, ", |values, _| values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        ];
        for (name, parameter, reduce) in reductions {
            let whole = |line: &Line| line.labels.set("level", &level_of(line)).set("msg", &format!("m {}", value_of(line)));
            let expected = windows(&lines, steps, range * SECOND, 0, whole);
            let expected = expected.into_iter().map(|(key, values)| (key, reduce(&values, range as f64))).collect();
            check(&lines, &format!(r#"{name}({parameter}{{app=~".+"}} | logfmt | unwrap value [{range}s])"#), steps, &expected)?;
        }
        // With a grouping of its own.
        let expected = windows(&lines, steps, range * SECOND, 0, by_app_and_level);
        let expected = expected.into_iter().map(|(key, values)| (key, values.iter().copied().fold(f64::INFINITY, f64::min))).collect();
        check(&lines, &format!(r#"min_over_time({{app=~".+"}} | logfmt | unwrap value [{range}s]) by (app, level)"#), steps, &expected)?;
    }

    #[test]
    fn aggregations_over_series(lines in lines(), steps in steps(), range in 1..40_i64) {
        type Reduce = fn(&[f64]) -> f64;
        let reductions: [(&str, Reduce); 7] = [
            ("sum", |values| values.iter().sum()),
            ("avg", |values| values.iter().sum::<f64>() / values.len() as f64),
            ("min", |values| values.iter().copied().fold(f64::INFINITY, f64::min)),
            ("max", |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            ("count", |values| values.len() as f64),
            ("stdvar", variance),
            ("stddev", |values| variance(values).sqrt()),
        ];
        let (inner, values) = counts(&lines, steps, range);
        for (grouping, named) in [("by (level)", Some("level")), ("without (level)", Some("app")), ("", None)] {
            let mut groups: BTreeMap<(Labels, i64), Vec<f64>> = BTreeMap::new();
            for ((labels, at), value) in &values {
                groups.entry((labels.keep(|name| Some(name) == named), *at)).or_default().push(*value);
            }
            for (name, reduce) in reductions {
                let expected = groups.iter().map(|(key, values)| (key.clone(), reduce(values))).collect();
                check(&lines, &format!("{name} {grouping} ({inner})"), steps, &expected)?;
            }
        }
    }

    #[test]
    fn the_largest_the_smallest_and_all_in_order(lines in lines(), at in 0..60_i64, range in 1..40_i64, count in 1..6_usize) {
        let (inner, values) = counts(&lines, (at * SECOND, at * SECOND, SECOND), range);
        let mut ascending: Vec<f64> = values.into_values().collect();
        ascending.sort_by(f64::total_cmp);
        let descending: Vec<f64> = ascending.iter().rev().copied().collect();
        let first = |values: &[f64]| values[..count.min(values.len())].to_vec();
        for (query, expected) in [
            (format!("topk({count}, {inner})"), first(&descending)),
            (format!("bottomk({count}, {inner})"), first(&ascending)),
            (format!("sort({inner})"), ascending.clone()),
            (format!("sort_desc({inner})"), descending.clone()),
        ] {
            let moment = Query {
                expr: parse(&query).unwrap(),
                start: at * SECOND,
                end: at * SECOND,
                step: 0,
                interval: 0,
                limit: 100,
                direction: Direction::Forward,
                now: 0,
            };
            let Answer::Vector(samples) = evaluate(&moment, &Limits::default(), &lines).unwrap() else { panic!("a vector") };
            let mut found: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
            match query.as_bytes()[0] {
                b't' => found.sort_by(|a, b| b.total_cmp(a)),
                b'b' => found.sort_by(f64::total_cmp),
                _ => {}
            }
            prop_assert_eq!(&found, &expected, "{}", query);
        }
    }

    #[test]
    fn operators_between_series_and_numbers(lines in lines(), steps in steps(), range in 1..40_i64) {
        type Apply = fn(f64, f64) -> f64;
        let bool_of: fn(bool) -> f64 = |holds| f64::from(u8::from(holds));
        let arithmetic: [(&str, Apply); 6] = [
            ("+", |a, b| a + b),
            ("-", |a, b| a - b),
            ("*", |a, b| a * b),
            ("/", |a, b| if b == 0.0 { f64::NAN } else { a / b }),
            ("%", |a, b| if b == 0.0 { f64::NAN } else { a % b }),
            ("^", f64::powf),
        ];
        type Compare = fn(&f64, &f64) -> bool;
        let comparisons: [(&str, Compare); 6] =
            [("==", f64::eq), ("!=", f64::ne), (">", f64::gt), (">=", f64::ge), ("<", f64::lt), ("<=", f64::le)];
        let (left, ours) = counts(&lines, steps, range);
        let (right, theirs) = sums(&lines, steps, range);
        // Of each series on the left there is one on the right.
        let pairs = |of: &dyn Fn(f64, f64) -> Option<f64>| -> Values {
            let value = |(labels, at): &(Labels, i64), value: f64| of(value, theirs[&(labels.keep(|name| name == "app"), *at)]);
            ours.iter().filter_map(|(key, own)| Some((key.clone(), value(key, *own)?))).collect()
        };
        let numbers = |of: &dyn Fn(f64) -> Option<f64>| -> Values {
            ours.iter().filter_map(|(key, value)| Some((key.clone(), of(*value)?))).collect()
        };
        for (op, apply) in arithmetic {
            let expected = pairs(&|a, b| Some(apply(a, b)));
            check(&lines, &format!("{left} {op} on (app) group_left () {right}"), steps, &expected)?;
            check(&lines, &format!("{left} {op} ignoring (level) group_left () {right}"), steps, &expected)?;
            let flipped = pairs(&|a, b| Some(apply(b, a)));
            check(&lines, &format!("{right} {op} on (app) group_right () {left}"), steps, &flipped)?;
            check(&lines, &format!("{left} {op} 3"), steps, &numbers(&|a| Some(apply(a, 3.0))))?;
            check(&lines, &format!("3 {op} {left}"), steps, &numbers(&|a| Some(apply(3.0, a))))?;
        }
        for (op, compare) in comparisons {
            check(&lines, &format!("{left} {op} on (app) group_left () {right}"), steps, &pairs(&|a, b| compare(&a, &b).then_some(a)))?;
            check(&lines, &format!("{left} {op} bool on (app) group_left () {right}"), steps, &pairs(&|a, b| Some(bool_of(compare(&a, &b)))))?;
            check(&lines, &format!("{left} {op} 2"), steps, &numbers(&|a| compare(&a, &2.0).then_some(a)))?;
            check(&lines, &format!("{left} {op} bool 2"), steps, &numbers(&|a| Some(bool_of(compare(&a, &2.0)))))?;
        }
    }

    #[test]
    fn operators_between_sets(lines in lines(), steps in steps(), range in 1..40_i64, bound in -40..40_i32) {
        let (left, ours) = counts(&lines, steps, range);
        let (right, theirs) = sums(&lines, steps, range);
        let kept: Values = theirs.into_iter().filter(|(_, value)| *value > f64::from(bound)).collect();
        let right = format!("({right} > {bound})");
        let app = |labels: &Labels| labels.keep(|name| name == "app");
        let is_kept = |(labels, at): &(Labels, i64)| kept.contains_key(&(app(labels), *at));
        let both: Values = ours.iter().filter(|(key, _)| is_kept(key)).map(|(key, value)| (key.clone(), *value)).collect();
        check(&lines, &format!("{left} and on (app) {right}"), steps, &both)?;
        let others: Values = ours.iter().filter(|(key, _)| !is_kept(key)).map(|(key, value)| (key.clone(), *value)).collect();
        check(&lines, &format!("{left} unless on (app) {right}"), steps, &others)?;
        // Where the left has something of an app, the right's is left out: that is always so.
        check(&lines, &format!("{left} or on (app) {right}"), steps, &ours)?;
        let mut all = ours.clone();
        all.extend(kept.clone());
        check(&lines, &format!("{left} or {right}"), steps, &all)?;
        check(&lines, &format!("{right} or {left}"), steps, &all)?;
    }

    #[test]
    fn labels_that_are_replaced_and_constants(lines in lines(), steps in steps(), range in 1..40_i64) {
        let (inner, values) = counts(&lines, steps, range);
        let replaced = |labels: &Labels| labels.set("kind", &format!("app-{}", labels.get("app").unwrap()));
        let expected = values.into_iter().map(|((labels, at), value)| ((replaced(&labels), at), value)).collect();
        check(&lines, &format!(r#"label_replace({inner}, "kind", "app-$1", "app", "(.)")"#), steps, &expected)?;
        let moments = (0..=(steps.1 - steps.0) / steps.2).map(|step| (steps.0 + step * steps.2) / 1_000_000);
        let constant = moments.map(|at| ((Labels::default(), at), 7.0)).collect();
        check(&lines, "vector(7)", steps, &constant)?;
    }
}
