//! Pod lifecycle: the kubelet's job.

pub mod container;
pub mod doors;
pub mod pod;
pub mod quantity;
pub mod streams;
pub mod volumes;
