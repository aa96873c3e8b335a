//! Queries with what they must give, as text. `UPDATE_CASES=1` writes what they give now in place of what they should.
//!
//! ```text
//! input
//! {app="a"} 5s {trace="1"} | the line          labels, moment, structured metadata if there is any
//!
//! # why it is so
//! at 60s                                       or: from 0s to 60s by 10s; lines backward 5; every 10s
//! > query
//! what it gives
//! ```

use std::{fmt::Write as _, fs, path::Path, sync::Arc};

use coracle_logql::{
    Answer, Direction, Labels, Limits, Query, evaluate,
    go::{parse_duration, plain_float, quote, unquote},
    syntax::{Expr, parse, pretty},
};

use crate::source::{Line, Lines};

/// There are this many at least.
const LEAST: usize = 500;

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut count, mut wrong) = (0, String::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (given, cases) = run(&text);
        count += cases;
        if given == text {
            continue;
        }
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&file, given).unwrap();
            continue;
        }
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for (at, (expected, found)) in text.lines().zip(given.lines()).enumerate().filter(|(_, (a, b))| a != b).take(5)
        {
            writeln!(wrong, "{name}:{}\n  expected {expected}\n  found    {found}", at + 1).unwrap();
        }
        if text.lines().count() != given.lines().count() {
            writeln!(wrong, "{name}: expected {} lines, found {}", text.lines().count(), given.lines().count())
                .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= LEAST, "only {count} cases");
}

/// For a comparison with another implementation: every case as a line of JSON.
#[test]
#[ignore = "prints; run it by name"]
fn print_as_json() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        each_block(&text, |lines, block| {
            let Block::Case { head, query, given } = block else { return };
            let entries: Vec<_> = lines
                .0
                .iter()
                .map(|line| serde_json::json!({"labels": line.labels.to_string(), "ts": line.ts, "line": line.text, "metadata": line.metadata}))
                .collect();
            let file = file.file_name().unwrap().to_string_lossy().into_owned();
            let case =
                serde_json::json!({"file": file, "how": head, "query": query, "given": given, "entries": entries});
            println!("case {case}");
        });
    }
}

enum Block<'t> {
    Other(&'t str),
    Case { head: Vec<&'t str>, query: String, given: String },
}

fn each_block(text: &str, mut each: impl FnMut(&Lines, Block<'_>)) {
    let mut lines = Lines::default();
    for block in text.trim_end().split("\n\n") {
        if let Some(input) = block.strip_prefix("input\n") {
            lines = Lines(input.lines().map(entry).collect());
            each(&lines, Block::Other(block));
            continue;
        }
        let head: Vec<&str> = block.lines().take_while(|line| !line.starts_with("> ")).collect();
        let query: Vec<&str> = block
            .lines()
            .skip(head.len())
            .enumerate()
            .map_while(|(at, line)| line.strip_prefix(if at == 0 { "> " } else { "  > " }))
            .collect();
        if query.is_empty() {
            each(&lines, Block::Other(block));
            continue;
        }
        let query = query.join("\n");
        let given = answer(&lines, &head, &query);
        each(&lines, Block::Case { head, query, given });
    }
}

fn run(text: &str) -> (String, usize) {
    let (mut out, mut cases) = (Vec::new(), 0);
    each_block(text, |_, block| match block {
        Block::Other(block) => out.push(block.to_owned()),
        Block::Case { head, query, given } => {
            assert!(head.iter().any(|line| line.starts_with("# ")), "a case without a reason: {query}");
            cases += 1;
            let query = query.replace('\n', "\n  > ");
            out.push(format!("{}\n> {query}\n{given}", head.join("\n")).trim_end().to_owned());
        }
    });
    (out.join("\n\n") + "\n", cases)
}

/// `{labels} moment {metadata} | line`; a line in quotes has escapes.
fn entry(text: &str) -> Line {
    let (head, line) = text.split_once(" | ").unwrap_or_else(|| panic!("no line: {text}"));
    let end = head.find('}').unwrap() + 1;
    let (labels, rest) = head.split_at(end);
    let (moment, metadata) = rest.trim().split_once(' ').unwrap_or((rest.trim(), "{}"));
    let metadata = Labels::parse(metadata).unwrap();
    Line {
        labels: Arc::new(Labels::parse(labels).unwrap()),
        ts: parse_duration(moment).unwrap(),
        text: unquote(line).unwrap_or_else(|| line.to_owned()),
        metadata: metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn answer(lines: &Lines, head: &[&str], query: &str) -> String {
    let expr = match parse(query) {
        Ok(expr) => expr,
        Err(error) => return format!("error: {error}"),
    };
    if head.contains(&"print") {
        return expr.to_string();
    }
    if head.contains(&"pretty") {
        return pretty(&expr);
    }
    let minute = 60_000_000_000;
    let mut query = Query {
        start: if matches!(expr, Expr::Log(_)) { 0 } else { minute },
        end: if matches!(expr, Expr::Log(_)) { 60 * minute } else { minute },
        step: 0,
        interval: 0,
        limit: 1000,
        direction: Direction::Forward,
        now: 60 * minute,
        expr,
    };
    for line in head {
        let words: Vec<&str> = line.split(' ').collect();
        let moment = |at: usize| parse_duration(words[at]).unwrap();
        match words.as_slice() {
            ["at", _] => (query.start, query.end) = (moment(1), moment(1)),
            ["from", _, "to", _, "by", _] => (query.start, query.end, query.step) = (moment(1), moment(3), moment(5)),
            ["lines", direction, limit] => {
                query.direction = if *direction == "forward" { Direction::Forward } else { Direction::Backward };
                query.limit = limit.parse().unwrap();
            }
            ["every", _] => query.interval = moment(1),
            _ => {}
        }
    }
    match evaluate(&query, &Limits::default(), lines) {
        Ok(answer) => show(&answer),
        Err(error) => format!("error: {}", error.to_string().replace('\n', "\n       ").trim_end()),
    }
}

fn moment(ms: i64) -> String {
    if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

fn show(answer: &Answer) -> String {
    let mut out = String::new();
    match answer {
        Answer::Streams(streams) => {
            for stream in streams {
                writeln!(out, "{}", stream.labels).unwrap();
                for entry in &stream.entries {
                    let plain = !entry.line.contains(['\n', '\u{1b}'])
                        && !entry.line.starts_with(['"', '`'])
                        && !entry.line.ends_with(' ');
                    let line = if plain { entry.line.clone() } else { quote(&entry.line) };
                    writeln!(out, "  {} | {line}", moment(entry.ts / 1_000_000)).unwrap();
                }
            }
        }
        Answer::Vector(samples) => {
            for sample in samples {
                writeln!(out, "{} {}", sample.labels, plain_float(sample.value)).unwrap();
            }
        }
        Answer::Matrix(series) => {
            for series in series {
                let points: Vec<String> = series
                    .points
                    .iter()
                    .map(|(at, value)| format!("{}={}", moment(*at), plain_float(*value)))
                    .collect();
                writeln!(out, "{} {}", series.labels, points.join(" ")).unwrap();
            }
        }
        Answer::Scalar(_, value) => writeln!(out, "{}", plain_float(*value)).unwrap(),
    }
    if out.is_empty() { "nothing".to_owned() } else { out.trim_end().to_owned() }
}
