//! An OCI distribution registry on disk.
