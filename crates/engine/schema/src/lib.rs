//! What objects may look like: types as data, defaulting, pruning, validation and the merge algorithms.
