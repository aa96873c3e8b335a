//! The generators and transformers a kustomization asks for by its own fields, in the order they run.

use crate::build::Target;
use crate::config::Config;
use crate::error::Error;
use crate::fieldspec::{FieldSpec, merge_specs};
use crate::generate::{self, Source};
use crate::origin::Origin;
use crate::patchfiles;
use crate::read::{Kustomization, Labels};
use crate::transform::{Step, SubjectMode, Transformer};

pub(crate) fn generators(target: &Target<'_>, origin: Option<&Origin>) -> Vec<generate::Step> {
    let kustomization = &target.kustomization;
    let step = |source: Source, kind: &str| generate::Step {
        source,
        origin: origin.map(|origin| origin.of_builtin(target.file_name, kind)),
    };
    let mut all = Vec::new();
    for generator in &kustomization.config_maps {
        all.push(step(Source::Data(Box::new(generator.clone())), "ConfigMapGenerator"));
    }
    for generator in &kustomization.secrets {
        all.push(step(Source::Data(Box::new(generator.clone())), "SecretGenerator"));
    }
    for chart in &kustomization.charts {
        let mut chart = chart.clone();
        if chart.namespace.is_empty() {
            target.chart_namespace().clone_into(&mut chart.namespace);
        }
        all.push(step(Source::Chart(Box::new(chart)), "HelmChartInflationGenerator"));
    }
    all
}

pub(crate) fn built_in(target: &Target<'_>, origin: Option<&Origin>, config: &Config) -> Result<Vec<Step>, Error> {
    let kustomization = &target.kustomization;
    let root = &target.root;
    let mut steps = Vec::new();
    let mut push = |transformer: Transformer, kind: &str| {
        let origin = origin.map(|origin| origin.of_builtin(target.file_name, kind));
        steps.push(Step { transformer, origin });
    };
    if !kustomization.patches_strategic_merge.is_empty() {
        let merge =
            patchfiles::strategic_merge(root, kustomization.mark, &kustomization.patches_strategic_merge, None)?;
        push(merge, "PatchStrategicMergeTransformer");
    }
    for patch in &kustomization.patches {
        push(patchfiles::patch(root, patch)?, "PatchTransformer");
    }
    if !kustomization.namespace.is_empty() {
        let mode = SubjectMode {
            namespace: kustomization.namespace.clone(),
            fields: config.namespace.clone(),
            ..SubjectMode::default()
        };
        push(Transformer::Namespace(mode), "NamespaceTransformer");
    }
    if !kustomization.name_prefix.is_empty() {
        let (prefix, fields) = (kustomization.name_prefix.clone(), config.name_prefix.clone());
        push(Transformer::Prefix { prefix, fields }, "PrefixTransformer");
    }
    if !kustomization.name_suffix.is_empty() {
        let (suffix, fields) = (kustomization.name_suffix.clone(), config.name_suffix.clone());
        push(Transformer::Suffix { suffix, fields }, "SuffixTransformer");
    }
    for transformer in labels(kustomization, config).map_err(|message| root.session.at(kustomization.mark, message))? {
        push(transformer, "LabelTransformer");
    }
    if !kustomization.common_annotations.is_empty() {
        let (annotations, fields) = (kustomization.common_annotations.clone(), config.common_annotations.clone());
        push(Transformer::Annotations { annotations, fields }, "AnnotationsTransformer");
    }
    for patch in &kustomization.patches_json6902 {
        push(patchfiles::json6902(root, patch)?, "PatchJson6902Transformer");
    }
    for replica in kustomization.replicas.iter().cloned() {
        push(Transformer::Replicas { replica, fields: config.replicas.clone() }, "ReplicaCountTransformer");
    }
    for image in kustomization.images.iter().cloned() {
        push(Transformer::Image { image, fields: config.images.clone() }, "ImageTagTransformer");
    }
    if !kustomization.replacements.is_empty() {
        let replacements = patchfiles::replacements(root, &kustomization.replacements)?;
        push(Transformer::Replacements(replacements), "ReplacementTransformer");
    }
    Ok(steps)
}

fn labels(kustomization: &Kustomization, config: &Config) -> Result<Vec<Transformer>, String> {
    if kustomization.labels.is_empty() && kustomization.common_labels.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in &kustomization.labels {
        all.push(Transformer::Labels { labels: entry.pairs.clone(), fields: label_fields(entry, config)? });
    }
    all.push(Transformer::Labels { labels: kustomization.common_labels.clone(), fields: config.common_labels.clone() });
    Ok(all)
}

fn label_fields(entry: &Labels, config: &Config) -> Result<Vec<FieldSpec>, String> {
    let mut fields = entry.fields.clone();
    merge_specs(&mut fields, &config.labels)?;
    if entry.include_selectors {
        merge_specs(&mut fields, &config.common_labels)?;
        return Ok(fields);
    }
    if entry.include_templates {
        merge_specs(&mut fields, &config.template_labels)?;
    }
    if entry.include_volume_claim_templates {
        merge_specs(&mut fields, &config.volume_claim_template_labels)?;
    }
    merge_specs(&mut fields, &[FieldSpec::of_all("metadata/labels", true)])?;
    Ok(fields)
}
