//! `coracle up`: the engine in the foreground, or started and left running.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    cli::{Global, Up},
    commands::status,
    doctor, engine,
    paths::DataDir,
    settings::Settings,
    state::{self, EngineState},
};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub fn run(global: &Global, up: &Up) -> anyhow::Result<()> {
    let settings = Settings::new(global, up)?;
    doctor::require(&doctor::examine(&settings.data_dir))?;
    if up.detach {
        let state = detach(global, up, &settings.data_dir)?;
        status::print_urls(&settings.data_dir, &state);
        return Ok(());
    }
    engine::run(settings)
}

/// Starts this binary again as a daemon, and waits until it is ready or has failed.
pub fn detach(global: &Global, up: &Up, dir: &DataDir) -> anyhow::Result<EngineState> {
    if let Some(state) = state::running(dir).filter(|state| state.ready) {
        return Ok(state);
    }
    fs::create_dir_all(dir.logs()).with_context(|| format!("directory {}", dir.logs().display()))?;
    let log_path = dir.engine_log();
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(&log_path)
        .with_context(|| format!("log file {}", log_path.display()))?;
    let said_before = log.seek(SeekFrom::End(0))?;
    if !state::is_running(dir) {
        // What a killed engine left must not be taken for the word of the one that starts now.
        state::forget(dir)?;
    }
    let mut child = spawn(global, up, dir, &log)?;
    let start = Instant::now();
    loop {
        if let Some(state) = state::running(dir).filter(|state| state.ready) {
            return Ok(state);
        }
        if let Some(status) = child.try_wait()? {
            log.seek(SeekFrom::Start(said_before))?;
            let mut said = String::new();
            log.read_to_string(&mut said)?;
            bail!("the engine ended with {status}:\n{}", last_lines(&said, 15));
        }
        if start.elapsed() > PATIENCE {
            bail!("the engine is not ready after {} s; it says why in {}", PATIENCE.as_secs(), log_path.display());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn spawn(global: &Global, up: &Up, dir: &DataDir, log: &fs::File) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command.arg("up").arg("--data-dir").arg(dir.root());
    if let Some(config) = &global.config {
        command.arg("--config").arg(std::path::absolute(config)?);
    }
    let addresses = [
        ("--listen", up.listen),
        ("--api-listen", up.api_listen),
        ("--gateway-listen", up.gateway_listen),
        ("--gateway-tls-listen", up.gateway_tls_listen),
    ];
    for (flag, address) in addresses {
        if let Some(address) = address {
            command.arg(flag).arg(address.to_string());
        }
    }
    for part in up.without.iter().filter_map(clap::ValueEnum::to_possible_value) {
        command.arg("--without").arg(part.get_name());
    }
    for (flag, text) in [("--node-name", &up.node_name), ("--log", &up.log)] {
        if let Some(text) = text {
            command.arg(flag).arg(text);
        }
    }
    command.args(up.api.arguments()?);
    command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    // A session of its own would need setsid between fork and exec; a process group is enough to be left alone by the terminal.
    command.process_group(0);
    command.spawn().context("starting the engine")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
