//! The web page: apps, environments, commits, health, pods, live.
