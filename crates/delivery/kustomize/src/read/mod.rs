//! The kustomization file as types, with every unknown field refused.

pub(crate) mod generators;
pub(crate) mod replacements;

use coracle_yaml::decode::{DecodeError, Fields, Located, Manner};
use coracle_yaml::{Mark, Node};

use crate::fieldspec::FieldSpec;
use crate::id::Gvk;
use crate::order::Kinds;
use crate::select::Selector;
use generators::{Chart, ChartGlobals, Generator, GeneratorOptions, generator, generator_options};
use replacements::{Replacement, replacement_field};

pub(crate) type Text = Located<String>;
pub(crate) type Result<T> = std::result::Result<T, DecodeError>;

#[derive(Debug, Default)]
pub(crate) struct Kustomization {
    pub mark: Mark,
    pub is_component: bool,
    pub resources: Vec<Text>,
    pub components: Vec<Text>,
    pub crds: Vec<Text>,
    pub configurations: Vec<Text>,
    pub generators: Vec<Text>,
    pub transformers: Vec<Text>,
    pub validators: Vec<Text>,
    pub open_api_path: Option<Text>,
    pub open_api_version: Option<Text>,
    pub namespace: String,
    pub name_prefix: String,
    pub name_suffix: String,
    pub common_labels: Vec<(String, String)>,
    pub labels: Vec<Labels>,
    pub common_annotations: Vec<(String, String)>,
    pub config_maps: Vec<Generator>,
    pub secrets: Vec<Generator>,
    pub charts: Vec<Chart>,
    pub patches_strategic_merge: Vec<Text>,
    pub patches: Vec<Patch>,
    pub patches_json6902: Vec<Patch>,
    pub images: Vec<Image>,
    pub replicas: Vec<Replica>,
    pub replacements: Vec<(Replacement, Option<Text>)>,
    pub variables: Vec<Variable>,
    pub sort: Option<Sort>,
    pub build_metadata: Vec<String>,
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Labels {
    pub pairs: Vec<(String, String)>,
    pub include_selectors: bool,
    pub include_templates: bool,
    pub include_volume_claim_templates: bool,
    pub fields: Vec<FieldSpec>,
}

#[derive(Debug, Default)]
pub(crate) struct Patch {
    pub mark: Mark,
    pub path: Option<Text>,
    pub patch: Option<Text>,
    pub target: Option<Selector>,
    pub allow_name_change: bool,
    pub allow_kind_change: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub name: String,
    pub new_name: String,
    pub new_tag: String,
    pub tag_suffix: String,
    pub digest: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Replica {
    pub mark: Mark,
    pub name: String,
    pub count: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub mark: Mark,
    pub name: String,
    pub gvk: Gvk,
    pub object_name: String,
    pub object_namespace: String,
    pub field_path: String,
}

pub(crate) struct Sort {
    pub mark: Mark,
    pub order: String,
    pub kinds: Option<Kinds>,
}

impl std::fmt::Debug for Sort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sort({})", self.order)
    }
}

pub(crate) fn read(node: &Node) -> Result<Kustomization> {
    let mut fields = Fields::read(node, "", Manner::Json)?;
    let mut read = Kustomization { mark: node.mark, ..Kustomization::default() };
    read.read_kind(&mut fields)?;
    fields.node("metadata");
    read.read_sources(&mut fields)?;
    read.read_generators(&mut fields)?;
    read.read_transformers(&mut fields)?;
    read.read_replacements(&mut fields)?;
    if let Some(node) = fields.node("openapi") {
        let mut open_api = Fields::read(node, "openapi", Manner::Loose)?;
        read.open_api_path = open_api.text("path")?;
        read.open_api_version = open_api.text("version")?;
    }
    if let Some(node) = fields.node("sortOptions") {
        read.sort = Some(sort(node, Manner::Json)?);
    }
    read.build_metadata = plain(fields.texts("buildMetadata")?);
    fields.finish()?;
    Ok(read)
}

/// Whether a kustomization says nothing but what it is: the original refuses it.
pub(crate) fn is_empty(node: &Node) -> bool {
    let Some(mapping) = node.as_mapping() else { return node.is_null() };
    mapping.iter().all(|entry| {
        let is = |names: &[&str]| names.iter().any(|name| entry.key.eq_ignore_ascii_case(name));
        let no_text = entry.value.as_text().is_some_and(str::is_empty);
        let no_items = entry.value.as_sequence().is_some_and(<[Node]>::is_empty);
        is(&["kind", "apiVersion"])
            || entry.value.is_null()
            || (no_text && is(&["namespace", "namePrefix", "nameSuffix"]))
            || (no_items && is(&["bases", "imageTags", "helmChartInflationGenerator"]))
    })
}

impl Kustomization {
    fn read_kind(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        let kind = fields.text("kind")?.filter(|kind| !kind.value.is_empty());
        self.is_component = match kind.as_ref().map(|kind| kind.value.as_str()) {
            None | Some("Kustomization") => false,
            Some("Component") => true,
            Some(other) => {
                let mark = kind.as_ref().map_or_else(|| fields.mark(), |kind| kind.mark);
                let message = format!("kind should be Kustomization or Component, not {other:?}");
                return Err(DecodeError::new(mark, message));
            }
        };
        let version = if self.is_component { "v1alpha1" } else { "v1beta1" };
        let wanted = format!("kustomize.config.k8s.io/{version}");
        match fields.text("apiVersion")? {
            Some(version) if !version.value.is_empty() && version.value != wanted => {
                Err(DecodeError::new(version.mark, format!("apiVersion should be {wanted}, not {:?}", version.value)))
            }
            _ => Ok(()),
        }
    }

    fn read_sources(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        self.resources = fields.texts("resources")?;
        let bases = fields.node("bases").is_some();
        self.resources.extend(fields.texts("bases")?);
        self.deprecated(bases, "bases", "resources", "");
        self.components = fields.texts("components")?;
        self.crds = fields.texts("crds")?;
        self.configurations = fields.texts("configurations")?;
        self.generators = fields.texts("generators")?;
        self.transformers = fields.texts("transformers")?;
        self.validators = fields.texts("validators")?;
        Ok(())
    }

    fn read_generators(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        let global = match fields.node("generatorOptions") {
            Some(node) => generator_options(node, "generatorOptions", Manner::Json)?,
            None => GeneratorOptions::default(),
        };
        for (key, is_secret) in [("configMapGenerator", false), ("secretGenerator", true)] {
            let mut generators = Vec::new();
            for (index, node) in fields.list(key)?.iter().enumerate() {
                let mut generator = generator(node, &format!("{key}[{index}]"), is_secret, Manner::Json)?;
                generator.options.inherit(&global);
                generators.push(generator);
            }
            *(if is_secret { &mut self.secrets } else { &mut self.config_maps }) = generators;
        }
        let given = match fields.node("helmGlobals") {
            Some(node) => Some(ChartGlobals::read(node, Manner::Json)?),
            None => None,
        };
        for (index, node) in fields.list("helmCharts")?.iter().enumerate() {
            self.charts.push(Chart::read(node, &format!("helmCharts[{index}]"), Manner::Json)?);
        }
        let mut old_globals = ChartGlobals::default();
        for (index, node) in fields.list("helmChartInflationGenerator")?.iter().enumerate() {
            let path = format!("helmChartInflationGenerator[{index}]");
            self.charts.push(Chart::read_old(node, &path, &mut old_globals)?);
        }
        let globals = given.unwrap_or(old_globals);
        self.charts.iter_mut().for_each(|chart| chart.globals = globals.clone());
        Ok(())
    }

    fn read_transformers(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        self.namespace = fields.string("namespace")?;
        self.name_prefix = fields.string("namePrefix")?;
        self.name_suffix = fields.string("nameSuffix")?;
        self.common_labels = plain_map(fields.text_map("commonLabels")?);
        let used = fields.node("commonLabels").is_some();
        self.deprecated(used, "commonLabels", "labels", "");
        for (index, node) in fields.list("labels")?.iter().enumerate() {
            self.labels.push(labels(node, &format!("labels[{index}]"))?);
        }
        self.common_annotations = plain_map(fields.text_map("commonAnnotations")?);
        self.images = images(fields, "images")?;
        let used = fields.node("imageTags").is_some();
        self.images.extend(images(fields, "imageTags")?);
        self.deprecated(used, "imageTags", "images", "");
        let used = fields.node("patchesJson6902").is_some();
        self.patches_json6902 = patches(fields, "patchesJson6902")?;
        self.deprecated(used, "patchesJson6902", "patches", "");
        let used = fields.node("patchesStrategicMerge").is_some();
        self.patches_strategic_merge = fields.texts("patchesStrategicMerge")?;
        self.deprecated(used, "patchesStrategicMerge", "patches", "");
        self.patches = patches(fields, "patches")?;
        for (index, node) in fields.list("replicas")?.iter().enumerate() {
            self.replicas.push(replica(node, &format!("replicas[{index}]"), Manner::Json)?);
        }
        Ok(())
    }

    fn read_replacements(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        for (index, node) in fields.list("replacements")?.iter().enumerate() {
            let path = format!("replacements[{index}]");
            self.replacements.push(replacement_field(node, &path, Manner::Json)?);
        }
        let used = fields.node("vars").is_some();
        for (index, node) in fields.list("vars")?.iter().enumerate() {
            self.variables.push(variable(node, &format!("vars[{index}]"))?);
        }
        self.deprecated(used, "vars", "replacements", "[EXPERIMENTAL] ");
        Ok(())
    }

    fn deprecated(&mut self, used: bool, field: &str, instead: &str, tag: &str) {
        if used {
            self.warnings.push(format!(
                "# Warning: '{field}' is deprecated. Please use '{instead}' instead. \
                 {tag}Run 'kustomize edit fix' to update your Kustomization automatically."
            ));
        }
    }
}

pub(crate) fn plain(texts: Vec<Text>) -> Vec<String> {
    texts.into_iter().map(|text| text.value).collect()
}

pub(crate) fn plain_map(map: Vec<(String, Text)>) -> Vec<(String, String)> {
    map.into_iter().map(|(key, text)| (key, text.value)).collect()
}

pub(crate) fn gvk(fields: &mut Fields<'_>) -> Result<Gvk> {
    Ok(Gvk { group: fields.string("group")?, version: fields.string("version")?, kind: fields.string("kind")? })
}

pub(crate) fn field_spec(node: &Node, path: &str, manner: Manner) -> Result<FieldSpec> {
    let mut fields = Fields::read(node, path, manner)?;
    let spec = FieldSpec::new(gvk(&mut fields)?, &fields.string("path")?, fields.flag("create")?);
    fields.finish()?;
    Ok(spec)
}

pub(crate) fn field_specs(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<FieldSpec>> {
    let (path, manner) = (fields.path_of(key), fields.manner());
    let nodes = fields.list(key)?.iter().enumerate();
    nodes.map(|(index, node)| field_spec(node, &format!("{path}[{index}]"), manner)).collect()
}

fn labels(node: &Node, path: &str) -> Result<Labels> {
    let mut fields = Fields::read(node, path, Manner::Json)?;
    let labels = Labels {
        pairs: plain_map(fields.text_map("pairs")?),
        include_selectors: fields.flag("includeSelectors")?,
        include_templates: fields.flag("includeTemplates")?,
        include_volume_claim_templates: fields.flag("includeVolumeClaimTemplates")?,
        fields: field_specs(&mut fields, "fields")?,
    };
    fields.finish()?;
    Ok(labels)
}

fn patches(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<Patch>> {
    let nodes = fields.list(key)?.iter().enumerate();
    nodes.map(|(index, node)| patch(node, &format!("{key}[{index}]"), Manner::Json)).collect()
}

pub(crate) fn patch(node: &Node, path: &str, manner: Manner) -> Result<Patch> {
    let mut fields = Fields::read(node, path, manner)?;
    let not_empty = |text: Option<Text>| text.filter(|text| !text.value.is_empty());
    let mut patch = Patch {
        mark: node.mark,
        path: not_empty(fields.text("path")?),
        patch: not_empty(fields.text("patch")?),
        target: match fields.node("target") {
            Some(node) => Some(selector(node, &format!("{path}.target"), manner)?),
            None => None,
        },
        ..Patch::default()
    };
    if let Some(node) = fields.node("options") {
        let mut options = Fields::read(node, &format!("{path}.options"), manner)?;
        patch.allow_name_change = options.flag("allowNameChange")?;
        patch.allow_kind_change = options.flag("allowKindChange")?;
        options.finish()?;
    }
    fields.finish()?;
    Ok(patch)
}

pub(crate) fn selector(node: &Node, path: &str, manner: Manner) -> Result<Selector> {
    let mut fields = Fields::read(node, path, manner)?;
    let selector = Selector {
        mark: node.mark,
        gvk: gvk(&mut fields)?,
        name: fields.string("name")?,
        namespace: fields.string("namespace")?,
        labels: fields.string("labelSelector")?,
        annotations: fields.string("annotationSelector")?,
    };
    fields.finish()?;
    Ok(selector)
}

fn images(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<Image>> {
    let nodes = fields.list(key)?.iter().enumerate();
    nodes.map(|(index, node)| image(node, &format!("{key}[{index}]"), Manner::Json)).collect()
}

pub(crate) fn image(node: &Node, path: &str, manner: Manner) -> Result<Image> {
    let mut fields = Fields::read(node, path, manner)?;
    let image = Image {
        name: fields.string("name")?,
        new_name: fields.string("newName")?,
        new_tag: fields.string("newTag")?,
        tag_suffix: fields.string("tagSuffix")?,
        digest: fields.string("digest")?,
    };
    fields.finish()?;
    Ok(image)
}

pub(crate) fn replica(node: &Node, path: &str, manner: Manner) -> Result<Replica> {
    let mut fields = Fields::read(node, path, manner)?;
    let name = fields.string("name")?;
    let replica = Replica { mark: node.mark, name, count: fields.integer("count")?.unwrap_or_default() };
    fields.finish()?;
    Ok(replica)
}

fn variable(node: &Node, path: &str) -> Result<Variable> {
    let mut fields = Fields::read(node, path, Manner::Json)?;
    let mut variable = Variable {
        mark: node.mark,
        name: fields.string("name")?,
        gvk: Gvk::default(),
        object_name: String::new(),
        object_namespace: String::new(),
        field_path: String::new(),
    };
    if let Some(node) = fields.node("objref") {
        let mut object = Fields::read(node, &format!("{path}.objref"), Manner::Json)?;
        variable.gvk = gvk(&mut object)?;
        let api_version = object.string("apiVersion")?;
        match api_version.split('/').collect::<Vec<_>>().as_slice() {
            [group, version] => {
                (variable.gvk.group, variable.gvk.version) = ((*group).to_owned(), (*version).to_owned());
            }
            [version] if !version.is_empty() => variable.gvk.version = (*version).to_owned(),
            _ => {}
        }
        variable.object_name = object.string("name")?;
        variable.object_namespace = object.string("namespace")?;
        object.finish()?;
    }
    if let Some(node) = fields.node("fieldref") {
        let mut reference = Fields::read(node, &format!("{path}.fieldref"), Manner::Json)?;
        variable.field_path = reference.string("fieldPath")?;
        reference.finish()?;
    }
    if variable.field_path.is_empty() {
        variable.field_path = "metadata.name".to_owned();
    }
    fields.finish()?;
    Ok(variable)
}

pub(crate) fn sort(node: &Node, manner: Manner) -> Result<Sort> {
    let mut fields = Fields::read(node, "sortOptions", manner)?;
    let mut sort = Sort { mark: node.mark, order: fields.string("order")?, kinds: None };
    if let Some(node) = fields.node("legacySortOptions") {
        let mut options = Fields::read(node, "sortOptions.legacySortOptions", manner)?;
        let (first, last) = (plain(options.texts("orderFirst")?), plain(options.texts("orderLast")?));
        sort.kinds = Some(Kinds { first, last });
        options.finish()?;
    }
    fields.finish()?;
    Ok(sort)
}
