//! `coracle history`: the revisions an app has had, the newest first.

use crate::{
    cli::History,
    commands::{block_on, client},
    paths::DataDir,
    print,
};

pub fn run(dir: &DataDir, history: &History) -> anyhow::Result<()> {
    let entries = block_on(async { Ok(coracle_sync::ask::history(&client(dir).await?, &history.app).await?) })?;
    if history.output.json {
        return print::json(&entries);
    }
    if entries.is_empty() {
        println!("{} has no history yet", history.app);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = entries
        .into_iter()
        .map(|entry| {
            vec![entry.id.to_string(), entry.revision.chars().take(8).collect(), entry.deployed_at, entry.subject]
        })
        .collect();
    print::table(&["ID", "COMMIT", "DEPLOYED", "SUBJECT"], &rows);
    Ok(())
}
