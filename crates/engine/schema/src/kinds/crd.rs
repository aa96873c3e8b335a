//! The kinds a CustomResourceDefinition defines, one for each of its versions.

use std::io::Write as _;
use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use super::{ALL, Kind, STATUS, Subresource, subresource};
use crate::types::{self, SchemaError};

/// A definition that cannot be served.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CrdError {
    #[error("{0}: Required value")]
    Missing(&'static str),
    #[error("spec.versions[{version}].schema.openAPIV3Schema{source}")]
    Schema { version: String, source: SchemaError },
}

/// What a definition says of a kind beyond its schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomFacts {
    pub columns: Vec<PrinterColumn>,
    pub scale: Option<ScalePaths>,
    /// JSON paths such as `.spec.colour`.
    pub selectable_fields: Vec<String>,
    /// Sent as a Warning header when set.
    pub deprecation_warning: Option<String>,
    /// The schema as it was written, compressed: only OpenAPI documents need its descriptions.
    pub(crate) packed_schema: Arc<[u8]>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrinterColumn {
    pub name: String,
    /// integer, number, string, boolean or date.
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    pub json_path: String,
}

/// Where a custom resource keeps what its scale subresource shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: String,
    pub status_replicas: String,
    pub label_selector: Option<String>,
}

/// One version of a definition.
#[derive(Clone, Debug)]
pub struct CrdVersion {
    pub kind: Arc<Kind>,
    pub served: bool,
    pub storage: bool,
}

impl Kind {
    /// Reads all versions of a CustomResourceDefinition (apiextensions.k8s.io/v1).
    pub fn from_crd(crd: &Value) -> Result<Vec<CrdVersion>, CrdError> {
        let spec = &crd["spec"];
        let versions = spec["versions"].as_array().ok_or(CrdError::Missing("spec.versions"))?;
        versions.iter().map(|version| read_version(spec, version)).collect()
    }
}

fn read_version(spec: &Value, version: &Value) -> Result<CrdVersion, CrdError> {
    let names = &spec["names"];
    let need = |value: &Value, path| value.as_str().map(str::to_owned).ok_or(CrdError::Missing(path));
    let kind = need(&names["kind"], "spec.names.kind")?;
    let name = need(&version["name"], "spec.versions[].name")?;
    let preserve = spec["preserveUnknownFields"] == Value::Bool(true);
    let schema = version["schema"].get("openAPIV3Schema").filter(|_| !preserve);
    let schema = types::parse(schema, true).map_err(|source| CrdError::Schema { version: name.clone(), source })?;
    let strings = |value: &Value| {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(|s| s.to_owned().into())).collect()
    };
    let text = |value: &Value, default: String| value.as_str().map_or(default, str::to_owned).into();
    let custom = custom_facts(spec, version);
    let mut subresources: Vec<Subresource> = Vec::new();
    if version["subresources"]["status"].is_object() {
        subresources.push(Subresource { name: "status", body: None, verbs: STATUS });
    }
    if custom.scale.is_some() {
        subresources.extend(subresource("scale", &kind));
    }
    let described = Kind {
        group: need(&spec["group"], "spec.group")?.into(),
        version: name.into(),
        list_kind: text(&names["listKind"], format!("{kind}List")),
        plural: need(&names["plural"], "spec.names.plural")?.into(),
        singular: text(&names["singular"], kind.to_lowercase()),
        kind: kind.into(),
        short_names: strings(&names["shortNames"]),
        categories: strings(&names["categories"]),
        namespaced: spec["scope"] != "Cluster",
        verbs: ALL,
        subresources,
        schema,
        custom: Some(custom),
    };
    Ok(CrdVersion {
        kind: Arc::new(described),
        served: version["served"] == Value::Bool(true),
        storage: version["storage"] == Value::Bool(true),
    })
}

fn pack(schema: Option<&Value>) -> Arc<[u8]> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let text = schema.map(Value::to_string).unwrap_or_default();
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("writing to memory cannot fail").into()
}

fn custom_facts(spec: &Value, version: &Value) -> CustomFacts {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let columns = version["additionalPrinterColumns"].as_array().map(Vec::as_slice).unwrap_or_default();
    let scale = &version["subresources"]["scale"];
    let deprecated = version["deprecated"] == Value::Bool(true);
    let warning = || {
        let default = || {
            format!(
                "{}/{} {} is deprecated",
                text(&spec["group"]),
                text(&version["name"]),
                text(&spec["names"]["kind"])
            )
        };
        version["deprecationWarning"].as_str().map_or_else(default, str::to_owned)
    };
    CustomFacts {
        columns: columns
            .iter()
            .map(|column| PrinterColumn {
                name: text(&column["name"]),
                kind: text(&column["type"]),
                format: text(&column["format"]),
                description: text(&column["description"]),
                priority: column["priority"].as_i64().unwrap_or(0),
                json_path: text(&column["jsonPath"]),
            })
            .collect(),
        scale: scale.is_object().then(|| ScalePaths {
            spec_replicas: text(&scale["specReplicasPath"]),
            status_replicas: text(&scale["statusReplicasPath"]),
            label_selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
        }),
        selectable_fields: version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|field| text(&field["jsonPath"]))
            .collect(),
        deprecation_warning: deprecated.then(warning),
        packed_schema: pack(version["schema"].get("openAPIV3Schema")),
    }
}
