//! The one room that may use unsafe code: thin, safe doors to Linux.
