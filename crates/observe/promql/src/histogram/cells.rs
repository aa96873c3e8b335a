//! One side of a histogram taken apart into buckets with indices, so that sides of different layouts can be merged.

use super::{Side, Span, bounds::coarser_index};
use crate::kahan;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub index: i32,
    pub value: f64,
    /// What the value has lost by rounding; 0 unless sums are compensated.
    pub lost: f64,
}

impl Cell {
    /// Adds another cell's value, compensated or plainly.
    pub fn add(&mut self, value: f64, lost: f64, compensated: bool) {
        if !compensated {
            self.value += value;
            return;
        }
        (self.value, self.lost) = kahan::add(value, self.value, self.lost);
        if lost != 0.0 {
            (self.value, self.lost) = kahan::add(lost, self.value, self.lost);
        }
    }
}

pub(super) fn take_apart(spans: &[Span], buckets: &[f64], lost: Option<&[f64]>) -> Vec<Cell> {
    let side = Side::new(spans, buckets).enumerate();
    side.map(|(at, (index, value))| Cell { index, value, lost: lost.map_or(0.0, |lost| lost[at]) }).collect()
}

pub(super) struct Together {
    pub spans: Vec<Span>,
    pub buckets: Vec<f64>,
    pub lost: Vec<f64>,
}

pub(super) fn put_together(cells: &[Cell]) -> Together {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for cell in cells {
        match spans.last_mut() {
            Some(span) if cell.index == next => span.length += 1,
            _ => spans.push(Span { offset: cell.index - next, length: 1 }),
        }
        next = cell.index + 1;
    }
    Together {
        spans,
        buckets: cells.iter().map(|cell| cell.value).collect(),
        lost: cells.iter().map(|cell| cell.lost).collect(),
    }
}

/// The same observations in a coarser schema.
pub(super) fn coarser(cells: Vec<Cell>, from: i32, to: i32, compensated: bool) -> Vec<Cell> {
    let mut merged: Vec<Cell> = Vec::with_capacity(cells.len());
    for cell in cells {
        let index = coarser_index(cell.index, from, to);
        match merged.last_mut() {
            Some(last) if last.index == index => last.add(cell.value, cell.lost, compensated),
            _ => merged.push(Cell { index, ..cell }),
        }
    }
    merged
}

/// Adds `other` bucket by bucket, or takes it away.
pub(super) fn merge(cells: Vec<Cell>, other: &[Cell], negative: bool, compensated: bool) -> Vec<Cell> {
    let sign = if negative { -1.0 } else { 1.0 };
    let mut merged = Vec::with_capacity(cells.len().max(other.len()));
    let mut mine = cells.into_iter().peekable();
    for theirs in other {
        while let Some(cell) = mine.next_if(|cell| cell.index < theirs.index) {
            merged.push(cell);
        }
        let (value, lost) = (sign * theirs.value, sign * theirs.lost);
        match mine.next_if(|cell| cell.index == theirs.index) {
            Some(mut cell) => {
                cell.add(value, lost, compensated);
                merged.push(cell);
            }
            None => merged.push(Cell { index: theirs.index, value, lost }),
        }
    }
    merged.extend(mine);
    merged
}
