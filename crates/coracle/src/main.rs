//! The command: parse, wire the rooms together, print.

fn main() {}
