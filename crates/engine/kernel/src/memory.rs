//! What the C library's allocator is told about a server: it gives memory back to the system as if a process were done
//! with it, and takes a part of memory for each thread as if threads were many.

use std::ffi::c_int;

/// So much that was let go of is kept at hand at the end of an arena. A large answer is made of buffers that come and go;
/// by default each of them is given back at once, and costs its page faults anew: half of what a list takes.
const KEPT_BYTES: c_int = 4 << 20;
/// What is larger is mapped by itself, and so given back whole.
const MAPPED_FROM_BYTES: c_int = 1 << 20;
/// Threads that are busy at the same time are few. In each arena more lie pages that are neither full nor free.
const ARENAS: c_int = 2;

/// Settles the allocator's bounds for a long-running process. For the first lines of a process that becomes one: bounds
/// hold for what is allocated from then on.
pub fn settle() {
    for (parameter, value) in
        [(libc::M_TRIM_THRESHOLD, KEPT_BYTES), (libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES), (libc::M_ARENA_MAX, ARENAS)]
    {
        // SAFETY: the call stores a number that the allocator reads under its own lock. Where it is refused, the default
        // stands, which is only slower.
        #[allow(unsafe_code)]
        let _refused = unsafe { libc::mallopt(parameter, value) };
    }
}
