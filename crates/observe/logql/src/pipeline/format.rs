//! `line_format` and `label_format`.

use super::LabelsBuilder;
use crate::syntax::LabelFormat;

/// What `now` is for templates, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Moment(pub i64);

pub(super) struct LineFormat(String);

impl LineFormat {
    pub(super) fn new(template: &str, _moment: Moment) -> Result<Self, String> { Ok(Self(template.to_owned())) }
    pub(super) fn format(&self, _ts: i64, _line: &str, _labels: &mut LabelsBuilder) -> Option<String> { Some(self.0.clone()) }
    pub(super) fn labels(&self, _into: &mut Vec<String>) {}
}

pub(super) struct LabelFormats(Vec<LabelFormat>);

impl LabelFormats {
    pub(super) fn new(formats: &[LabelFormat], _moment: Moment) -> Result<Self, String> { Ok(Self(formats.to_vec())) }
    pub(super) fn format(&self, _ts: i64, _line: &str, _labels: &mut LabelsBuilder) { let _ = &self.0; }
    pub(super) fn labels(&self, _into: &mut Vec<String>) {}
}
