//! Charts from files.

mod archive;
mod directory;
mod ignore;

use std::{collections::BTreeMap, path::Path, rc::Rc};

use crate::{
    Excerpt, Flavour, Warnings, YamlError,
    chart::{Chart, File},
    metadata::{self, Metadata, ValidationError},
    values,
};

/// Subcharts within subcharts deeper than this are refused.
const DEPTH_LIMIT: u32 = 64;
/// As Helm has it.
pub const SIZE_LIMIT_BYTES: u64 = 100 << 20;
pub const FILE_SIZE_LIMIT_BYTES: u64 = 5 << 20;

/// Why a chart cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Io(String),
    #[error("{0}")]
    Archive(String),
    #[error("Chart.yaml file is missing")]
    NoChart,
    #[error("cannot load {file}: {source}")]
    Yaml { file: &'static str, source: YamlError },
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    #[error("error unpacking subchart {subchart} in {chart}: {source}")]
    Subchart { subchart: String, chart: String, source: Box<LoadError> },
    #[error("subcharts are nested more than {DEPTH_LIMIT} deep")]
    TooDeep,
}

impl LoadError {
    /// The line it is about, where it is about one.
    pub fn excerpt(&self) -> Option<Excerpt> {
        match self {
            LoadError::Yaml { file, source } => source.excerpt(file),
            LoadError::Subchart { subchart, source, .. } => {
                let inner = source.excerpt()?;
                Some(Excerpt { file: format!("charts/{subchart}/{}", inner.file), ..inner })
            }
            _ => None,
        }
    }
}

/// Loads a chart from a directory or an archive.
pub fn load(path: &Path, flavour: Flavour, warnings: &mut Warnings) -> Result<Chart, LoadError> {
    let shown = path.display();
    let metadata = std::fs::metadata(path)
        .map_err(|error| LoadError::Io(format!("stat {shown}: {}", crate::io_error_text(&error))))?;
    if metadata.is_dir() {
        let found = directory::read(path)?;
        if flavour == Flavour::Helm4 && !found.iter().any(|file| file.name == "Chart.yaml") {
            let file = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).join("Chart.yaml");
            let file = file.display();
            let message = format!("unable to detect chart at {file}: open {file}: no such file or directory");
            return Err(LoadError::Io(message));
        }
        return files(found, flavour, warnings);
    }
    let bytes = std::fs::read(path)
        .map_err(|error| LoadError::Io(format!("open {shown}: {}", crate::io_error_text(&error))))?;
    if !bytes.starts_with(b"\x1f\x8b\x08") {
        let name = path.to_string_lossy();
        let message = if name.ends_with(".yml") || name.ends_with(".yaml") {
            format!("file '{shown}' seems to be a YAML file, but expected a gzipped archive")
        } else {
            format!("file '{shown}' does not appear to be a gzipped archive; got '{}'", content_type(&bytes))
        };
        return Err(LoadError::Archive(message));
    }
    archive(&bytes, flavour, warnings)
}

/// The files of a chart's directory that its `.helmignore` leaves.
pub fn directory(path: &Path) -> Result<Vec<File>, LoadError> {
    directory::read(path)
}

/// What Go's sniffing calls bytes that are no archive; only the two common answers.
fn content_type(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(512)];
    let is_text = head.iter().all(|byte| !matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f));
    if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" }
}

/// Loads a chart from a `.tgz`.
pub fn archive(bytes: &[u8], flavour: Flavour, warnings: &mut Warnings) -> Result<Chart, LoadError> {
    files(archive::read(bytes)?, flavour, warnings)
}

/// Puts a chart together from those of its files that its `.helmignore` leaves.
pub fn filtered(mut all: Vec<File>, flavour: Flavour, warnings: &mut Warnings) -> Result<Chart, LoadError> {
    let rules = match all.iter().find(|file| file.name == ".helmignore") {
        Some(file) => ignore::Rules::parse(&text(file)).map_err(LoadError::Io)?,
        None => ignore::Rules::default(),
    };
    let rules = rules.with_defaults();
    all.retain(|file| {
        let directories = file.name.match_indices('/').map(|(end, _)| &file.name[..end]);
        !rules.ignores(&file.name, false) && !directories.into_iter().any(|directory| rules.ignores(directory, true))
    });
    files(all, flavour, warnings)
}

/// Puts a chart together from its files.
pub fn files(files: Vec<File>, flavour: Flavour, warnings: &mut Warnings) -> Result<Chart, LoadError> {
    Loader { flavour, warnings }.assemble(files, 0)
}

struct Loader<'w> {
    flavour: Flavour,
    warnings: &'w mut Warnings,
}

impl Loader<'_> {
    fn assemble(&mut self, files: Vec<File>, depth: u32) -> Result<Chart, LoadError> {
        if depth > DEPTH_LIMIT {
            return Err(LoadError::TooDeep);
        }
        let mut metadata = chart_yaml(&files)?;
        let mut chart = Chart {
            metadata: Metadata::default(),
            values: Rc::default(),
            schema: None,
            templates: Vec::new(),
            files: Vec::new(),
            dependencies: Vec::new(),
            parsed: Rc::default(),
        };
        let mut subcharts: BTreeMap<String, Vec<File>> = BTreeMap::new();
        for file in files {
            let is_v1 = metadata.as_ref().is_some_and(|metadata| metadata.api_version == "v1");
            match file.name.as_str() {
                "Chart.yaml" | "Chart.lock" => {}
                "values.yaml" => {
                    chart.values = values::read(&text(&file), self.flavour)
                        .map_err(|source| LoadError::Yaml { file: "values.yaml", source })?;
                }
                "values.schema.json" => chart.schema = Some(file.data),
                "requirements.yaml" => {
                    if !is_v1 {
                        self.warnings.add(
                            "Warning: Dependencies are handled in Chart.yaml since apiVersion \"v2\". We recommend \
                         migrating dependencies to Chart.yaml.",
                        );
                    }
                    let metadata = metadata.get_or_insert_default();
                    metadata::read(&text(&file), metadata)
                        .map_err(|source| LoadError::Yaml { file: "requirements.yaml", source })?;
                    if is_v1 {
                        chart.files.push(file);
                    }
                }
                "requirements.lock" => {
                    if is_v1 {
                        chart.files.push(file);
                    }
                }
                name if name.starts_with("templates/") => chart.templates.push(file),
                name if name.starts_with("charts/") && name.ends_with(".prov") => chart.files.push(file),
                name => match name.strip_prefix("charts/") {
                    Some(rest) => {
                        let subchart = rest.split('/').next().unwrap_or(rest).to_owned();
                        let file = File { name: rest.to_owned(), data: file.data };
                        subcharts.entry(subchart).or_default().push(file);
                    }
                    None => chart.files.push(file),
                },
            }
        }
        chart.metadata = metadata.ok_or(LoadError::NoChart)?;
        chart.metadata.validate()?;
        for (name, files) in subcharts {
            if name.starts_with(['_', '.']) {
                continue;
            }
            let loaded = self.subchart(&name, files, depth + 1).map_err(|source| LoadError::Subchart {
                subchart: name.clone(),
                chart: chart.metadata.name.clone(),
                source: Box::new(source),
            })?;
            chart.dependencies.push(loaded);
        }
        Ok(chart)
    }

    fn subchart(&mut self, name: &str, files: Vec<File>, depth: u32) -> Result<Chart, LoadError> {
        if name.ends_with(".tgz") {
            let file = files.into_iter().next().expect("a subchart is known by a file of it");
            return self.assemble(archive::read(&file.data)?, depth);
        }
        let inner = files.into_iter().filter_map(|file| {
            let (_, rest) = file.name.split_once('/')?;
            Some(File { name: rest.to_owned(), data: file.data.clone() })
        });
        self.assemble(inner.collect(), depth)
    }
}

fn chart_yaml(files: &[File]) -> Result<Option<Metadata>, LoadError> {
    let Some(file) = files.iter().find(|file| file.name == "Chart.yaml") else { return Ok(None) };
    let mut metadata = Metadata::default();
    metadata::read(&text(file), &mut metadata).map_err(|source| LoadError::Yaml { file: "Chart.yaml", source })?;
    if metadata.api_version.is_empty() {
        "v1".clone_into(&mut metadata.api_version);
    }
    Ok(Some(metadata))
}

fn text(file: &File) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&file.data)
}

/// File contents without a byte order mark.
fn contents(bytes: Vec<u8>) -> std::sync::Arc<[u8]> {
    match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => rest.into(),
        None => bytes.into(),
    }
}
