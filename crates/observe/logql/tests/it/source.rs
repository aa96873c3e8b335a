//! Entries in memory, as something to be asked.

use std::{convert::Infallible, sync::Arc};

use coracle_logql::{Labels, Request, Sink, Source, SourceEntry};

/// A line with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct Line {
    pub labels: Arc<Labels>,
    pub ts: i64,
    pub text: String,
    pub metadata: Vec<(String, String)>,
}

/// All lines there are.
#[derive(Debug, Clone, Default)]
pub struct Lines(pub Vec<Line>);

impl Lines {
    /// What a request asks for, without regard to its needles.
    pub fn selected(&self, request: &Request<'_>) -> impl Iterator<Item = &Line> {
        self.0.iter().filter(|line| {
            let fits = (request.start..request.end).contains(&line.ts);
            fits && request.matchers.iter().all(|m| m.matches(line.labels.get(&m.name).unwrap_or_default()))
        })
    }
}

impl Source for Lines {
    type Error = Infallible;

    fn read(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<(), Infallible> {
        for line in self.selected(request) {
            let has =
                |any: &Vec<Vec<u8>>| any.iter().any(|one| memchr::memmem::find(line.text.as_bytes(), one).is_some());
            if !sink.wants(line.ts, line.ts) || !request.needles.iter().all(|needle| has(&needle.any)) {
                continue;
            }
            let entry = SourceEntry { labels: &line.labels, ts: line.ts, line: &line.text, metadata: &line.metadata };
            if sink.take(entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}
