//! The L7 edge: Ingress, TLS, traffic straight to ready pods.
