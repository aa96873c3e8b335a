//! Where a field stands in its message.

use crate::types::Field;

/// A field's number, after those of the messages that JSON writes inline; empty for what protobuf leaves out.
#[derive(Clone, Copy)]
pub(super) struct Path {
    numbers: [u8; 3],
    len: usize,
}

impl Path {
    pub(super) fn of(field: Field<'_>) -> Self {
        let numbers = field.number();
        Self { numbers, len: numbers.iter().take_while(|number| **number != 0).count() }
    }

    pub(super) fn steps(&self) -> &[u8] {
        &self.numbers[..self.len]
    }
}
