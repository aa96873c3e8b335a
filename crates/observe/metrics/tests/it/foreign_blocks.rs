//! Blocks of Prometheus', read: a recorded one always, made from the samples of `api`; where `PROMETHEUS` names a program,
//! a new one too, which with `RECORD=1` becomes the recorded one. `PROMTOOL` makes blocks of OpenMetrics text.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use coracle_metrics::{
    Store, Value,
    prometheus::{PrometheusBlock, PrometheusError, find_blocks},
};
use coracle_promql::Columns;

use crate::{
    api::{empty_store, message, post, router},
    remote::pack,
    side_by_side::world,
    tools::{self, Prometheus},
};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/block");

/// By labels; histograms by what they say, not by how their buckets are laid out.
type Samples = BTreeMap<String, Vec<(i64, String)>>;

fn show(value: &Value) -> String {
    match value {
        Value::Float(value) => format!("{:x}", value.to_bits()),
        Value::Histogram(histogram) if histogram.is_stale() => "stale".to_owned(),
        Value::Histogram(histogram) => histogram.to_string(),
    }
}

fn of_blocks(blocks: &[PathBuf]) -> Samples {
    let mut all = Samples::new();
    for block in blocks {
        let block = PrometheusBlock::open(block).unwrap();
        let each = |labels: coracle_promql::Labels, samples: Vec<(i64, Value)>| {
            let samples = samples.iter().map(|(time_ms, value)| (*time_ms, show(value)));
            all.entry(labels.to_string()).or_default().extend(samples);
            Ok::<_, PrometheusError>(())
        };
        block.each_series(each).unwrap();
    }
    all.values_mut().for_each(|samples| samples.sort());
    all
}

fn of_store(store: &Store) -> Samples {
    let mut all = Samples::new();
    for series in store.export(&[], i64::MIN, i64::MAX).unwrap().iter() {
        let mut columns = Columns::default();
        series.read(i64::MIN, i64::MAX, &mut columns).unwrap();
        let floats = columns.floats.times_ms.iter().zip(&columns.floats.values);
        let floats = floats.map(|(time_ms, value)| (*time_ms, show(&Value::Float(*value))));
        let histograms = columns.histograms.times_ms.iter().zip(&columns.histograms.values);
        let histograms = histograms.map(|(time_ms, value)| (*time_ms, show(&Value::Histogram(value.clone()))));
        let mut samples: Vec<_> = floats.chain(histograms).collect();
        samples.sort();
        all.insert(series.labels().to_string(), samples);
    }
    all
}

#[track_caller]
fn assert_same(theirs: &Samples, ours: &Samples) {
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    for (labels, samples) in theirs {
        for (their, our) in samples.iter().zip(&ours[labels]) {
            assert_eq!(their, our, "{labels}");
        }
        assert_eq!(samples.len(), ours[labels].len(), "{labels}");
    }
}

async fn written(bodies: &[Vec<u8>]) -> Store {
    let store = empty_store();
    let router = router(&store);
    for body in bodies {
        assert_eq!(post(&router, "/api/v1/write", "application/x-protobuf", body.clone()).await.0, 204);
    }
    store
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => _ = fs::copy(&path, &target).unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_block_gives_back_what_was_written() {
    let bodies = [pack(&message())];
    let ours = of_store(&written(&bodies).await);
    if let Some(prometheus) = Prometheus::start() {
        prometheus.write(&bodies[0]);
        let blocks = find_blocks(&prometheus.snapshot()).unwrap();
        if std::env::var_os("RECORD").is_some() {
            copy(&blocks[0], Path::new(RECORDED));
        }
        assert_same(&of_blocks(&blocks), &ours);
    }
    assert_same(&of_blocks(&find_blocks(Path::new(RECORDED)).unwrap()), &ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_with_every_kind_of_histogram_are_read() {
    let Some(prometheus) = Prometheus::start() else { return };
    let bodies = world::bodies(7);
    let ours = of_store(&written(&bodies).await);
    bodies.iter().for_each(|body| prometheus.write(body));
    assert_same(&of_blocks(&find_blocks(&prometheus.snapshot()).unwrap()), &ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_promtool_makes_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let (text, blocks) = (directory.path().join("text"), directory.path().join("blocks"));
    let mut lines = String::from("# TYPE requests counter\n");
    for step in 0..2000 {
        lines.push_str(&format!("requests_total{{code=\"200\"}} {} {}\n", step * 3, 1_700_000_000 + step * 15));
    }
    fs::write(&text, lines + "# EOF\n").unwrap();
    let arguments = ["tsdb", "create-blocks-from", "openmetrics", text.to_str().unwrap(), blocks.to_str().unwrap()];
    if tools::promtool(&arguments).await.is_none() {
        return;
    }
    let read = of_blocks(&find_blocks(&blocks).unwrap());
    let samples = &read["{__name__=\"requests_total\", code=\"200\"}"];
    assert_eq!((read.len(), samples.len()), (1, 2000));
    assert_eq!(samples[1999], (1_700_029_985_000, show(&Value::Float(5997.0))));
}

#[test]
fn a_damaged_block_is_told_never_believed() {
    let directory = tempfile::tempdir().unwrap();
    for (file, why) in [("index", "damaged"), ("chunks/000001", "the chunk at")] {
        let block = directory.path().join(file.replace('/', "-"));
        copy(Path::new(RECORDED), &block);
        let path = block.join(file);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, &bytes).unwrap();
            // What nothing reads (gaps, postings of single labels) may be damaged unseen; what is read is right.
            let read =
                PrometheusBlock::open(&block).and_then(|block| block.each_series(|_, _| Ok::<_, PrometheusError>(())));
            if let Err(error) = read {
                let error = error.to_string();
                let known = [why, "version", "begin", "no file", "reading"].iter().any(|words| error.contains(words));
                assert!(known, "{file} at {at}: {error}");
            }
        }
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let cut =
            PrometheusBlock::open(&block).and_then(|block| block.each_series(|_, _| Ok::<_, PrometheusError>(())));
        assert!(cut.is_err(), "{file}");
    }
}
