//! Kustomizations to manifests: bytes in, documents or a located error out.
