//! Helm charts to manifests, as Helm renders them.
