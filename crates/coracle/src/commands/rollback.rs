//! `coracle rollback`: puts an app back to an earlier revision.

use std::time::Instant;

use crate::{
    cli::Rollback,
    commands::{block_on, client},
    paths::DataDir,
};

pub fn run(dir: &DataDir, rollback: &Rollback) -> anyhow::Result<()> {
    let start = Instant::now();
    let outcome = block_on(async {
        let client = client(dir).await?;
        Ok(coracle_sync::ask::rollback(&client, &rollback.app, rollback.to.as_deref()).await?)
    })?;
    println!(
        "{} is going back to {} ({:.2} s); it stays there until the next push",
        rollback.app,
        outcome.revision,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
