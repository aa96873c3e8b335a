//! `replacements` as types.

use coracle_yaml::decode::{Fields, Manner};
use coracle_yaml::{Mark, Node};

use super::{Result, Text, gvk, plain, selector};
use crate::id::Gvk;
use crate::select::Selector;

const DEFAULT_PATH: &str = "metadata.name";

#[derive(Debug, Clone, Default)]
pub(crate) struct Replacement {
    pub mark: Mark,
    pub source: Option<Source>,
    pub source_value: Option<String>,
    pub targets: Option<Vec<Target>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub mark: Mark,
    pub gvk: Gvk,
    pub name: String,
    pub namespace: String,
    pub field_path: String,
    pub options: FieldOptions,
}

#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub mark: Mark,
    pub select: Option<Selector>,
    pub reject: Vec<Selector>,
    pub field_paths: Vec<String>,
    pub options: FieldOptions,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct FieldOptions {
    pub delimiter: String,
    pub index: i64,
    pub create: bool,
}

/// An entry of `replacements`: one written in place, or a file of them.
pub(crate) fn replacement_field(node: &Node, path: &str, manner: Manner) -> Result<(Replacement, Option<Text>)> {
    let mut fields = Fields::read(node, path, manner)?;
    let file = fields.text("path")?.filter(|file| !file.value.is_empty());
    let replacement = read(&mut fields)?;
    fields.finish()?;
    Ok((replacement, file))
}

pub(crate) fn replacement(node: &Node, path: &str, manner: Manner) -> Result<Replacement> {
    let mut fields = Fields::read(node, path, manner)?;
    let replacement = read(&mut fields)?;
    fields.finish()?;
    Ok(replacement)
}

fn read(fields: &mut Fields<'_>) -> Result<Replacement> {
    let manner = fields.manner();
    let mut replacement = Replacement { mark: fields.mark(), ..Replacement::default() };
    if let Some(node) = fields.node("source") {
        replacement.source = Some(source(node, &fields.path_of("source"), manner)?);
    }
    replacement.source_value = fields.text("sourceValue")?.map(|text| text.value);
    if fields.node("targets").is_some() {
        let path = fields.path_of("targets");
        let mut targets = Vec::new();
        for (index, node) in fields.list("targets")?.iter().enumerate() {
            targets.push(target(node, &format!("{path}[{index}]"), manner)?);
        }
        replacement.targets = Some(targets);
    }
    Ok(replacement)
}

fn source(node: &Node, path: &str, manner: Manner) -> Result<Source> {
    let mut fields = Fields::read(node, path, manner)?;
    let field_path = fields.string("fieldPath")?;
    let source = Source {
        mark: node.mark,
        gvk: gvk(&mut fields)?,
        name: fields.string("name")?,
        namespace: fields.string("namespace")?,
        field_path: if field_path.is_empty() { DEFAULT_PATH.to_owned() } else { field_path },
        options: options(&mut fields)?,
    };
    fields.finish()?;
    Ok(source)
}

fn target(node: &Node, path: &str, manner: Manner) -> Result<Target> {
    let mut fields = Fields::read(node, path, manner)?;
    let mut target = Target {
        mark: node.mark,
        select: match fields.node("select") {
            Some(node) => Some(selector(node, &format!("{path}.select"), manner)?),
            None => None,
        },
        reject: Vec::new(),
        field_paths: plain(fields.texts("fieldPaths")?),
        options: options(&mut fields)?,
    };
    for (index, node) in fields.list("reject")?.iter().enumerate() {
        target.reject.push(selector(node, &format!("{path}.reject[{index}]"), manner)?);
    }
    if target.field_paths.is_empty() {
        target.field_paths.push(DEFAULT_PATH.to_owned());
    }
    fields.finish()?;
    Ok(target)
}

fn options(fields: &mut Fields<'_>) -> Result<FieldOptions> {
    let Some(node) = fields.node("options") else { return Ok(FieldOptions::default()) };
    let mut options = Fields::read(node, &fields.path_of("options"), fields.manner())?;
    let read = FieldOptions {
        delimiter: options.string("delimiter")?,
        index: options.integer("index")?.unwrap_or_default(),
        create: options.flag("create")?,
    };
    // Known to the original, and without effect there as well.
    options.string("encoding")?;
    options.finish()?;
    Ok(read)
}
