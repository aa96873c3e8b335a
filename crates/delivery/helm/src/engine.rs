//! Rendering: every template of a chart and its subcharts, each with the values of its own chart.

mod capabilities;
mod error;
mod files;
mod functions;
mod meta;
mod name;
mod parsed;

use std::{borrow::Cow, cell::Cell, collections::BTreeMap, rc::Rc};

use coracle_gotemplate::{Context, Dict, DictType, Limits, Value};

pub use capabilities::{Capabilities, KubeVersion};
pub use error::{Place, RenderError};
pub use functions::{Lookup, NoCluster, World};
pub use name::release_name;
pub(crate) use parsed::Parsed;

use crate::{Chart, Flavour, chart::File};
use files::Files;
use functions::HelmHost;

/// Templates may nest as deep as their thread's stack allows.
const ORDINARY_STACK_BYTES: usize = 1 << 20;
/// Of the 8 MiB that a process' main thread usually has.
const MAIN_STACK_BYTES: usize = 5 << 20;
const DEEP_STACK_BYTES: usize = 200 << 20;
const THREAD_STACK_BYTES: usize = 256 << 20;
/// What the whole of the output may come to.
const OUTPUT_LIMIT_BYTES: usize = 256 << 20;
/// Nodes walked and functions called in one render; the largest public charts need about a million.
const STEPS_LIMIT: u64 = 200_000_000;

/// What `.Release` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub name: String,
    pub namespace: String,
    pub is_upgrade: bool,
    pub revision: i64,
}

/// A template to run, and what it sees.
struct Renderable {
    file: File,
    scope: Rc<Dict>,
    base_path: String,
}

/// What all templates of a render have in common.
pub(crate) struct Job<'j> {
    pub chart: &'j Chart,
    /// The values of the root chart, coalesced.
    pub values: Rc<Dict>,
    pub release: &'j Release,
    pub capabilities: &'j Capabilities,
    pub flavour: Flavour,
    pub world: &'j mut dyn World,
}

/// The output of each template, by its path.
pub(crate) fn render(job: Job<'_>) -> Result<BTreeMap<String, String>, RenderError> {
    let templates = templates(&job);
    let rendered = run(job, &templates);
    release(&templates);
    rendered
}

/// Templates put what they see into itself (`set .Values "root" $`). Such rings would never be given back.
fn release(templates: &BTreeMap<String, Renderable>) {
    for template in templates.values() {
        let seen = std::mem::take(&mut *template.scope.entries_mut());
        if let Some(Value::Dict(values)) = seen.get("Values") {
            drop(std::mem::take(&mut *values.entries_mut()));
        }
    }
}

fn run(job: Job<'_>, templates: &BTreeMap<String, Renderable>) -> Result<BTreeMap<String, String>, RenderError> {
    let order = order(templates);
    let files: Vec<(&str, &File)> = order.iter().map(|name| (*name, &templates[*name].file)).collect();
    let set = job.chart.parsed.set(&files, job.flavour)?;
    let limits = Limits { stack_bytes: STACK.get(), output_bytes: OUTPUT_LIMIT_BYTES, steps: STEPS_LIMIT };
    let mut host = HelmHost::new(job.world);
    let mut context = Context::running(&mut host, set, limits);
    let mut rendered = BTreeMap::new();
    for name in order {
        if base_name(name).starts_with('_') {
            continue;
        }
        let template = &templates[name];
        let about = [("Name", Value::from(name)), ("BasePath", Value::from(template.base_path.as_str()))];
        let about = Dict::from_entries(DictType::Named(job.flavour.values_type()), about);
        template.scope.set("Template", Value::Dict(Rc::new(about)));
        let output = context
            .execute(name, &Value::Dict(template.scope.clone()))
            .map_err(|error| error::of_execution(name, &error, job.flavour).showing(|file| text_of(templates, file)))?;
        rendered.insert(name.to_owned(), without_no_value(output));
    }
    Ok(rendered)
}

thread_local! {
    /// How much stack this thread has for templates.
    static STACK: Cell<usize> = const { Cell::new(ORDINARY_STACK_BYTES) };
}

/// Runs `work` on the main thread of a process, whose stack is of the usual 8 MiB: enough for nearly every chart, and
/// sooner done than with a thread of its own. See [`crate::Error::is_too_deep`].
pub fn on_main_stack<T>(work: impl FnOnce() -> T) -> T {
    STACK.set(MAIN_STACK_BYTES);
    let done = work();
    STACK.set(ORDINARY_STACK_BYTES);
    done
}

/// Runs `work` on a thread whose stack is deep enough for templates that nest as deep as Helm lets them.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("helm-render".to_owned())
            .stack_size(THREAD_STACK_BYTES)
            .spawn_scoped(scope, || {
                STACK.set(DEEP_STACK_BYTES);
                work()
            })
            .expect("a thread can be started");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn text_of<'t>(templates: &'t BTreeMap<String, Renderable>, file: &str) -> Option<Cow<'t, str>> {
    templates.get(file).map(|template| String::from_utf8_lossy(&template.file.data))
}

/// Output as text, without the words Go prints where there is no value.
fn without_no_value(output: Vec<u8>) -> String {
    let text = match String::from_utf8(output) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    if text.contains(NO_VALUE) { text.replace(NO_VALUE, "") } else { text }
}

const NO_VALUE: &str = "<no value>";

fn base_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn templates(job: &Job<'_>) -> BTreeMap<String, Renderable> {
    let release = Value::dict([
        ("Name", Value::from(job.release.name.as_str())),
        ("Namespace", Value::from(job.release.namespace.as_str())),
        ("IsUpgrade", Value::Bool(job.release.is_upgrade)),
        ("IsInstall", Value::Bool(!job.release.is_upgrade)),
        ("Revision", Value::Int(job.release.revision)),
        ("Service", Value::from("Helm")),
    ]);
    let mut gather = Gather {
        flavour: job.flavour,
        release,
        capabilities: job.capabilities.to_value(job.flavour),
        templates: BTreeMap::new(),
    };
    gather.chart(job.chart, job.chart.name(), Value::Dict(as_values(&job.values, job.flavour)), true);
    gather.templates
}

/// The same table under the name Helm's own type has.
fn as_values(table: &Dict, flavour: Flavour) -> Rc<Dict> {
    Rc::new(Dict::from_entries(DictType::Named(flavour.values_type()), table.snapshot()))
}

struct Gather {
    flavour: Flavour,
    release: Value,
    capabilities: Value,
    templates: BTreeMap<String, Renderable>,
}

impl Gather {
    fn chart(&mut self, chart: &Chart, path: &str, values: Value, is_root: bool) -> Rc<Dict> {
        let subcharts: Rc<Dict> = Rc::default();
        let scope = Rc::new(Dict::from_entries(
            DictType::Named(self.flavour.values_type()),
            [
                ("Chart", meta::of(&chart.metadata, is_root, self.flavour)),
                ("Files", Files::of(&chart.files).into_value()),
                ("Release", self.release.clone()),
                ("Capabilities", self.capabilities.clone()),
                ("Values", values.clone()),
                ("Subcharts", Value::Dict(subcharts.clone())),
            ],
        ));
        for subchart in &chart.dependencies {
            let inner = match values.as_dict().and_then(|values| values.get(subchart.name())) {
                // The very table in the parent's values, so that what templates set is seen from both sides.
                Some(Value::Dict(inner)) => inner,
                _ => Rc::new(Dict::new(DictType::Named(self.flavour.values_type()))),
            };
            let path = format!("{path}/charts/{}", subchart.name());
            let scope = self.chart(subchart, &path, Value::Dict(inner), false);
            subcharts.set(subchart.name(), Value::Dict(scope));
        }
        for file in &chart.templates {
            if chart.is_library() && !base_name(&file.name).starts_with('_') {
                continue;
            }
            let renderable =
                Renderable { file: file.clone(), scope: scope.clone(), base_path: format!("{path}/templates") };
            self.templates.insert(format!("{path}/{}", clean(&file.name)), renderable);
        }
        scope
    }
}

/// `path.Clean`, of a name that does not climb.
fn clean(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

/// The order in which templates are parsed and run: the deepest first, each level backwards.
fn order(templates: &BTreeMap<String, Renderable>) -> Vec<&str> {
    let mut names: Vec<&str> = templates.keys().map(String::as_str).collect();
    names.sort_by_key(|name| (std::cmp::Reverse(name.matches('/').count()), std::cmp::Reverse(*name)));
    names
}
