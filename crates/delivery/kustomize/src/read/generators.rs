//! Generators as types: ConfigMaps, Secrets and charts.

use coracle_yaml::decode::{DecodeError, Fields, Located, Manner};
use coracle_yaml::{Mark, Node};

use super::{Result, Text, plain, plain_map};
use crate::resource::Behavior;

#[derive(Debug, Clone, Default)]
pub(crate) struct GeneratorOptions {
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    pub disable_name_suffix_hash: bool,
    pub immutable: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Generator {
    pub mark: Mark,
    pub is_secret: bool,
    pub name: String,
    pub namespace: String,
    pub behavior: Behavior,
    pub secret_type: String,
    pub literals: Vec<Text>,
    pub files: Vec<Text>,
    pub envs: Vec<Text>,
    pub options: GeneratorOptions,
}

pub(crate) fn generator_options(node: &Node, path: &str, manner: Manner) -> Result<GeneratorOptions> {
    let mut fields = Fields::read(node, path, manner)?;
    let options = GeneratorOptions {
        labels: plain_map(fields.text_map("labels")?),
        annotations: plain_map(fields.text_map("annotations")?),
        disable_name_suffix_hash: fields.flag("disableNameSuffixHash")?,
        immutable: fields.flag("immutable")?,
    };
    fields.finish()?;
    Ok(options)
}

pub(crate) fn generator(node: &Node, path: &str, is_secret: bool, manner: Manner) -> Result<Generator> {
    let mut fields = Fields::read(node, path, manner)?;
    let mut generator = Generator {
        mark: node.mark,
        is_secret,
        name: fields.string("name")?,
        namespace: fields.string("namespace")?,
        behavior: match fields.string("behavior")?.as_str() {
            "create" => Behavior::Create,
            "merge" => Behavior::Merge,
            "replace" => Behavior::Replace,
            _ => Behavior::Unspecified,
        },
        secret_type: if is_secret { fields.string("type")? } else { String::new() },
        literals: fields.texts("literals")?,
        files: fields.texts("files")?,
        envs: fields.texts("envs")?,
        options: match fields.node("options") {
            Some(node) => generator_options(node, &format!("{path}.options"), manner)?,
            None => GeneratorOptions::default(),
        },
    };
    let old_env: Option<Located<String>> = fields.text("env")?;
    generator.envs.extend(old_env.filter(|env| !env.value.is_empty() && manner == Manner::Json));
    fields.finish()?;
    Ok(generator)
}

impl GeneratorOptions {
    /// Takes over what the kustomization sets for all generators, where this one does not set it itself.
    pub fn inherit(&mut self, global: &GeneratorOptions) {
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

/// Settings for all charts of a kustomization.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChartGlobals {
    pub home: String,
}

impl ChartGlobals {
    pub fn read(node: &Node, manner: Manner) -> Result<Self> {
        let mut fields = Fields::read(node, "helmGlobals", manner)?;
        let globals = ChartGlobals { home: fields.string("chartHome")? };
        fields.string("configHome")?;
        fields.finish()?;
        Ok(globals)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Chart {
    pub mark: Mark,
    pub globals: ChartGlobals,
    pub name: String,
    pub version: String,
    pub repository: String,
    pub release_name: String,
    pub namespace: String,
    pub name_template: String,
    pub values_file: Option<Text>,
    pub additional_values_files: Vec<Text>,
    pub values_inline: Option<Node>,
    pub values_merge: String,
    pub include_crds: bool,
    pub skip_hooks: bool,
    pub skip_tests: bool,
    pub api_versions: Vec<String>,
    pub kube_version: String,
    pub devel: bool,
}

impl Chart {
    pub fn read(node: &Node, path: &str, manner: Manner) -> Result<Self> {
        let mut fields = Fields::read(node, path, manner)?;
        let chart = Chart {
            mark: node.mark,
            globals: ChartGlobals::default(),
            name: fields.string("name")?,
            version: fields.string("version")?,
            repository: fields.string("repo")?,
            release_name: fields.string("releaseName")?,
            namespace: fields.string("namespace")?,
            name_template: fields.string("nameTemplate")?,
            values_file: fields.text("valuesFile")?.filter(|file| !file.value.is_empty()),
            additional_values_files: fields.texts("additionalValuesFiles")?,
            values_inline: values(&mut fields, "valuesInline")?,
            values_merge: fields.string("valuesMerge")?,
            include_crds: fields.flag("includeCRDs")?,
            skip_hooks: fields.flag("skipHooks")?,
            skip_tests: fields.flag("skipTests")?,
            api_versions: plain(fields.texts("apiVersions")?),
            kube_version: fields.string("kubeVersion")?,
            devel: fields.flag("devel")?,
        };
        fields.flag("debug")?;
        fields.finish()?;
        Ok(chart)
    }

    /// The legacy form, whose directories belong to all charts.
    pub fn read_old(node: &Node, path: &str, globals: &mut ChartGlobals) -> Result<Self> {
        let mut fields = Fields::read(node, path, Manner::Json)?;
        let chart = Chart {
            mark: node.mark,
            name: fields.string("chartName")?,
            version: fields.string("chartVersion")?,
            repository: fields.string("chartRepoUrl")?,
            release_name: fields.string("releaseName")?,
            values_file: fields.text("values")?.filter(|file| !file.value.is_empty()),
            values_inline: values(&mut fields, "valuesLocal")?,
            values_merge: fields.string("valuesMerge")?,
            ..Chart::default()
        };
        let home = fields.string("chartHome")?;
        if !home.is_empty() {
            globals.home = home;
        }
        for ignored in ["chartRepoName", "helmBin", "helmHome", "releaseNamespace"] {
            fields.string(ignored)?;
        }
        fields.texts("extraArgs")?;
        fields.finish()?;
        Ok(chart)
    }
}

fn values(fields: &mut Fields<'_>, key: &'static str) -> Result<Option<Node>> {
    match fields.node(key) {
        Some(node) if node.as_mapping().is_some() => Ok(Some(node.clone())),
        Some(node) => {
            let message = format!("{}: expected a mapping, found {}", fields.path_of(key), node.describe());
            Err(DecodeError::new(node.mark, message))
        }
        None => Ok(None),
    }
}
