//! Content negotiation: what representation a client wants back.

use http::{HeaderMap, header};

use crate::{request::query::Query, status::Failure};

/// What client-go asks for first.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// How an object is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// As it is.
    #[default]
    Whole,
    /// As rows for a person.
    Table,
    /// Only its metadata.
    Partial,
}

/// How bytes are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// JSON.
    #[default]
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf.
    Protobuf,
}

/// The representation a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accept {
    /// How the object is shown.
    pub shape: Shape,
    /// How it is written.
    pub format: Format,
    /// `v1` or `v1beta1` of meta.k8s.io, for tables and partial objects.
    pub beta: bool,
    /// Indent for people.
    pub pretty: bool,
}

/// One entry of an Accept header.
#[derive(Debug, PartialEq)]
pub struct MediaRange<'a> {
    /// `application/json`.
    pub media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> MediaRange<'a> {
    /// Reads one entry.
    pub fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters =
            parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(k, v)| (k.trim(), v.trim())).collect();
        Self { media_type, parameters }
    }

    /// A parameter's value, empty when absent.
    pub fn parameter(&self, key: &str) -> &'a str {
        self.parameters.iter().find(|(k, _)| *k == key).map_or("", |(_, v)| v)
    }

    fn quality(&self) -> f32 {
        self.parameter("q").parse().unwrap_or(1.0)
    }
}

/// The entries of all Accept headers, best first; the order stands where the client has no preference.
pub fn ranges(headers: &HeaderMap) -> Vec<MediaRange<'_>> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges: Vec<_> = values
        .flat_map(|value| value.split(','))
        .filter(|entry| !entry.trim().is_empty())
        .map(MediaRange::parse)
        .collect();
    ranges.sort_by(|a, b| b.quality().total_cmp(&a.quality()));
    ranges
}

impl Accept {
    /// What the client gets, or 406 when it takes nothing that is served. Custom resources have no protobuf form.
    pub fn negotiate(headers: &HeaderMap, query: &Query, with_protobuf: bool) -> Result<Self, Failure> {
        let pretty = query.flag("pretty");
        let ranges = ranges(headers);
        if ranges.is_empty() {
            return Ok(Self { pretty, ..Self::default() });
        }
        let mut served = ranges
            .iter()
            .filter_map(Self::from_range)
            .filter(|accept| with_protobuf || accept.format != Format::Protobuf);
        let found = served.next().ok_or_else(|| Failure::not_acceptable(with_protobuf))?;
        Ok(Self { pretty, ..found })
    }

    fn from_range(range: &MediaRange<'_>) -> Option<Self> {
        let format = match range.media_type {
            "application/json" | "*/*" | "application/*" | "text/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            PROTOBUF => Format::Protobuf,
            _ => return None,
        };
        let shape = match range.parameter("as") {
            "" => Shape::Whole,
            "Table" => Shape::Table,
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Shape::Partial,
            _ => return None,
        };
        if shape != Shape::Whole
            && (range.parameter("g") != "meta.k8s.io" || !matches!(range.parameter("v"), "v1" | "v1beta1"))
        {
            return None;
        }
        // A table's cells may be anything, and protobuf has no message for that.
        if shape == Shape::Table && format == Format::Protobuf {
            return None;
        }
        Some(Self { shape, format, beta: range.parameter("v") == "v1beta1", pretty: false })
    }

    /// `Content-Type` of an answer in this representation.
    pub fn content_type(self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
            Format::Protobuf => PROTOBUF,
        }
    }

    /// `Content-Type` of a stream of events in this representation.
    pub fn stream_type(self) -> &'static str {
        match self.format {
            Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            _ => "application/json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &str) -> Option<(Shape, Format)> {
        negotiate_for(accept, false)
    }

    fn negotiate_for(accept: &str, with_protobuf: bool) -> Option<(Shape, Format)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Accept::negotiate(&headers, &Query::default(), with_protobuf).ok().map(|a| (a.shape, a.format))
    }

    #[test]
    fn protobuf_is_for_what_has_messages() {
        let accept = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(negotiate_for(accept, true), Some((Shape::Whole, Format::Protobuf)));
        assert_eq!(negotiate_for(accept, false), Some((Shape::Whole, Format::Json)));
        let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1";
        assert_eq!(negotiate_for(table, true), Some((Shape::Table, Format::Json)));
    }

    #[test]
    fn the_best_served_representation_wins() {
        assert_eq!(
            negotiate(
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
            ),
            Some((Shape::Table, Format::Json))
        );
        assert_eq!(
            negotiate("application/vnd.kubernetes.protobuf, application/json"),
            Some((Shape::Whole, Format::Json))
        );
        assert_eq!(negotiate("application/yaml"), Some((Shape::Whole, Format::Yaml)));
        assert_eq!(negotiate("application/json;q=0.1,application/yaml;q=0.9"), Some((Shape::Whole, Format::Yaml)));
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf"), None);
        assert_eq!(
            negotiate(
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
            ),
            Some((Shape::Partial, Format::Json))
        );
    }
}
