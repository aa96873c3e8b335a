//! Operators between two vectors: which samples find each other.

use std::collections::{HashMap, HashSet};

use super::{
    Annotation, QueryError,
    binary::{Element, changes_meaning, element},
    context::{Context, Frame},
    eval::{Evaluated, collect},
    series::{Cell, Series, without_metadata},
};
use crate::{
    labels::{Labels, LabelsBuilder, METRIC_NAME},
    parser::ast::{Binary, BinaryOp, Cardinality, VectorMatching},
};

/// The labels two samples have to have in common.
fn signature(labels: &Labels, matching: &VectorMatching) -> Labels {
    let named = |name: &str| matching.labels.iter().any(|label| label == name);
    match matching.on {
        true => labels.filter(named),
        false => labels.filter(|name| name != METRIC_NAME && !named(name)),
    }
}

/// Signatures as small numbers, for both sides.
struct Signatures {
    left: Vec<usize>,
    right: Vec<usize>,
    count: usize,
}

impl Signatures {
    fn new(lhs: &[Series], rhs: &[Series], matching: &VectorMatching) -> Self {
        let mut known: HashMap<Labels, usize> = HashMap::with_capacity(lhs.len().max(rhs.len()));
        let mut number = |series: &Series| {
            let next = known.len();
            *known.entry(signature(&series.labels, matching)).or_insert(next)
        };
        let left = lhs.iter().map(&mut number).collect();
        let right = rhs.iter().map(&mut number).collect();
        Self { left, right, count: known.len() }
    }
}

pub(super) fn eval(
    context: &Context<'_>,
    node: &Binary,
    lhs: Vec<Series>,
    rhs: Vec<Series>,
    frame: Frame,
) -> Evaluated {
    let default = VectorMatching::default();
    let matching = node.matching.as_ref().unwrap_or(&default);
    let signatures = Signatures::new(&lhs, &rhs, matching);
    if node.op.is_set() {
        return collect(context, frame, set(node.op, lhs, rhs, &signatures, frame));
    }
    let mut join = Join {
        context,
        node,
        matching,
        frame,
        results: Vec::new(),
        places: HashMap::new(),
        complaints: vec![None; frame.steps],
    };
    if matching.cardinality == Cardinality::OneToMany {
        let swapped = Signatures { left: signatures.right, right: signatures.left, count: signatures.count };
        join.run(&rhs, &lhs, &swapped)?;
    } else {
        join.run(&lhs, &rhs, &signatures)?;
    }
    let span = node.lhs.span().to(node.rhs.span());
    for complaint in join.complaints.into_iter().flatten() {
        context.annotate(complaint, span);
    }
    collect(context, frame, join.results)
}

/// `and`, `or` and `unless`: presence of a signature decides, step by step.
fn set(op: BinaryOp, lhs: Vec<Series>, rhs: Vec<Series>, signatures: &Signatures, frame: Frame) -> Vec<Series> {
    let decides = if op == BinaryOp::Or { &lhs } else { &rhs };
    let numbers = if op == BinaryOp::Or { &signatures.left } else { &signatures.right };
    let mut members: Vec<Vec<&Series>> = vec![Vec::new(); signatures.count];
    for (series, number) in decides.iter().zip(numbers) {
        members[*number].push(series);
    }
    let is_there = |number: usize, step: usize| members[number].iter().any(|series| series.get(step).is_some());
    // With nothing at all on one side of a step, `or` and `unless` go short ways that come to the same.
    let filtered = |series: &Series, number: usize, wanted: bool| {
        let mut kept = Series::new(series.labels.clone(), series.drop_name);
        for (step, cell) in series.cells() {
            if is_there(number, step) == wanted {
                kept.push(step, cell);
            }
        }
        kept
    };
    debug_assert!(frame.steps > 0, "an evaluation without steps ends before");
    let filter_all = |all: &[Series], numbers: &[usize], wanted: bool| -> Vec<Series> {
        all.iter().zip(numbers).map(|(series, number)| filtered(series, *number, wanted)).collect()
    };
    match op {
        BinaryOp::And => filter_all(&lhs, &signatures.left, true),
        BinaryOp::Unless => filter_all(&lhs, &signatures.left, false),
        _ => {
            let missing = filter_all(&rhs, &signatures.right, false);
            lhs.iter().cloned().chain(missing).collect()
        }
    }
}

/// The "many" side is the left one here, wherever it stands in the query.
struct Join<'a> {
    context: &'a Context<'a>,
    node: &'a Binary,
    matching: &'a VectorMatching,
    frame: Frame,
    results: Vec<Series>,
    /// Results by the labels of both samples.
    places: HashMap<(Labels, Labels), usize>,
    complaints: Vec<Option<Annotation>>,
}

impl Join<'_> {
    fn run(&mut self, many: &[Series], one: &[Series], signatures: &Signatures) -> Result<(), QueryError> {
        let mut partners: Vec<Option<usize>> = vec![None; signatures.count];
        let mut unique = self.matching.fill_left.is_none() && self.matching.fill_right.is_none();
        for (at, number) in signatures.right.iter().enumerate() {
            unique &= partners[*number].replace(at).is_none();
        }
        let mut seen = HashSet::new();
        for (series, number) in many.iter().zip(&signatures.left) {
            let Some(partner) = partners[*number] else { continue };
            let result = match self.matching.cardinality {
                Cardinality::OneToOne => Labels::empty(),
                _ => self.result_labels(&series.labels, &one[partner].labels),
            };
            unique &= seen.insert((*number, result));
        }
        if unique { self.columns(many, one, signatures, &partners) } else { self.steps(many, one, signatures) }
    }

    /// The common case: no signature twice, so every series has one partner for all steps.
    fn columns(
        &mut self,
        many: &[Series],
        one: &[Series],
        signatures: &Signatures,
        partners: &[Option<usize>],
    ) -> Result<(), QueryError> {
        for (series, number) in many.iter().zip(&signatures.left) {
            let Some(partner) = partners[*number].map(|at| &one[at]) else { continue };
            self.context.check("expression evaluation")?;
            let mut place = None;
            for (step, cell) in series.cells() {
                if let Some(other) = partner.get(step) {
                    self.combine(step, (&series.labels, cell), (&partner.labels, other), &mut place)?;
                }
            }
        }
        Ok(())
    }

    fn steps(&mut self, many: &[Series], one: &[Series], signatures: &Signatures) -> Result<(), QueryError> {
        // `fill_left` is for the "many" side here, even where `group_right` has swapped the sides.
        let (fill_many, fill_one) = (self.matching.fill_left, self.matching.fill_right);
        let one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        for step in 0..self.frame.steps {
            self.context.check("expression evaluation")?;
            let mut partners: Vec<Option<usize>> = vec![None; signatures.count];
            for (at, series) in one.iter().enumerate() {
                if series.get(step).is_none() {
                    continue;
                }
                if let Some(other) = partners[signatures.right[at]].replace(at) {
                    // Nothing can match an empty side.
                    let nothing_to_match = fill_many.is_none()
                        && fill_one.is_none()
                        && many.iter().all(|series| series.get(step).is_none());
                    if !nothing_to_match {
                        return Err(self.duplicate(series, &one[other]));
                    }
                }
            }
            let mut matched: Vec<HashSet<Labels>> = vec![HashSet::new(); signatures.count];
            for (series, number) in many.iter().zip(&signatures.left) {
                let Some(cell) = series.get(step) else { continue };
                let (labels, other) = match (partners[*number], fill_one) {
                    (Some(at), _) => (one[at].labels.clone(), one[at].get(step).unwrap_or(Cell::Float(f64::NAN))),
                    (None, Some(fill)) => (signature(&series.labels, self.matching), Cell::Float(fill)),
                    (None, None) => continue,
                };
                let result = self.combine(step, (&series.labels, cell), (&labels, other), &mut None)?;
                self.note(&mut matched[*number], result, one_to_one)?;
            }
            let Some(fill) = fill_many else { continue };
            for (series, number) in one.iter().zip(&signatures.right) {
                let Some(cell) = series.get(step) else { continue };
                if matched[*number].is_empty() {
                    let labels = signature(&series.labels, self.matching);
                    let result = self.combine(step, (&labels, Cell::Float(fill)), (&series.labels, cell), &mut None)?;
                    self.note(&mut matched[*number], result, one_to_one)?;
                }
            }
        }
        Ok(())
    }

    /// Refuses a second match where only one is allowed.
    fn note(&self, matched: &mut HashSet<Labels>, result: Option<Labels>, one_to_one: bool) -> Result<(), QueryError> {
        let Some(result) = result else { return Ok(()) };
        let again = !matched.is_empty() && one_to_one;
        if !matched.insert(result) || again {
            let rule = match one_to_one {
                true => "many-to-one matching must be explicit (group_left/group_right)",
                false => "grouping labels must ensure unique matches",
            };
            return Err(QueryError::Execution(format!("multiple matches for labels: {rule}")));
        }
        Ok(())
    }

    fn duplicate(&self, series: &Series, other: &Series) -> QueryError {
        let side = if self.matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
        let group = signature(&series.labels, self.matching);
        QueryError::Execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, {}];many-to-many \
             matching not allowed: matching labels must be unique on one side",
            series.labels, other.labels
        ))
    }

    /// The answer is the labels of the result, if there was one (shown or not).
    fn combine(
        &mut self,
        step: usize,
        (many_labels, many): (&Labels, Cell<'_>),
        (one_labels, one): (&Labels, Cell<'_>),
        place: &mut Option<usize>,
    ) -> Result<Option<Labels>, QueryError> {
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let (lhs, rhs) = if swapped { (one, many) } else { (many, one) };
        let (element, complaint) = element(self.node.op, lhs, rhs);
        if complaint.is_some() {
            self.complaints[step] = complaint;
        }
        let Some(Element { value, keep }) = element else { return Ok(None) };
        let at = match *place {
            Some(at) => at,
            None => *place.insert(self.place(many_labels, one_labels)),
        };
        if self.node.return_bool {
            self.results[at].push_float(step, f64::from(u8::from(keep)));
        } else if keep {
            value.push_to(&mut self.results[at], step);
        }
        Ok(Some(self.results[at].labels.clone()))
    }

    fn place(&mut self, many: &Labels, one: &Labels) -> usize {
        let key = (many.clone(), one.clone());
        if let Some(at) = self.places.get(&key) {
            return *at;
        }
        let labels = self.result_labels(many, one);
        self.results.push(Series::new(labels, self.node.return_bool));
        self.places.insert(key, self.results.len() - 1);
        self.results.len() - 1
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = self.matching;
        let drops = self.node.return_bool && !self.context.options.delayed_name_removal;
        let base = if drops || changes_meaning(self.node.op) { without_metadata(many) } else { many.clone() };
        let mut builder = LabelsBuilder::new(&base);
        if matching.cardinality == Cardinality::OneToOne {
            builder.keep(|name| matching.labels.iter().any(|label| label == name) == matching.on);
        }
        for label in &matching.include {
            builder.set(label, one.value(label));
        }
        builder.build()
    }
}
