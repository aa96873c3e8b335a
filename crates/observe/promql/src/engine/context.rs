//! What an evaluation carries along: where the steps lie, limits, annotations.

use std::cell::{Cell, RefCell};

use super::{Annotation, Annotations, EngineOptions, Interrupt, Interruption, QueryError};
use crate::{parser::ast::Span, storage::Storage};

/// The steps of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub start_ms: i64,
    pub step_ms: i64,
    pub steps: usize,
    /// Whether it is about a stretch of time, even if only one step fits into that.
    pub is_range: bool,
}

impl Frame {
    pub fn time_ms(self, step: usize) -> i64 {
        self.start_ms + step as i64 * self.step_ms
    }

    /// The last step's time.
    pub fn end_ms(self) -> i64 {
        self.time_ms(self.steps.saturating_sub(1))
    }

    /// Only the first step.
    pub fn once(self) -> Frame {
        Frame { steps: self.steps.min(1), is_range: false, ..self }
    }
}

pub(super) struct Context<'a> {
    pub options: &'a EngineOptions,
    pub storage: &'a dyn Storage,
    interrupt: Interrupt<'a>,
    samples: Cell<usize>,
    annotations: RefCell<Annotations>,
}

impl<'a> Context<'a> {
    pub fn new(options: &'a EngineOptions, storage: &'a dyn Storage, interrupt: Interrupt<'a>) -> Self {
        let (samples, annotations) = (Cell::new(0), RefCell::default());
        Self { options, storage, interrupt, samples, annotations }
    }

    /// Whether to go on.
    pub fn check(&self, place: &'static str) -> Result<(), QueryError> {
        match (self.interrupt)() {
            None => Ok(()),
            Some(Interruption::Cancelled) => Err(QueryError::Cancelled(place)),
            Some(Interruption::TimedOut) => Err(QueryError::TimedOut(place)),
        }
    }

    /// Takes samples into account that are now held.
    pub fn hold(&self, samples: usize) -> Result<(), QueryError> {
        let held = self.samples.get() + samples;
        self.samples.set(held);
        if held > self.options.max_samples { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// Samples that are no longer held.
    pub fn release(&self, samples: usize) {
        self.samples.set(self.samples.get().saturating_sub(samples));
    }

    pub fn annotate(&self, annotation: Annotation, span: Span) {
        self.annotations.borrow_mut().add(annotation, span);
    }

    /// A store's own words.
    pub fn warn(&self, warnings: Vec<String>) {
        for warning in warnings {
            self.annotate(Annotation::Storage(warning), Span::default());
        }
    }

    pub fn take_annotations(self) -> Annotations {
        self.annotations.into_inner()
    }
}
