//! How much of the thread's stack has been used, so that hostile input gets an error and not an overflow.

/// A place on the stack, and how far below it recursion may go.
#[derive(Clone, Copy)]
pub(crate) struct Stack {
    base: usize,
    budget_bytes: usize,
}

impl Stack {
    /// A budget that counts from the caller's frame.
    pub fn here(budget_bytes: usize) -> Stack {
        Stack { base: address(), budget_bytes }
    }

    /// Whether the budget is used up in the caller's frame.
    pub fn is_spent(&self) -> bool {
        self.base.abs_diff(address()) > self.budget_bytes
    }
}

/// Roughly where the stack is.
#[inline(always)]
fn address() -> usize {
    let marker = 0u8;
    std::ptr::from_ref(std::hint::black_box(&marker)) as usize
}
