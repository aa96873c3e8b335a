//! kube::Client over an in-process service or by kubeconfig, and shared caches.
