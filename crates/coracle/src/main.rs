//! The command: parse, wire the rooms together, print.

mod cli;
mod commands;
mod doctor;
mod engine;
mod leftovers;
mod paths;
mod print;
mod settings;
mod state;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

fn main() -> ExitCode {
    if let Some(arguments) = shim_arguments() {
        coracle_runtime::shim_main(arguments);
    }
    if let Some(words) = render_words() {
        return commands::render::main(&words);
    }
    let cli = Cli::parse();
    if let Command::Render(render) = &cli.command {
        return commands::render::run(render);
    }
    if let Command::Rules(rules) = &cli.command {
        return commands::rules::run(rules);
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error:#}", print::coloured_error("error:"));
            ExitCode::FAILURE
        }
    }
}

/// A container's parent is this binary too; it must start before anything else does, and be small.
fn shim_arguments() -> Option<impl Iterator<Item = std::ffi::OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == "__shim").then_some(arguments)
}

/// Renders read their own words: what other tools are called by must find what those tools would say.
fn render_words() -> Option<Vec<std::ffi::OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == "render").then(|| arguments.collect())
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let global = cli.global;
    match cli.command {
        Command::Up(up) => commands::up::run(&global, &up),
        Command::Down(down) => commands::down::run(&settings::data_dir(&global)?, down),
        Command::Demo(demo) => commands::demo::run(&global, demo),
        Command::Status(output) => commands::status::run(&settings::data_dir(&global)?, output),
        Command::Doctor(output) => doctor::run(&settings::data_dir(&global)?, output),
        Command::History(history) => commands::history::run(&settings::data_dir(&global)?, &history),
        Command::Rollback(rollback) => commands::rollback::run(&settings::data_dir(&global)?, &rollback),
        Command::Logs(logs) => commands::logs::run(&settings::data_dir(&global)?, &logs),
        Command::Eject(eject) => commands::eject::run(&eject),
        Command::LogsStore(command) => commands::logs_store::run(&settings::data_dir(&global)?, &command),
        Command::Query(query) => commands::query::run(&settings::data_dir(&global)?, &query),
        Command::Metrics(metrics) => commands::metrics::run(&settings::data_dir(&global)?, &metrics),
        Command::Backup(backup) => commands::backup::run(&settings::data_dir(&global)?, &backup),
        Command::Restore(restore) => commands::restore::run(&settings::data_dir(&global)?, &restore),
        Command::RotateKeys => commands::rotate_keys::run(&settings::data_dir(&global)?),
        Command::Bench(output) => commands::bench::run(&global, output),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "coracle", &mut std::io::stdout());
            Ok(())
        }
        Command::Version(output) => commands::version::run(output),
        Command::Rules(_) => unreachable!("rules have exit codes of their own, and were done before"),
        Command::Render(_) => unreachable!("renders have exit codes of their own, and were done before"),
        Command::Shim { .. } => unreachable!("the shim starts before the command line is parsed"),
    }
}
