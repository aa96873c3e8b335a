//! Answers of queries as JSON, with what they took.

use std::{collections::BTreeMap, time::Duration};

use coracle_logql::{Answer, EntryLabels, Labels, LogEntry, LogStream, go::plain_float};
use serde_json::{Map, Value, json};

use crate::read::Reading;

/// Whether structured metadata and parsed labels stand apart from the stream's, as a client may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Categorize(pub(super) bool);

/// The whole body.
pub(super) fn body(answer: Answer, categorize: Categorize, reading: &Reading, took: Duration) -> Value {
    let (entries, kind, result) = match answer {
        Answer::Streams(streams) => {
            let entries = streams.iter().map(|stream| stream.entries.len()).sum();
            (entries, "streams", self::streams(streams, categorize))
        }
        Answer::Vector(samples) => {
            let one = |sample: &coracle_logql::Sample| json!({"metric": object(&sample.labels), "value": point(sample.at_ms, sample.value)});
            (samples.len(), "vector", samples.iter().map(one).collect())
        }
        Answer::Matrix(series) => {
            let one = |series: &coracle_logql::Series| {
                let values: Vec<Value> = series.points.iter().map(|(at, value)| point(*at, *value)).collect();
                json!({"metric": object(&series.labels), "values": values})
            };
            (series.iter().map(|series| series.points.len()).sum(), "matrix", series.iter().map(one).collect())
        }
        Answer::Scalar(at, value) => (1, "scalar", point(at, value)),
    };
    let mut data = json!({"resultType": kind, "result": result, "stats": statistics(reading, took, entries)});
    if categorize.0 && kind == "streams" {
        data["encodingFlags"] = json!(["categorize-labels"]);
    }
    json!({"status": "success", "data": data})
}

pub(super) fn object(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
}

/// Seconds, with a fraction only where there is one, and the number as text.
fn point(at_ms: i64, value: f64) -> Value {
    let at = if at_ms % 1000 == 0 { Value::from(at_ms / 1000) } else { Value::from(at_ms as f64 / 1000.0) };
    json!([at, plain_float(value)])
}

/// Streams as a query or a tail gives them.
pub(super) fn streams(streams: Vec<LogStream>, categorize: Categorize) -> Value {
    if !categorize.0 {
        let one = |stream: &LogStream| {
            let values: Vec<Value> =
                stream.entries.iter().map(|entry| json!([entry.ts.to_string(), entry.line])).collect();
            json!({"stream": object(&stream.labels), "values": values})
        };
        return streams.iter().map(one).collect();
    }
    let mut by_stream: BTreeMap<Labels, Vec<LogEntry>> = BTreeMap::new();
    for entry in streams.into_iter().flat_map(|stream| stream.entries) {
        by_stream.entry(entry.labels.stream.clone()).or_default().push(entry);
    }
    let one = |(labels, entries): (Labels, Vec<LogEntry>)| {
        let values: Vec<Value> = entries.iter().map(categorized).collect();
        json!({"stream": object(&labels), "values": values})
    };
    by_stream.into_iter().map(one).collect()
}

fn categorized(entry: &LogEntry) -> Value {
    let EntryLabels { metadata, parsed, .. } = &*entry.labels;
    let mut categories = Map::new();
    for (name, labels) in [("structuredMetadata", metadata), ("parsed", parsed)] {
        if !labels.is_empty() {
            categories.insert(name.to_owned(), object(labels));
        }
    }
    json!([entry.ts.to_string(), entry.line, categories])
}

/// What clients show of how a query went. What this store has no counterpart for is zero.
fn statistics(reading: &Reading, took: Duration, entries: usize) -> Value {
    let seconds = took.as_secs_f64();
    let per_second = |count: u64| if seconds > 0.0 { (count as f64 / seconds) as u64 } else { 0 };
    let chunk = json!({
        "headChunkBytes": 0, "headChunkLines": 0, "decompressedBytes": reading.text_bytes,
        "decompressedLines": reading.lines, "compressedBytes": reading.compressed_bytes, "totalDuplicates": 0,
        "postFilterLines": reading.lines, "headChunkStructuredMetadataBytes": 0,
        "decompressedStructuredMetadataBytes": 0,
    });
    let store = |chunk: Value, refs: usize, read: usize| {
        json!({
            "totalChunksRef": refs, "totalChunksDownloaded": read, "chunksDownloadTime": 0,
            "queryReferencedStructuredMetadata": false, "queryUsedV2Engine": false, "chunk": chunk,
            "chunkRefsFetchTime": 0, "congestionControlLatency": 0, "pipelineWrapperFilteredLines": 0,
        })
    };
    let nothing = json!({
        "headChunkBytes": 0, "headChunkLines": 0, "decompressedBytes": 0, "decompressedLines": 0, "compressedBytes": 0,
        "totalDuplicates": 0, "postFilterLines": 0, "headChunkStructuredMetadataBytes": 0,
        "decompressedStructuredMetadataBytes": 0,
    });
    let cache = json!({
        "entriesFound": 0, "entriesRequested": 0, "entriesStored": 0, "bytesReceived": 0, "bytesSent": 0, "requests": 0,
        "downloadTime": 0, "queryLengthServed": 0,
    });
    json!({
        "summary": {
            "bytesProcessedPerSecond": per_second(reading.text_bytes),
            "linesProcessedPerSecond": per_second(reading.lines),
            "totalBytesProcessed": reading.text_bytes,
            "totalLinesProcessed": reading.lines,
            "execTime": seconds,
            "queueTime": 0,
            "subqueries": 0,
            "totalEntriesReturned": entries,
            "splits": 0,
            "shards": 0,
            "totalPostFilterLines": reading.lines,
            "totalStructuredMetadataBytesProcessed": 0,
        },
        "querier": {"store": store(chunk, reading.blocks, reading.blocks_read), "querierExecTime": seconds},
        "ingester": {
            "totalReached": 0, "totalChunksMatched": 0, "totalBatches": 0, "totalLinesSent": 0,
            "store": store(nothing, 0, 0),
        },
        "cache": {
            "chunk": cache, "index": cache, "result": cache, "statsResult": cache, "volumeResult": cache,
            "seriesResult": cache, "labelResult": cache, "instantMetricResult": cache,
        },
        "index": {
            "totalChunks": reading.blocks, "postFilterChunks": reading.blocks_read, "shardsDuration": 0,
            "usedBloomFilters": false, "totalStreams": 0,
        },
    })
}

/// What is known of a field.
#[derive(Default)]
struct Detected {
    values: std::collections::BTreeSet<String>,
    parser: Option<&'static str>,
}

/// Fields of lines, as a client gets them.
pub(super) fn detected(answer: &Answer) -> Vec<Value> {
    let one = |(name, field): (&String, &Detected)| {
        let parsers: Vec<&str> = field.parser.into_iter().collect();
        json!({
            "label": name, "type": kind_of(field.values.iter()), "cardinality": field.values.len(), "parsers": parsers,
        })
    };
    fields(answer).iter().map(one).collect()
}

/// The values of one field.
pub(super) fn detected_values(answer: &Answer, name: &str) -> Vec<String> {
    fields(answer).remove(name).map(|field| field.values.into_iter().collect()).unwrap_or_default()
}

/// The structured metadata of lines, and what JSON or logfmt has in them.
fn fields(answer: &Answer) -> BTreeMap<String, Detected> {
    let mut fields: BTreeMap<String, Detected> = BTreeMap::new();
    let Answer::Streams(streams) = answer else { return fields };
    for entry in streams.iter().flat_map(|stream| &stream.entries) {
        for (name, value) in entry.labels.metadata.iter().chain(entry.labels.parsed.iter()) {
            fields.entry(name.to_owned()).or_default().values.insert(value.to_owned());
        }
        let parser = if entry.line.trim_start().starts_with('{') { "json" } else { "logfmt" };
        for (name, value) in coracle_logql::pipeline::parsed_fields(parser, &entry.line) {
            // Words of prose are no fields.
            if parser == "logfmt" && value.is_empty() {
                continue;
            }
            let field = fields.entry(name).or_default();
            field.parser = Some(parser);
            field.values.insert(value);
        }
    }
    fields
}

/// The narrowest kind that all values are of.
fn kind_of<'v>(mut values: impl Iterator<Item = &'v String> + Clone) -> &'static str {
    use coracle_logql::go::{parse_bytes, parse_duration};
    type Is = fn(&str) -> bool;
    let all = |is: Is| values.clone().all(|value| is(value));
    let kinds: [(&str, Is); 5] = [
        ("int", |value| value.parse::<i64>().is_ok()),
        ("float", |value| value.parse::<f64>().is_ok()),
        ("boolean", |value| matches!(value, "true" | "false")),
        ("duration", |value| parse_duration(value).is_ok()),
        ("bytes", |value| parse_bytes(value).is_ok()),
    ];
    let kind = kinds.into_iter().find(|(_, is)| all(*is)).map(|(kind, _)| kind);
    values.next().and(kind).unwrap_or("string")
}
