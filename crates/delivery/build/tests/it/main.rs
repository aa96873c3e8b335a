//! Whole builds, into a store on disk. Commands run in a sandbox that only pretends.

mod building;
mod copying;
mod world;
