//! What is too old goes: segments as a whole where all of their streams are, else without the lines that are.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use coracle_logql::Labels;

use crate::{
    grams::{GramsBuilder, MAX_BLOCKS},
    options::Retention,
    segment::{Open, Segment, SegmentId, SegmentWriter},
    store::{Inner, is_damage},
    streams::{Known, StreamId, matches},
};

/// A clock that is further ahead of the newest line than this is not believed, unless the store has seen the time pass.
const MAX_LEAD_NS: i64 = 24 * 3600 * 1_000_000_000;
/// A segment is written anew when at least this part of its lines is too old.
const WORTH_A_REWRITE: f64 = 0.25;

impl Retention {
    /// How long lines of a stream stay; `None` is for ever.
    pub fn of(&self, labels: &Labels) -> Option<Duration> {
        let rule = self.rules.iter().find(|rule| matches(labels, &rule.matchers));
        rule.map_or(self.default, |rule| rule.keep)
    }

    fn is_off(&self) -> bool {
        self.default.is_none() && self.rules.iter().all(|rule| rule.keep.is_none())
    }
}

impl Inner {
    pub(crate) fn retain(&self) -> io::Result<()> {
        let (retention, now) = (&self.options.retention, self.now());
        let seen = self.seen.lock().look(now);
        if retention.is_off() {
            return Ok(());
        }
        let (segments, newest) = {
            let shared = self.shared.read();
            (shared.segments.clone(), shared.newest)
        };
        let Some(newest) = newest else { return Ok(()) };
        let now = now.min(newest.saturating_add(MAX_LEAD_NS).saturating_add(seen));
        let mut changed = false;
        for segment in segments {
            changed |= self.retain_segment(&segment, now)?;
        }
        if changed {
            self.shared.write().forget_unused_streams();
        }
        self.bury()
    }

    /// The oldest moment that stays, for each stream of a segment.
    fn horizons(&self, segment: &Segment, now: i64) -> HashMap<StreamId, i64> {
        let shared = self.shared.read();
        let horizon = |id: StreamId| {
            let keep = self.options.retention.of(&shared.streams.get(id)?.labels)?;
            Some((id, now.saturating_sub(i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX))))
        };
        segment.streams.iter().filter_map(|id| horizon(*id)).collect()
    }

    fn retain_segment(&self, segment: &Arc<Segment>, now: i64) -> io::Result<bool> {
        let horizons = self.horizons(segment, now);
        let oldest_that_stays = horizons.values().max().copied().unwrap_or(i64::MIN);
        if segment.footer.earliest >= oldest_that_stays {
            return Ok(false);
        }
        let all_go = segment.streams.iter().all(|id| horizons.get(id).is_some_and(|at| segment.footer.latest < *at));
        if all_go {
            self.remove(segment);
            return Ok(true);
        }
        let open = segment.open(&*self.disk)?;
        let index = match open.index() {
            Ok(index) => index,
            Err(error) if is_damage(&error) => {
                self.damage.tell(error.to_string());
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let runs = || index.blocks.iter().flat_map(|block| &block.runs);
        let goes = |stream: u32, ts: i64| horizons.get(&segment.streams[stream as usize]).is_some_and(|at| ts < *at);
        let gone: u64 = runs().filter(|run| goes(run.stream, run.latest)).map(|run| u64::from(run.rows)).sum();
        if gone == segment.footer.lines {
            self.remove(segment);
            return Ok(true);
        }
        if (gone as f64) < segment.footer.lines as f64 * WORTH_A_REWRITE {
            return Ok(false);
        }
        self.rewrite(segment, &open, &index.blocks, goes)?;
        Ok(true)
    }

    /// Takes it away from readers to come.
    fn remove(&self, segment: &Arc<Segment>) {
        let mut shared = self.shared.write();
        shared.segments.retain(|other| other.id != segment.id);
        shared.gone.push(Arc::clone(segment));
    }

    /// Removes the files of segments that are gone and that nobody reads any more.
    fn bury(&self) -> io::Result<()> {
        let mut buried = Vec::new();
        self.shared.write().gone.retain(|segment| {
            let read = Arc::strong_count(segment) > 1;
            if !read {
                buried.push(segment.id);
            }
            read
        });
        for id in &buried {
            self.disk.remove(&id.file_name())?;
        }
        if buried.is_empty() { Ok(()) } else { self.disk.sync() }
    }

    fn rewrite(
        &self,
        segment: &Arc<Segment>,
        open: &Open,
        blocks: &[crate::block::BlockMeta],
        goes: impl Fn(u32, i64) -> bool,
    ) -> io::Result<()> {
        let streams: Vec<Option<Arc<Known>>> = {
            let shared = self.shared.read();
            segment.streams.iter().map(|id| shared.streams.get(*id).cloned()).collect()
        };
        let mut grams = GramsBuilder::new();
        let id = SegmentId { generation: segment.id.generation + 1, ..segment.id };
        let total: usize = blocks.iter().map(|block| block.plain_text_len as usize).sum();
        let block_bytes = self.options.block_bytes.max(total / (MAX_BLOCKS - 1) + 1);
        let mut writer = SegmentWriter::create(&*self.disk, &self.options, block_bytes, &mut grams, id)?;
        let mut text = Vec::new();
        for block in blocks {
            if block.runs.iter().all(|run| goes(run.stream, run.latest)) {
                continue;
            }
            let packed = open.text(block, &mut text)?;
            let columns = open.columns(block, &packed, &text)?;
            let mut first = 0;
            for run in &block.runs {
                let rows = first..first + run.rows as usize;
                first = rows.end;
                let Some(stream) = &streams[run.stream as usize] else { continue };
                for row in rows.filter(|row| !goes(run.stream, columns.stamps[*row])) {
                    let line = columns.line(&text, row).unwrap_or_default();
                    writer.push(stream, columns.stamps[row], line, columns.metadata(row))?;
                }
            }
        }
        let rewritten = Arc::new(writer.finish(segment.footer.journal)?);
        let mut shared = self.shared.write();
        if let Some(place) = shared.segments.iter_mut().find(|other| other.id == segment.id) {
            *place = rewritten;
        }
        shared.gone.push(Arc::clone(segment));
        Ok(())
    }
}
