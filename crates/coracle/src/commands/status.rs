//! `coracle status`: what runs, where, and how it is.

use anyhow::bail;
use serde_json::{Value, json};

use crate::{
    cli::Output,
    commands::{block_on, client},
    paths::DataDir,
    print::{self, Colour},
    state::{self, EngineState},
};

pub fn run(dir: &DataDir, output: Output) -> anyhow::Result<()> {
    let Some(state) = state::running(dir) else {
        if output.json {
            return print::json(&json!({"running": false, "dataDir": dir.root()}));
        }
        bail!("no engine runs in {}. Start one with `coracle up`", dir.root().display());
    };
    let apps = if state.ready { block_on(async { apps(dir).await })? } else { Vec::new() };
    if output.json {
        return print::json(&json!({
            "running": true,
            "ready": state.ready,
            "pid": state.pid,
            "version": state.version,
            "dataDir": dir.root(),
            "kubeconfig": dir.kubeconfig(),
            "urls": state.urls,
            "apps": apps,
        }));
    }
    print_urls(dir, &state);
    print_apps(&apps);
    Ok(())
}

async fn apps(dir: &DataDir) -> anyhow::Result<Vec<Value>> {
    let statuses = coracle_sync::ask::overviews(&client(dir).await?).await?;
    statuses.into_iter().map(|status| Ok(serde_json::to_value(status)?)).collect()
}

/// What a person wants to know first.
pub fn print_urls(dir: &DataDir, state: &EngineState) {
    let ready =
        if state.ready { print::coloured(Colour::Green, "ready") } else { print::coloured(Colour::Yellow, "starting") };
    let urls = &state.urls;
    println!("coracle {} is {ready} (process {})", state.version, state.pid);
    println!("  console     {}", urls.console);
    println!("  git         {}APP.git   (user coracle, token in {})", urls.git, dir.token().display());
    println!("  registry    {}", urls.registry);
    println!("  gateway     {}   {}", urls.gateway, urls.gateway_tls);
    println!("  kubernetes  {}", urls.api);
    println!("  export KUBECONFIG={}", dir.kubeconfig().display());
}

fn print_apps(apps: &[Value]) {
    if apps.is_empty() {
        println!(
            "\nNo apps yet: push a repository to {}",
            print::coloured(Colour::Bold, "git push <git address>/NAME.git main")
        );
        return;
    }
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
    let rows: Vec<Vec<String>> = apps
        .iter()
        .map(|app| {
            let commit = text(&app["revision"]).chars().take(8).collect();
            vec![
                text(&app["name"]),
                commit,
                text(&app["sync"]),
                text(&app["health"]),
                text(&app["urls"][0]),
                text(&app["message"]),
            ]
        })
        .collect();
    println!();
    print::table(&["APP", "COMMIT", "SYNC", "HEALTH", "URL", ""], &rows);
}
