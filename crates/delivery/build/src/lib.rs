//! Dockerfile in, OCI image out.
