//! `coracle metrics import`: OpenMetrics text, line by line, into blocks.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, IsTerminal},
};

use anyhow::{Context, bail};
use coracle_metrics::{
    Options, Store, Value,
    openmetrics::{Line, read_line},
};
use coracle_promql::Labels;

use crate::{cli::MetricsImport, paths::DataDir};

/// Samples that are held before they are written out.
const SAMPLES_AT_A_TIME: usize = 4_000_000;

pub fn run(dir: &DataDir, import: &MetricsImport) -> anyhow::Result<()> {
    let input: Box<dyn BufRead> = match &import.file {
        Some(path) => Box::new(BufReader::new(File::open(path).with_context(|| path.display().to_string())?)),
        None => {
            if std::io::stdin().is_terminal() {
                bail!("name a file, or send OpenMetrics text to standard input");
            }
            Box::new(BufReader::new(std::io::stdin()))
        }
    };
    let store = super::open(dir, Options { retention_ms: None, ..Options::default() })?;
    let mut importer = Importer { store, waiting: HashMap::new(), held: 0, samples: 0, blocks: 0 };
    importer.read(input)?;
    importer.write()?;
    importer.store.maintain().context("merging blocks")?;
    println!("{} samples in {} blocks", importer.samples, importer.blocks);
    Ok(())
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
