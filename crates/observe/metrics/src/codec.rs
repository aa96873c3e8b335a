//! How samples become bytes.

pub(crate) mod bits;
pub(crate) mod classes;
pub(crate) mod floats;
pub(crate) mod histograms;
pub(crate) mod open;
#[cfg(test)]
mod tests;
pub(crate) mod varint;
pub(crate) mod xor;

use coracle_promql::Columns;

/// What kind of chunk some bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    /// Floats that were taken while the chunk grew.
    OpenFloats = 0,
    /// Floats, finished.
    Floats = 1,
    Histograms = 2,
}

impl ChunkKind {
    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::OpenFloats, Self::Floats, Self::Histograms].into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Appends a chunk's samples in `start_ms..=end_ms`; `None` where the bytes are no such chunk.
    pub(crate) fn decode(self, bytes: &[u8], start_ms: i64, end_ms: i64, into: &mut Columns) -> Option<()> {
        match self {
            Self::OpenFloats => open::decode(bytes, start_ms, end_ms, &mut into.floats),
            Self::Floats => floats::decode(bytes, start_ms, end_ms, &mut into.floats),
            Self::Histograms => histograms::decode(bytes, start_ms, end_ms, &mut into.histograms),
        }
    }
}
