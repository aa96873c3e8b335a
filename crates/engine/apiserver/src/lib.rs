//! The Kubernetes API over HTTP: verbs, watch, discovery, authentication, authorization, admission, custom resources.
pub mod authz;
