//! Pod lifecycle: the kubelet's job.
