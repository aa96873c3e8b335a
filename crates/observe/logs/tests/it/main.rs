//! The store as those who use it see it.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod hostile;
mod http;
mod kill;
mod simulation;
mod store;

use std::{ops::ControlFlow, path::Path, sync::Arc};

use coracle_clock::{ManualClock, SystemClock};
use coracle_logql::{Direction, Labels, Request, Sink, Source, SourceEntry, syntax::parse_selector};
use coracle_logs::{Entry, Options, Store, Stream};

const SECOND: i64 = 1_000_000_000;

/// Lines of one stream, each with its moment in seconds.
fn stream(labels: &str, lines: &[(i64, &str)]) -> Stream {
    let entry = |(at, line): &(i64, &str)| Entry { ts: at * SECOND, line: (*line).to_owned(), metadata: Arc::new([]) };
    Stream { labels: Labels::parse(labels).unwrap(), entries: lines.iter().map(entry).collect() }
}

/// A clock at the thousandth second.
fn clock() -> ManualClock {
    ManualClock::new(jiff::Timestamp::from_second(1000).unwrap())
}

fn open(path: &Path, options: Options) -> Store {
    Store::open(path, options, Arc::new(SystemClock)).unwrap()
}

/// Small enough for everything to happen with little.
fn small() -> Options {
    Options { head_bytes: 4000, block_bytes: 500, threads: 2, ..Options::default() }
}

/// Everything that a request gives.
#[derive(Default)]
struct Collected(Vec<(String, i64, String)>);

impl Sink for Collected {
    fn wants(&self, _: i64, _: i64) -> bool {
        true
    }

    fn take(&mut self, entry: SourceEntry<'_>) -> ControlFlow<()> {
        self.0.push((entry.labels.to_string(), entry.ts, entry.line.to_owned()));
        ControlFlow::Continue(())
    }
}

/// All lines of streams that a selector selects, in order.
fn lines(store: &Store, selector: &str) -> Vec<(String, i64, String)> {
    let matchers = parse_selector(selector).unwrap();
    let request = Request {
        matchers: &matchers,
        start: i64::MIN,
        end: i64::MAX,
        direction: Direction::Forward,
        needles: Vec::new(),
    };
    let mut collected = Collected::default();
    store.tenant("fake").read(&request, &mut collected).unwrap();
    collected.0.sort();
    collected.0
}

/// Only the lines themselves.
fn texts(store: &Store, selector: &str) -> Vec<String> {
    let mut lines = lines(store, selector);
    lines.sort_by_key(|(_, ts, _)| *ts);
    lines.into_iter().map(|(_, _, line)| line).collect()
}
