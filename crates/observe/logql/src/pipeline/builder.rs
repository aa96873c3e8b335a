//! The labels of a line while it goes through a pipeline: those of its stream, its structured metadata, and what parsers
//! find.

use std::{borrow::Cow, sync::Arc};

use super::{DUPLICATE_SUFFIX, ERROR_DETAILS_LABEL, ERROR_LABEL, PRESERVE_ERROR_LABEL};
use crate::labels::Labels;

/// Where a label comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// The stream.
    Stream,
    /// The line's structured metadata.
    Metadata,
    /// A parser or a format.
    Parsed,
}

#[derive(Default)]
struct Added {
    name: String,
    value: String,
    category: Option<Category>,
}

/// Which labels a metric query needs: parsers make no others.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints {
    /// Nothing at all.
    pub(super) nothing: bool,
    /// These; empty means all.
    pub(super) required: Vec<String>,
    /// Errors are asked for, so lines with errors count.
    pub(super) preserve_error: bool,
}

/// Labels that are being worked on. One is used for many lines, and keeps its buffers.
#[derive(Default)]
pub struct LabelsBuilder {
    base: Arc<Labels>,
    added: Vec<Added>,
    /// How many of `added` count; the rest are buffers of earlier lines.
    live: usize,
    deleted: Vec<String>,
    error: String,
    details: String,
    hints: Hints,
    extracted: Vec<String>,
}

impl LabelsBuilder {
    /// For log queries, which show all labels.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn with_hints(hints: Hints) -> Self {
        Self { hints, ..Self::default() }
    }

    /// Starts with a line: its stream's labels and its structured metadata.
    pub fn start<'m>(&mut self, base: &Arc<Labels>, metadata: impl IntoIterator<Item = (&'m str, &'m str)>) {
        if !Arc::ptr_eq(&self.base, base) {
            self.base = Arc::clone(base);
        }
        self.live = 0;
        self.deleted.clear();
        self.error.clear();
        self.details.clear();
        self.extracted.clear();
        for (name, value) in metadata {
            match name {
                ERROR_LABEL => value.clone_into(&mut self.error),
                ERROR_DETAILS_LABEL => value.clone_into(&mut self.details),
                name if self.base.get(name).is_some() => {
                    self.put(Category::Metadata, &format!("{name}{DUPLICATE_SUFFIX}"), value);
                }
                name => self.put(Category::Metadata, name, value),
            }
        }
    }

    fn live(&self) -> &[Added] {
        &self.added[..self.live]
    }

    fn find(&self, name: &str) -> Option<&Added> {
        self.live().iter().find(|added| added.name == name)
    }

    /// The value of a label as it stands.
    pub fn get(&self, name: &str) -> Option<&str> {
        if let Some(added) = self.find(name) {
            return Some(&added.value);
        }
        if self.deleted.iter().any(|deleted| deleted == name) {
            return None;
        }
        self.base.get(name).filter(|value| !value.is_empty())
    }

    pub(super) fn error(&self) -> &str {
        &self.error
    }

    pub(super) fn details(&self) -> &str {
        &self.details
    }

    pub(super) fn has_error(&self) -> bool {
        !self.error.is_empty()
    }

    pub(super) fn set_error(&mut self, error: &str, details: &str) {
        error.clone_into(&mut self.error);
        if !details.is_empty() {
            details.clone_into(&mut self.details);
        }
    }

    /// The error of a parser, which a query may want to see.
    pub(super) fn set_parser_error(&mut self, error: &str, details: &str) {
        self.set_error(error, details);
        if self.hints.preserve_error {
            self.put(Category::Parsed, PRESERVE_ERROR_LABEL, "true");
        }
    }

    pub(super) fn clear_error(&mut self) {
        self.error.clear();
    }

    pub(super) fn clear_details(&mut self) {
        self.details.clear();
    }

    /// Whether the stream or the metadata has a label of that name, so that a parser's gets a suffix.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.base.get(name).is_some() || self.find(name).is_some_and(|added| added.category == Some(Category::Metadata))
    }

    fn put(&mut self, category: Category, name: &str, value: &str) {
        if let Some(added) = self.added[..self.live].iter_mut().find(|added| added.name == name) {
            if added.category <= Some(category) {
                added.category = Some(category);
                value.clone_into(&mut added.value);
            }
            return;
        }
        if self.live == self.added.len() {
            self.added.push(Added::default());
        }
        let added = &mut self.added[self.live];
        name.clone_into(&mut added.name);
        value.clone_into(&mut added.value);
        added.category = Some(category);
        self.live += 1;
    }

    /// Sets a label that a format makes.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.put(Category::Parsed, name, value);
        self.record(name);
    }

    fn record(&mut self, name: &str) {
        if !self.is_extracted(name) {
            self.extracted.push(name.to_owned());
        }
    }

    fn is_extracted(&self, name: &str) -> bool {
        self.extracted.iter().any(|extracted| extracted == name)
    }

    /// Sets a label that a parser found, unless nobody needs it or an earlier parser found one of that name.
    pub(super) fn set_parsed(&mut self, name: &str, value: &str) {
        if let Some(name) = self.wanted_name(name) {
            self.set(&name, value);
        }
    }

    /// The name that a parser's label gets, with a suffix where it is taken; `None` where nobody needs it.
    pub(super) fn wanted_name<'n>(&self, name: &'n str) -> Option<Cow<'n, str>> {
        let name = match self.is_taken(name) {
            true => Cow::Owned(format!("{name}{DUPLICATE_SUFFIX}")),
            false => Cow::Borrowed(name),
        };
        (!name.is_empty() && self.wants(&name)).then_some(name)
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        self.is_required(name) && !self.is_extracted(name)
    }

    pub(super) fn is_required(&self, name: &str) -> bool {
        self.hints.required.is_empty() || self.hints.required.iter().any(|required| required == name)
    }

    /// Whether anything below a prefix of a nested key could be needed.
    pub(super) fn wants_prefix(&self, prefix: &str) -> bool {
        self.hints.required.is_empty() || self.hints.required.iter().any(|required| required.starts_with(prefix))
    }

    /// Whether a parser has nothing to do, or nothing more.
    pub(super) fn wants_nothing(&self) -> bool {
        self.hints.nothing || self.has_all_required()
    }

    pub(super) fn has_all_required(&self) -> bool {
        !self.hints.required.is_empty() && self.hints.required.iter().all(|required| self.is_extracted(required))
    }

    pub(super) fn delete(&mut self, name: &str) {
        while let Some(at) = self.live().iter().position(|added| added.name == name) {
            self.added[at..self.live].rotate_left(1);
            self.live -= 1;
        }
        self.deleted.push(name.to_owned());
    }

    /// Whether the labels are the stream's and nothing else.
    pub fn is_untouched(&self) -> bool {
        self.live == 0 && self.deleted.is_empty() && self.error.is_empty() && self.details.is_empty()
    }

    /// All labels with where they come from, in no order.
    pub fn visit<'b>(&'b self, mut each: impl FnMut(Category, &'b str, &'b str)) {
        for (name, value) in self.base.iter() {
            if !self.deleted.iter().any(|deleted| deleted == name) && self.find(name).is_none() {
                each(Category::Stream, name, value);
            }
        }
        for added in self.live() {
            each(added.category.unwrap_or(Category::Parsed), &added.name, &added.value);
        }
        if !self.error.is_empty() {
            each(Category::Parsed, ERROR_LABEL, &self.error);
        }
        if !self.details.is_empty() {
            each(Category::Parsed, ERROR_DETAILS_LABEL, &self.details);
        }
    }

    /// The labels of the stream.
    pub fn base(&self) -> &Arc<Labels> {
        &self.base
    }
}
