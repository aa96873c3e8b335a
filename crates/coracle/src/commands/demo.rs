//! `coracle demo`: the whole story on this machine, each step checked as it is told.

pub mod load;
pub mod processes;
pub mod repository;
mod story;
pub mod world;

use std::path::Path;

use anyhow::Context;

use crate::{
    cli::{Demo, Global, Up},
    commands::{down, status},
    doctor,
    paths::DataDir,
    settings, state,
};
use story::Story;
use world::World;

/// The demo does not touch an engine somebody uses: it has a directory of its own unless told otherwise.
const DEFAULT_DIR: &str = "/var/lib/coracle-demo";

pub fn run(global: &Global, demo: Demo) -> anyhow::Result<()> {
    let dir = match &global.data_dir {
        Some(_) => settings::data_dir(global)?,
        None => DataDir::new(Path::new(DEFAULT_DIR))?,
    };
    let global = Global { data_dir: Some(dir.root().to_owned()), config: global.config.clone() };
    doctor::require(&doctor::examine(&dir))?;
    if dir.root().exists() {
        println!("removing what an earlier demo left in {}", dir.root().display());
        down::run(&dir, crate::cli::Down { purge: true })?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("an async runtime")?;
    let mut story = Story::begin();
    let told = runtime.block_on(story::tell(&mut story, World::new(global, dir.clone(), Up::default())));
    if demo.once {
        let purged = story.step("down --purge: nothing of it is left", || story::purge(&dir));
        told?;
        purged?;
    } else {
        told?;
        println!();
        if let Some(state) = state::running(&dir) {
            status::print_urls(&dir, &state);
        }
        println!("\nThe platform stays up. `coracle down --purge --data-dir {}` takes it away.", dir.root().display());
    }
    story.end();
    Ok(())
}
