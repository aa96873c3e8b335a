//! Taking empty buckets out of the layout.

use super::{
    FloatHistogram,
    cells::{Cell, put_together},
};

impl FloatHistogram {
    /// No empty buckets, no spans that touch.
    pub fn compact(&mut self) -> &mut Self {
        let has_empty = self.positive_buckets.iter().chain(&self.negative_buckets).any(|count| *count == 0.0);
        let is_loose = |spans: &[super::Span]| {
            spans.iter().enumerate().any(|(at, span)| span.length == 0 || (at > 0 && span.offset == 0))
        };
        if has_empty || is_loose(&self.positive_spans) || is_loose(&self.negative_spans) {
            self.compact_with(None);
        }
        self
    }

    /// One span a side, empty buckets between filled ones written out.
    pub fn compact_to_one_span(&mut self) -> &mut Self {
        self.compact();
        for positive in [true, false] {
            let cells = self.cells(positive, None);
            let (Some(first), Some(last)) = (cells.first(), cells.last()) else { continue };
            let mut row: Vec<Cell> =
                (first.index..=last.index).map(|index| Cell { index, value: 0.0, lost: 0.0 }).collect();
            for cell in &cells {
                row[(cell.index - first.index) as usize] = *cell;
            }
            self.set_side(positive, &row);
        }
        self
    }

    /// Compacts, and keeps what goes along with the sum in step: a bucket is empty when nothing is in either.
    pub(super) fn compact_with(&mut self, mut lost: Option<&mut FloatHistogram>) {
        for positive in [true, false] {
            let lost_buckets = lost
                .as_deref()
                .map(|lost| if positive { lost.positive_buckets.clone() } else { lost.negative_buckets.clone() });
            let mut cells = self.cells(positive, lost_buckets.as_deref());
            cells.retain(|cell| cell.value != 0.0 || cell.lost != 0.0);
            self.set_side(positive, &cells);
            if let Some(lost) = lost.as_deref_mut() {
                let together = put_together(&cells);
                if positive {
                    (lost.positive_spans, lost.positive_buckets) = (together.spans, together.lost);
                } else {
                    (lost.negative_spans, lost.negative_buckets) = (together.spans, together.lost);
                }
            }
        }
    }

    fn set_side(&mut self, positive: bool, cells: &[Cell]) {
        let together = put_together(cells);
        if positive {
            (self.positive_spans, self.positive_buckets) = (together.spans, together.buckets);
        } else {
            (self.negative_spans, self.negative_buckets) = (together.spans, together.buckets);
        }
    }
}
