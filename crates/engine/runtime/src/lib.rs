//! Images on disk, containers, cgroups.
