//! A chart as it was loaded.

use std::{rc::Rc, sync::Arc};

use coracle_gotemplate::Dict;

use crate::{engine::Parsed, metadata::Metadata};

/// A file of a chart; its name is relative to the chart's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub data: Arc<[u8]>,
}

/// A chart and the charts in its `charts/`. Copies are cheap.
#[derive(Clone)]
pub struct Chart {
    pub metadata: Metadata,
    /// `values.yaml`.
    pub values: Rc<Dict>,
    /// `values.schema.json`.
    pub schema: Option<Arc<[u8]>>,
    /// What is under `templates/`.
    pub templates: Vec<File>,
    /// Everything that is none of the above.
    pub files: Vec<File>,
    pub dependencies: Vec<Chart>,
    /// The templates, as far as they have been parsed; copies share it.
    pub(crate) parsed: Rc<Parsed>,
}

impl Chart {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// How many templates have been parsed for this chart and its copies so far: each once, however many renders there are.
    pub fn templates_parsed(&self) -> usize {
        self.parsed.count()
    }

    pub(crate) fn is_library(&self) -> bool {
        self.metadata.chart_type.eq_ignore_ascii_case("library")
    }

    /// The files in `crds/` that are manifests, its own and its subcharts', with their paths from the root chart.
    pub(crate) fn crds(&self, path: &str) -> Vec<(String, Arc<[u8]>)> {
        let is_manifest = |name: &str| {
            let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
            matches!(extension.as_deref(), Some("yaml" | "yml" | "json"))
        };
        let own = self.files.iter().filter(|file| file.name.starts_with("crds/") && is_manifest(&file.name));
        let mut crds: Vec<_> = own.map(|file| (format!("{path}/{}", file.name), file.data.clone())).collect();
        for subchart in &self.dependencies {
            crds.extend(subchart.crds(&format!("{path}/charts/{}", subchart.name())));
        }
        crds
    }
}
