//! The kustomization file as types, with every unknown field refused.

use coracle_yaml::decode::{DecodeError, Fields, Located};
use coracle_yaml::{Mark, Node};

use crate::fieldspec::FieldSpec;
use crate::resource::Behavior;

type Text = Located<String>;
type Result<T> = std::result::Result<T, DecodeError>;

#[derive(Debug, Default)]
pub(crate) struct Kustomization {
    pub is_component: bool,
    pub resources: Vec<Text>,
    pub components: Vec<Text>,
    pub namespace: Option<Text>,
    pub name_prefix: String,
    pub name_suffix: String,
    pub common_labels: Vec<(String, Text)>,
    pub labels: Vec<Labels>,
    pub common_annotations: Vec<(String, Text)>,
    pub config_maps: Vec<Generator>,
    pub secrets: Vec<Generator>,
    pub patches_strategic_merge: Vec<Text>,
    pub patches: Vec<Patch>,
    pub patches_json6902: Vec<Patch>,
    pub images: Vec<Image>,
    pub replicas: Vec<Replica>,
    pub sort_order: Option<Text>,
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Labels {
    pub pairs: Vec<(String, Text)>,
    pub include_selectors: bool,
    pub include_templates: bool,
    pub include_volume_claim_templates: bool,
    pub fields: Vec<FieldSpec>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub labels: Vec<(String, Text)>,
    pub annotations: Vec<(String, Text)>,
    pub disable_name_suffix_hash: bool,
    pub immutable: bool,
}

#[derive(Debug)]
pub(crate) struct Generator {
    pub mark: Mark,
    pub name: String,
    pub namespace: String,
    pub behavior: Behavior,
    pub secret_type: String,
    pub literals: Vec<Text>,
    pub files: Vec<Text>,
    pub envs: Vec<Text>,
    pub options: Options,
}

#[derive(Debug)]
pub(crate) struct Patch {
    pub mark: Mark,
    pub path: Option<Text>,
    pub patch: Option<Text>,
    pub target: Option<Selector>,
    pub allow_name_change: bool,
    pub allow_kind_change: bool,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Selector {
    pub mark: Mark,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub label_selector: String,
    pub annotation_selector: String,
}

#[derive(Debug)]
pub(crate) struct Image {
    pub name: String,
    pub new_name: String,
    pub new_tag: String,
    pub tag_suffix: String,
    pub digest: String,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub mark: Mark,
    pub name: String,
    pub count: i64,
}

/// Fields kustomize has and this room does not, yet.
const NOT_YET: [&str; 13] = [
    "replacements",
    "vars",
    "configurations",
    "crds",
    "openapi",
    "helmCharts",
    "helmGlobals",
    "helmChartInflationGenerator",
    "generators",
    "transformers",
    "validators",
    "buildMetadata",
    "legacySortOptions",
];

pub(crate) fn read(node: &Node) -> Result<Kustomization> {
    let mut fields = Fields::of(node, "")?;
    let mut read = Kustomization::default();
    read.read_kind(&mut fields)?;
    fields.node("metadata");
    for field in NOT_YET {
        if let Some(node) = fields.node(field) {
            return Err(DecodeError::new(node.mark, format!("the field {field:?} is not supported yet")));
        }
    }
    read.read_sources(&mut fields)?;
    read.read_transformers(&mut fields)?;
    if let Some(sort) = fields.node("sortOptions") {
        let mut options = Fields::of(sort, "sortOptions")?;
        read.sort_order = options.text("order")?;
        options.finish()?;
    }
    fields.finish()?;
    Ok(read)
}

impl Kustomization {
    fn read_kind(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        let kind = fields.text("kind")?;
        self.is_component = match kind.as_ref().map(|kind| kind.value.as_str()) {
            None | Some("Kustomization") => false,
            Some("Component") => true,
            Some(other) => {
                let mark = kind.as_ref().map_or_else(|| fields.mark(), |kind| kind.mark);
                return Err(DecodeError::new(
                    mark,
                    format!("kind should be Kustomization or Component, not {other:?}"),
                ));
            }
        };
        let wanted =
            if self.is_component { "kustomize.config.k8s.io/v1alpha1" } else { "kustomize.config.k8s.io/v1beta1" };
        match fields.text("apiVersion")? {
            Some(version) if version.value != wanted => {
                Err(DecodeError::new(version.mark, format!("apiVersion should be {wanted}, not {:?}", version.value)))
            }
            _ => Ok(()),
        }
    }

    fn read_sources(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        self.resources = fields.texts("resources")?;
        let bases = fields.texts("bases")?;
        self.deprecated(!bases.is_empty(), "bases", "resources");
        self.resources.extend(bases);
        self.components = fields.texts("components")?;
        let global = match fields.node("generatorOptions") {
            Some(node) => options(node, "generatorOptions")?,
            None => Options::default(),
        };
        for (key, is_secret) in [("configMapGenerator", false), ("secretGenerator", true)] {
            let mut generators = Vec::new();
            for (index, node) in fields.list(key)?.iter().enumerate() {
                generators.push(generator(node, &format!("{key}[{index}]"), is_secret, &global)?);
            }
            if is_secret {
                self.secrets = generators;
            } else {
                self.config_maps = generators;
            }
        }
        Ok(())
    }

    fn read_transformers(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        self.namespace = fields.text("namespace")?.filter(|name| !name.value.is_empty());
        self.name_prefix = fields.string("namePrefix")?;
        self.name_suffix = fields.string("nameSuffix")?;
        self.common_labels = fields.text_map("commonLabels")?;
        self.deprecated(!self.common_labels.is_empty(), "commonLabels", "labels");
        for (index, node) in fields.list("labels")?.iter().enumerate() {
            self.labels.push(labels(node, &format!("labels[{index}]"))?);
        }
        self.common_annotations = fields.text_map("commonAnnotations")?;
        self.patches_strategic_merge = fields.texts("patchesStrategicMerge")?;
        self.deprecated(!self.patches_strategic_merge.is_empty(), "patchesStrategicMerge", "patches");
        self.patches = patches(fields, "patches")?;
        self.patches_json6902 = patches(fields, "patchesJson6902")?;
        self.deprecated(!self.patches_json6902.is_empty(), "patchesJson6902", "patches");
        self.images = images(fields, "images")?;
        let image_tags = images(fields, "imageTags")?;
        self.deprecated(!image_tags.is_empty(), "imageTags", "images");
        self.images.extend(image_tags);
        for (index, node) in fields.list("replicas")?.iter().enumerate() {
            let mut replica = Fields::of(node, &format!("replicas[{index}]"))?;
            let name = replica.string("name")?;
            let count = replica.integer("count")?.unwrap_or_default();
            replica.finish()?;
            self.replicas.push(Replica { mark: node.mark, name, count });
        }
        Ok(())
    }

    fn deprecated(&mut self, used: bool, field: &str, instead: &str) {
        if used {
            self.warnings.push(format!("'{field}' is deprecated. Please use '{instead}' instead."));
        }
    }
}

fn labels(node: &Node, path: &str) -> Result<Labels> {
    let mut fields = Fields::of(node, path)?;
    let mut labels = Labels {
        pairs: fields.text_map("pairs")?,
        include_selectors: fields.flag("includeSelectors")?,
        include_templates: fields.flag("includeTemplates")?,
        include_volume_claim_templates: fields.flag("includeVolumeClaimTemplates")?,
        fields: Vec::new(),
    };
    for (index, node) in fields.list("fields")?.iter().enumerate() {
        let mut spec = Fields::of(node, &format!("{path}.fields[{index}]"))?;
        labels.fields.push(FieldSpec {
            group: spec.string("group")?,
            version: spec.string("version")?,
            kind: spec.string("kind")?,
            path: spec.string("path")?,
            create: spec.flag("create")?,
        });
        spec.finish()?;
    }
    fields.finish()?;
    Ok(labels)
}

fn options(node: &Node, path: &str) -> Result<Options> {
    let mut fields = Fields::of(node, path)?;
    let options = Options {
        labels: fields.text_map("labels")?,
        annotations: fields.text_map("annotations")?,
        disable_name_suffix_hash: fields.flag("disableNameSuffixHash")?,
        immutable: fields.flag("immutable")?,
    };
    fields.finish()?;
    Ok(options)
}

fn generator(node: &Node, path: &str, is_secret: bool, global: &Options) -> Result<Generator> {
    let mut fields = Fields::of(node, path)?;
    let behavior = match fields.text("behavior")? {
        None => Behavior::Create,
        Some(text) => match text.value.as_str() {
            "" | "create" => Behavior::Create,
            "merge" => Behavior::Merge,
            "replace" => Behavior::Replace,
            other => {
                let message = format!("{path}.behavior: expected create, merge or replace, found {other:?}");
                return Err(DecodeError::new(text.mark, message));
            }
        },
    };
    let mut generator = Generator {
        mark: node.mark,
        name: fields.string("name")?,
        namespace: fields.string("namespace")?,
        behavior,
        secret_type: if is_secret { fields.string("type")? } else { String::new() },
        literals: fields.texts("literals")?,
        files: fields.texts("files")?,
        envs: fields.texts("envs")?,
        options: match fields.node("options") {
            Some(node) => options(node, &format!("{path}.options"))?,
            None => Options::default(),
        },
    };
    generator.envs.extend(fields.text("env")?);
    fields.finish()?;
    if generator.name.is_empty() {
        return Err(DecodeError::new(node.mark, format!("{path}.name is missing")));
    }
    generator.options.inherit(global);
    Ok(generator)
}

impl Options {
    /// Takes over what the kustomization sets for all generators, where this one does not set it itself.
    fn inherit(&mut self, global: &Options) {
        for (own, other) in [(&mut self.labels, &global.labels), (&mut self.annotations, &global.annotations)] {
            for (key, value) in other {
                if own.iter().all(|(own_key, _)| own_key != key) {
                    own.push((key.clone(), value.clone()));
                }
            }
        }
        self.disable_name_suffix_hash |= global.disable_name_suffix_hash;
        self.immutable |= global.immutable;
    }
}

fn patches(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<Patch>> {
    let mut patches = Vec::new();
    for (index, node) in fields.list(key)?.iter().enumerate() {
        let path = format!("{key}[{index}]");
        let mut entry = Fields::of(node, &path)?;
        let mut patch = Patch {
            mark: node.mark,
            path: entry.text("path")?,
            patch: entry.text("patch")?,
            target: match entry.node("target") {
                Some(node) => Some(selector(node, &format!("{path}.target"))?),
                None => None,
            },
            allow_name_change: false,
            allow_kind_change: false,
        };
        if let Some(node) = entry.node("options") {
            let mut options = Fields::of(node, &format!("{path}.options"))?;
            patch.allow_name_change = options.flag("allowNameChange")?;
            patch.allow_kind_change = options.flag("allowKindChange")?;
            options.finish()?;
        }
        entry.finish()?;
        patches.push(patch);
    }
    Ok(patches)
}

fn selector(node: &Node, path: &str) -> Result<Selector> {
    let mut fields = Fields::of(node, path)?;
    let selector = Selector {
        mark: node.mark,
        group: fields.string("group")?,
        version: fields.string("version")?,
        kind: fields.string("kind")?,
        name: fields.string("name")?,
        namespace: fields.string("namespace")?,
        label_selector: fields.string("labelSelector")?,
        annotation_selector: fields.string("annotationSelector")?,
    };
    fields.finish()?;
    Ok(selector)
}

fn images(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for (index, node) in fields.list(key)?.iter().enumerate() {
        let mut entry = Fields::of(node, &format!("{key}[{index}]"))?;
        images.push(Image {
            name: entry.string("name")?,
            new_name: entry.string("newName")?,
            new_tag: entry.string("newTag")?,
            tag_suffix: entry.string("tagSuffix")?,
            digest: entry.string("digest")?,
        });
        entry.finish()?;
    }
    Ok(images)
}
