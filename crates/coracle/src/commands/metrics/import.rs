//! `coracle metrics import`: OpenMetrics text, line by line, or the blocks of a Prometheus, series by series, into blocks.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, IsTerminal},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use coracle_metrics::{
    Options, Store, Value,
    openmetrics::{Line, read_line},
    prometheus::{PrometheusBlock, find_blocks},
};
use coracle_promql::Labels;

use crate::{cli::MetricsImport, paths::DataDir};

/// Samples that are held before they are written out.
const SAMPLES_AT_A_TIME: usize = 4_000_000;

pub fn run(dir: &DataDir, import: &MetricsImport) -> anyhow::Result<()> {
    let begin = || {
        let store = super::open(dir, Options { retention_ms: None, ..Options::default() })?;
        Ok::<_, anyhow::Error>(Importer { store, waiting: HashMap::new(), held: 0, samples: 0, blocks: 0 })
    };
    let importer = match &import.blocks {
        Some(directory) => {
            let blocks = find_blocks(directory)?;
            ensure!(!blocks.is_empty(), "there are no blocks of Prometheus' in {}", directory.display());
            let mut importer = begin()?;
            blocks.iter().try_for_each(|block| importer.read_block(block))?;
            importer
        }
        None => {
            let input = text(import)?;
            let mut importer = begin()?;
            importer.read(input)?;
            importer
        }
    };
    importer.finish()
}

fn text(import: &MetricsImport) -> anyhow::Result<Box<dyn BufRead>> {
    if let Some(path) = &import.file {
        return Ok(Box::new(BufReader::new(File::open(path).with_context(|| path.display().to_string())?)));
    }
    if std::io::stdin().is_terminal() {
        bail!("name a file, send OpenMetrics text to standard input, or name Prometheus' blocks with --blocks");
    }
    Ok(Box::new(BufReader::new(std::io::stdin())))
}

struct Importer {
    store: Store,
    waiting: HashMap<Labels, Vec<(i64, Value)>>,
    held: usize,
    samples: usize,
    blocks: usize,
}

impl Importer {
    fn read(&mut self, input: Box<dyn BufRead>) -> anyhow::Result<()> {
        for (number, line) in input.lines().enumerate() {
            let at = || format!("line {}", number + 1);
            match read_line(&line.with_context(at)?, true).map_err(anyhow::Error::msg).with_context(at)? {
                Line::End => return Ok(()),
                Line::Sample { labels, value, time_ms } => {
                    let time_ms = time_ms.context("the sample has no time").with_context(at)?;
                    self.waiting.entry(labels).or_default().push((time_ms, Value::Float(value)));
                    self.held += 1;
                }
                _ => {}
            }
            if self.held >= SAMPLES_AT_A_TIME {
                self.write()?;
            }
        }
        bail!("the text ends without # EOF: it may have been cut off. What came before is there")
    }

    fn read_block(&mut self, path: &Path) -> anyhow::Result<()> {
        let block = PrometheusBlock::open(path)?;
        eprintln!("{}: {} series", path.display(), block.series_count());
        block.each_series(|labels, samples| {
            self.held += samples.len();
            self.waiting.entry(labels).or_default().extend(samples);
            if self.held >= SAMPLES_AT_A_TIME { self.write() } else { Ok(()) }
        })
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.write()?;
        self.store.maintain().context("merging blocks")?;
        println!("{} samples in {} blocks", self.samples, self.blocks);
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.samples += self.held;
        self.held = 0;
        let series: Vec<_> = self.waiting.drain().collect();
        if !series.is_empty() {
            self.blocks += self.store.backfill(series).context("writing blocks")?;
            eprintln!("{} samples so far", self.samples);
        }
        Ok(())
    }
}
