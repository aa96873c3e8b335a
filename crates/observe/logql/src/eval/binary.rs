//! Operators between series.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Failure, arithmetic::merge, range::Vector};
use crate::{
    labels::Labels,
    syntax::{Binary, BinaryOp, Cardinality, VectorMatching},
};

/// An operation between two sides. Signatures are remembered from step to step.
pub(super) struct Matcher {
    op: BinaryOp,
    return_bool: bool,
    matching: VectorMatching,
    signatures: HashMap<Arc<Labels>, Arc<Labels>>,
}

impl Matcher {
    pub(super) fn new(binary: &Binary) -> Self {
        let matching = binary.matching.clone();
        Self { op: binary.op, return_bool: binary.return_bool, matching, signatures: HashMap::new() }
    }

    pub(super) fn apply(&mut self, left: Vector, right: Vector) -> Result<Vector, Failure> {
        match self.op {
            BinaryOp::And => Ok(self.keep_left(left, &right, true)),
            BinaryOp::Unless => Ok(self.keep_left(left, &right, false)),
            BinaryOp::Or => Ok(self.either(left, right)),
            _ => self.pairs(left, right),
        }
    }

    fn signature(&mut self, labels: &Arc<Labels>) -> Arc<Labels> {
        if let Some(known) = self.signatures.get(labels) {
            return Arc::clone(known);
        }
        let named = self.matching.labels.as_deref().unwrap_or_default();
        let on = self.matching.on;
        let signature = labels.keep(|name| named.iter().any(|label| label == name) == on).without_empty();
        let signature = Arc::new(signature);
        self.signatures.insert(Arc::clone(labels), Arc::clone(&signature));
        signature
    }

    fn signatures(&mut self, vector: &Vector) -> HashSet<Arc<Labels>> {
        vector.iter().map(|(labels, _)| self.signature(labels)).collect()
    }

    fn keep_left(&mut self, left: Vector, right: &Vector, wanted: bool) -> Vector {
        let others = self.signatures(right);
        left.into_iter().filter(|(labels, _)| others.contains(&self.signature(labels)) == wanted).collect()
    }

    fn either(&mut self, left: Vector, right: Vector) -> Vector {
        let known = self.signatures(&left);
        let mut both = left;
        both.extend(right.into_iter().filter(|(labels, _)| !known.contains(&self.signature(labels))));
        both
    }

    fn pairs(&mut self, left: Vector, right: Vector) -> Result<Vector, Failure> {
        let swapped = self.matching.card == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let mut ones = HashMap::new();
        for (labels, value) in one {
            if ones.insert(self.signature(&labels), (labels, value)).is_some() {
                let side = if swapped { "left" } else { "right" };
                return Err(Failure::Compute(format!(
                    "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching labels \
                     must be unique on one side"
                )));
            }
        }
        let mut matched: HashMap<Arc<Labels>, HashSet<Labels>> = HashMap::new();
        let mut results = Vec::new();
        for (labels, value) in many {
            let signature = self.signature(&labels);
            let Some((other_labels, other)) = ones.get(&signature) else { continue };
            let result = self.result_labels(&labels, other_labels);
            let first = !matched.contains_key(&signature);
            let seen = matched.entry(signature).or_default();
            if self.matching.card == Cardinality::OneToOne && !first {
                return Err(Failure::Compute(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        .to_owned(),
                ));
            }
            if !seen.insert(result.clone()) {
                return Err(Failure::Compute(
                    "multiple matches for labels: grouping labels must ensure unique matches".to_owned(),
                ));
            }
            let (left, right) = if swapped { (*other, value) } else { (value, *other) };
            if let Some(merged) = merge(self.op, left, right, self.return_bool, left) {
                results.push((Arc::new(result), merged));
            }
        }
        Ok(results)
    }

    /// The labels of a result: those of the "many" side, or only what was matched by.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let named = self.matching.labels.as_deref().unwrap_or_default();
        let is_named = |name: &str| named.iter().any(|label| label == name);
        let mut result = many.without_empty();
        if self.matching.card == Cardinality::OneToOne {
            result = result.keep(|name| is_named(name) == self.matching.on);
        }
        for label in self.matching.include.as_deref().unwrap_or_default() {
            result = result.set(label, one.get(label).unwrap_or_default());
        }
        result
    }
}
