//! Objects that describe generators and transformers: those of `generators`, `transformers` and `validators`.

use coracle_yaml::Node;
use coracle_yaml::decode::{DecodeError, Fields, Manner};

use crate::error::{Error, Trouble};
use crate::generate::{Policy, Source};
use crate::load::Root;
use crate::patchfiles;
use crate::read::generators::{Chart, ChartGlobals, generator};
use crate::read::replacements::{Replacement, replacement, replacement_field};
use crate::read::{Patch, Text, field_specs, image, patch, plain_map, replica, selector};
use crate::resource::Resource;
use crate::transform::{SubjectMode, Subjects, Transformer, ValueAdd, ValueTarget};

/// Kinds that are built in, so that a transformer among generators is told apart from what is not known.
const GENERATORS: [&str; 4] =
    ["ConfigMapGenerator", "SecretGenerator", "HelmChartInflationGenerator", "IAMPolicyGenerator"];

fn not_built_in(plugin: &Resource) -> Trouble {
    let kind = plugin.kind();
    let message = format!(
        "{kind} ({}) is a plugin that would run a program or a container, which is not done here; only built-in ones \
         (apiVersion: builtin) are",
        plugin.api_version()
    );
    Trouble::new(plugin.mark(), message)
}

pub(crate) fn generator_of(root: &Root<'_>, plugin: &Resource) -> Result<Source, Error> {
    read_generator(plugin).map_err(|trouble| root.session.error(trouble))
}

fn read_generator(plugin: &Resource) -> Result<Source, Trouble> {
    if plugin.api_version() != "builtin" {
        return Err(not_built_in(plugin));
    }
    let node = &plugin.node;
    match plugin.kind() {
        kind @ ("ConfigMapGenerator" | "SecretGenerator") => {
            let mut read = generator(node, "", kind == "SecretGenerator", Manner::Loose)?;
            if read.name.is_empty() {
                plugin.name().clone_into(&mut read.name);
            }
            if read.namespace.is_empty() {
                plugin.namespace().clone_into(&mut read.namespace);
            }
            Ok(Source::Data(Box::new(read)))
        }
        "HelmChartInflationGenerator" => {
            let mut chart = Chart::read(node, "", Manner::Loose)?;
            chart.globals = ChartGlobals::read(node, Manner::Loose)?;
            Ok(Source::Chart(Box::new(chart)))
        }
        "IAMPolicyGenerator" => Ok(Source::Policy(policy(node)?)),
        kind => Err(Trouble::new(plugin.mark(), format!("{kind} is no built-in generator"))),
    }
}

fn policy(node: &Node) -> Result<Policy, Trouble> {
    let mut fields = Fields::read(node, "", Manner::Loose)?;
    let cloud = fields.string("cloud")?;
    if cloud != "gke" {
        return Err(Trouble::new(node.mark, format!("cloud: expected gke, found {cloud:?}")));
    }
    let mut policy = Policy { mark: node.mark, ..Policy::default() };
    if let Some(node) = fields.node("kubernetesService") {
        let mut service = Fields::read(node, "kubernetesService", Manner::Loose)?;
        policy.name = service.string("name")?;
        policy.namespace = service.string("namespace")?;
    }
    if let Some(node) = fields.node("serviceAccount") {
        let mut account = Fields::read(node, "serviceAccount", Manner::Loose)?;
        policy.cloud_account = account.string("name")?;
        policy.project = account.string("projectId")?;
    }
    Ok(policy)
}

pub(crate) fn transformer_of(root: &Root<'_>, plugin: &Resource) -> Result<Transformer, Error> {
    let trouble = |trouble: Trouble| root.session.error(trouble);
    if plugin.api_version() != "builtin" {
        return Err(trouble(not_built_in(plugin)));
    }
    let node = &plugin.node;
    match plugin.kind() {
        "PatchTransformer" => {
            let read = patch(node, "", Manner::Loose).map_err(|error| trouble(error.into()))?;
            patchfiles::patch(root, &read)
        }
        "PatchStrategicMergeTransformer" => {
            let (paths, patches) = strategic_merge(node).map_err(|error| trouble(error.into()))?;
            patchfiles::strategic_merge(root, plugin.mark(), &paths, patches.as_ref())
        }
        "PatchJson6902Transformer" => {
            let read = json_patch(node).map_err(|error| trouble(error.into()))?;
            patchfiles::json6902(root, &read)
        }
        "ReplacementTransformer" => {
            let read = replacements(node).map_err(|error| trouble(error.into()))?;
            let all = patchfiles::replacements(root, &read)?;
            Ok(Transformer::Replacements(all))
        }
        "ValueAddTransformer" => value_add(root, plugin),
        _ => simple_transformer(plugin).map_err(trouble),
    }
}

/// Those that need no files.
fn simple_transformer(plugin: &Resource) -> Result<Transformer, Trouble> {
    let node = &plugin.node;
    let mut fields = Fields::read(node, "", Manner::Loose)?;
    let needs_fields = |fields: &mut Fields<'_>| -> Result<_, Trouble> {
        if fields.node("fieldSpecs").is_none() {
            return Err(Trouble::new(node.mark, format!("{} needs fieldSpecs", plugin.kind())));
        }
        Ok(field_specs(fields, "fieldSpecs")?)
    };
    Ok(match plugin.kind() {
        "AnnotationsTransformer" => Transformer::Annotations {
            annotations: plain_map(fields.text_map("annotations")?),
            fields: field_specs(&mut fields, "fieldSpecs")?,
        },
        "LabelTransformer" => Transformer::Labels {
            labels: plain_map(fields.text_map("labels")?),
            fields: field_specs(&mut fields, "fieldSpecs")?,
        },
        "NamespaceTransformer" => Transformer::Namespace(namespace(plugin, &mut fields)?),
        "PrefixTransformer" => {
            Transformer::Prefix { fields: needs_fields(&mut fields)?, prefix: fields.string("prefix")? }
        }
        "SuffixTransformer" => {
            Transformer::Suffix { fields: needs_fields(&mut fields)?, suffix: fields.string("suffix")? }
        }
        "PrefixSuffixTransformer" => Transformer::PrefixSuffix {
            fields: needs_fields(&mut fields)?,
            prefix: fields.string("prefix")?,
            suffix: fields.string("suffix")?,
        },
        "HashTransformer" => Transformer::Hash,
        "ImageTagTransformer" => Transformer::Image {
            image: match fields.node("imageTag") {
                Some(node) => image(node, "imageTag", Manner::Loose)?,
                None => Default::default(),
            },
            fields: field_specs(&mut fields, "fieldSpecs")?,
        },
        "ReplicaCountTransformer" => Transformer::Replicas {
            replica: match fields.node("replica") {
                Some(node) => replica(node, "replica", Manner::Loose)?,
                None => Default::default(),
            },
            fields: field_specs(&mut fields, "fieldSpecs")?,
        },
        kind if GENERATORS.contains(&kind) => {
            return Err(Trouble::new(node.mark, format!("{kind} makes objects; list it under generators")));
        }
        kind => return Err(Trouble::new(node.mark, format!("{kind} is no built-in transformer"))),
    })
}

fn namespace(plugin: &Resource, fields: &mut Fields<'_>) -> Result<SubjectMode, Trouble> {
    let subjects = match fields.string("setRoleBindingSubjects")?.as_str() {
        "" | "defaultOnly" => Subjects::DefaultOnly,
        "allServiceAccounts" => Subjects::AllServiceAccounts,
        "none" => Subjects::None,
        other => {
            let message =
                format!("setRoleBindingSubjects: expected defaultOnly, allServiceAccounts or none, found {other:?}");
            return Err(Trouble::new(plugin.mark(), message));
        }
    };
    Ok(SubjectMode {
        mark: plugin.mark(),
        namespace: plugin.namespace().to_owned(),
        fields: field_specs(fields, "fieldSpecs")?,
        unset_only: fields.flag("unsetOnly")?,
        subjects,
    })
}

fn strategic_merge(node: &Node) -> Result<(Vec<Text>, Option<Text>), DecodeError> {
    let mut fields = Fields::read(node, "", Manner::Loose)?;
    Ok((fields.texts("paths")?, fields.text("patches")?.filter(|text| !text.value.is_empty())))
}

fn json_patch(node: &Node) -> Result<Patch, DecodeError> {
    let mut fields = Fields::read(node, "", Manner::Loose)?;
    let target = match fields.node("target") {
        Some(node) => Some(selector(node, "target", Manner::Loose)?),
        None => None,
    };
    let not_empty = |text: Option<Text>| text.filter(|text| !text.value.is_empty());
    let (path, patch) = (not_empty(fields.text("path")?), not_empty(fields.text("jsonOp")?));
    Ok(Patch { mark: node.mark, path, patch, target, ..Patch::default() })
}

fn replacements(node: &Node) -> Result<Vec<(Replacement, Option<Text>)>, DecodeError> {
    let mut fields = Fields::read(node, "", Manner::Loose)?;
    let entries = fields.list("replacements")?.iter().enumerate();
    entries.map(|(index, node)| replacement_field(node, &format!("replacements[{index}]"), Manner::Loose)).collect()
}

/// The replacements of a file: one, or a list of them.
pub(crate) fn replacements_file(node: &Node) -> Result<Vec<Replacement>, Trouble> {
    match (&node.as_sequence(), node.as_mapping()) {
        (Some(items), _) => {
            let read = |(index, node): (usize, &Node)| replacement(node, &format!("[{index}]"), Manner::Loose);
            Ok(items.iter().enumerate().map(read).collect::<Result<_, _>>()?)
        }
        (None, Some(_)) => Ok(vec![replacement(node, "", Manner::Loose)?]),
        (None, None) => {
            Err(Trouble::new(node.mark, format!("expected a replacement or a list of them, found {}", node.describe())))
        }
    }
}

fn value_add(root: &Root<'_>, plugin: &Resource) -> Result<Transformer, Error> {
    let error = |trouble: Trouble| root.session.error(trouble);
    let read = |node: &Node| -> Result<(String, Vec<ValueTarget>, Option<Text>), DecodeError> {
        let mut fields = Fields::read(node, "", Manner::Loose)?;
        let value = fields.string("value")?.trim().to_owned();
        let targets = value_targets(&mut fields)?;
        Ok((value, targets, fields.text("targetFilePath")?.filter(|path| !path.value.is_empty())))
    };
    let (mut value, mut targets, file) = read(&plugin.node).map_err(|reason| error(reason.into()))?;
    if value.is_empty() {
        root.directory.rsplit('/').next().unwrap_or_default().clone_into(&mut value);
    }
    if let Some(file) = file {
        let node = patchfiles::document(root, &file)?;
        let more = Fields::read(&node, "", Manner::Loose).and_then(|mut fields| value_targets(&mut fields));
        targets.extend(more.map_err(|reason| error(reason.into()))?);
    }
    if targets.is_empty() {
        return Err(error(Trouble::new(plugin.mark(), "needs at least one target")));
    }
    if let Some(target) = targets.iter().find(|target| target.field_path.is_empty()) {
        return Err(error(Trouble::new(target.mark, "a target needs a fieldPath")));
    }
    Ok(Transformer::ValueAdd(ValueAdd { value, targets }))
}

fn value_targets(fields: &mut Fields<'_>) -> Result<Vec<ValueTarget>, DecodeError> {
    let mut targets = Vec::new();
    for (index, node) in fields.list("targets")?.iter().enumerate() {
        let path = format!("targets[{index}]");
        let mut target = Fields::read(node, &path, Manner::Loose)?;
        let position = target.integer("filePathPosition")?.unwrap_or_default();
        targets.push(ValueTarget {
            mark: node.mark,
            selector: match target.node("selector") {
                Some(node) => Some(selector(node, &format!("{path}.selector"), Manner::Loose)?),
                None => None,
            },
            field_path: target.string("fieldPath")?,
            position: usize::try_from(position).map_err(|_| {
                DecodeError::new(node.mark, format!("{path}.filePathPosition: expected no negative number"))
            })?,
        });
    }
    Ok(targets)
}
