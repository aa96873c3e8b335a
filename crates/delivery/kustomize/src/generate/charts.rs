//! `helmCharts`: what to render is worked out here, rendering is left to who can.

use coracle_yaml::{Mark, Node, Repeated, Value};

use crate::documents::{self, Place};
use crate::error::Error;
use crate::files::join;
use crate::load::Root;
use crate::options::ChartRequest;
use crate::read::generators::Chart;
use crate::resource::Resource;

/// Where charts are, unless a kustomization says otherwise.
const DEFAULT_HOME: &str = "charts";

pub(super) fn render(root: &Root<'_>, chart: &Chart) -> Result<Vec<Resource>, Error> {
    let error = |message: String| root.session.at(chart.mark, message);
    let Some(charts) = root.session.options.charts else {
        return Err(error("Helm charts are not rendered unless that is asked for (--enable-helm)".to_owned()));
    };
    let request = request(root, chart)?;
    let files = root.tree.files();
    let directory = join(&request.home, &chart.name).unwrap_or_default();
    if !files.is_directory(&directory) && chart.repository.is_empty() {
        return Err(error(format!("there is no chart at {directory:?}, and no repo to take it from")));
    }
    let rendered = charts
        .render(files, &request)
        .map_err(|reason| error(format!("the chart {:?} does not render: {reason}", chart.name)))?;
    let name = format!("chart {}", chart.name);
    let mut resources = documents::resources(root.session, &rendered, Place { file: &name, line_before: 0 })?;
    resources.iter_mut().for_each(Resource::set_from_helm);
    Ok(resources)
}

fn request(root: &Root<'_>, chart: &Chart) -> Result<ChartRequest, Error> {
    let error = |mark: Mark, message: String| root.session.at(mark, message);
    if chart.name.is_empty() {
        return Err(error(chart.mark, "a chart needs a name".to_owned()));
    }
    for (field, value) in [("name", &chart.name), ("releaseName", &chart.release_name)] {
        if value.starts_with('-') {
            return Err(error(chart.mark, format!("{field} must not begin with '-', found {value:?}")));
        }
    }
    let home = if chart.globals.home.is_empty() { DEFAULT_HOME } else { &chart.globals.home };
    let mut home = join(&root.directory, home)
        .ok_or_else(|| error(chart.mark, format!("chartHome: {home:?} leads outside the tree")))?;
    if !chart.version.is_empty() && !chart.repository.is_empty() {
        home = format!("{home}/{}-{}", chart.name, chart.version);
    }
    let mut values_files = Vec::new();
    for file in &chart.additional_values_files {
        let content = root.load(&file.value).map_err(|reason| error(file.mark, reason.message()))?;
        values_files.push(content);
    }
    Ok(ChartRequest {
        name: chart.name.clone(),
        version: chart.version.clone(),
        repository: chart.repository.clone(),
        values: values(root, chart, &home)?,
        home,
        release_name: chart.release_name.clone(),
        namespace: chart.namespace.clone(),
        name_template: chart.name_template.clone(),
        values_files,
        include_crds: chart.include_crds,
        skip_hooks: chart.skip_hooks,
        skip_tests: chart.skip_tests,
        api_versions: chart.api_versions.clone(),
        kube_version: chart.kube_version.clone(),
        devel: chart.devel,
    })
}

/// The values file, the chart's own unless another is named, with the values of the kustomization merged in.
fn values(root: &Root<'_>, chart: &Chart, home: &str) -> Result<Option<Node>, Error> {
    let inline = chart.values_inline.as_ref();
    let merge_mode = match chart.values_merge.as_str() {
        "" | "override" => Mode::Override,
        "merge" => Mode::Merge,
        "replace" => Mode::Replace,
        other => {
            let message = format!("valuesMerge: expected merge, override or replace, found {other:?}");
            return Err(root.session.at(chart.mark, message));
        }
    };
    if merge_mode == Mode::Replace && inline.is_some_and(|inline| inline.as_mapping().is_some_and(|m| !m.is_empty())) {
        return Ok(inline.cloned());
    }
    let Some(from_file) = values_file(root, chart, home)? else { return Ok(inline.cloned()) };
    let Some(inline) = inline else { return Ok(Some(from_file)) };
    Ok(Some(match merge_mode {
        Mode::Merge => merged(inline.clone(), &from_file),
        _ => merged(from_file, inline),
    }))
}

#[derive(PartialEq, Eq)]
enum Mode {
    Override,
    Merge,
    Replace,
}

fn values_file(root: &Root<'_>, chart: &Chart, home: &str) -> Result<Option<Node>, Error> {
    let (name, bytes) = match &chart.values_file {
        Some(file) => root.load(&file.value).map_err(|reason| root.session.at(file.mark, reason.message()))?,
        None => {
            let directory = format!("{home}/{}", chart.name);
            let path = format!("{directory}/values.yaml");
            let files = root.tree.files();
            match files.read(&path) {
                Some(bytes) => (path, bytes),
                // As with the original, which reads the file before Helm does.
                None if files.is_directory(&directory) => {
                    return Err(root.session.at(chart.mark, format!("the chart has no values file: {path}")));
                }
                None => return Ok(None),
            }
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| root.session.at(chart.mark, format!("{name}: not UTF-8 text")))?;
    let file = root.session.file_id(&name, &text);
    let node = coracle_yaml::parse_first(&text, Mark { file, line: 1, column: 1 }, Repeated::Refused);
    node.map_err(|error| root.session.at(error.mark, format!("this is not YAML: {}", error.message)))
}

/// Both in one; what `over` has wins, and its nulls take away.
fn merged(mut under: Node, over: &Node) -> Node {
    let (Value::Mapping(target), Value::Mapping(entries)) = (&mut under.value, &over.value) else {
        return over.clone();
    };
    for entry in entries.iter() {
        if entry.value.is_null() {
            target.remove(&entry.key);
            continue;
        }
        let value = match target.remove(&entry.key) {
            Some(old) => merged(old, &entry.value),
            None => merged(Node::mapping(), &entry.value),
        };
        target.insert(&entry.key, value);
    }
    under
}
