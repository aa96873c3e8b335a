//! Dockerfiles: text in, stages of instructions out, or every problem at once with its place.
//! The language is Docker's; see the Dockerfile reference. Pure: nothing is looked up, nothing is run.

mod arguments;
mod expand;
mod instructions;
mod lines;
mod parse;
mod problem;

use std::collections::BTreeMap;

pub use expand::{ExpandError, expand};
pub use parse::parse;
pub use problem::{Problem, Problems};

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// `ARG`s before the first `FROM`, in order, with their defaults.
    pub global_args: Vec<(String, Option<String>)>,
    /// At least one.
    pub stages: Vec<Stage>,
    /// What is ignored or dubious, but no error.
    pub warnings: Vec<Problem>,
    /// `\`, or the backtick where a directive says so.
    pub escape: char,
}

/// From one `FROM` to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What it begins with, unexpanded: an image, an earlier stage, or `scratch`.
    pub base: String,
    /// `AS name`, lower-cased.
    pub name: Option<String>,
    /// `--platform`, unexpanded.
    pub platform: Option<String>,
    /// Where the `FROM` is.
    pub place: Place,
    /// What follows.
    pub steps: Vec<Step>,
}

/// Where an instruction is, and how to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its first line, counted from 1.
    pub line: usize,
    /// The instruction on one line, as a person wrote it.
    pub text: String,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it is.
    pub place: Place,
    /// What it says.
    pub instruction: Instruction,
}

/// What an instruction says, its variables unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `ARG NAME[=DEFAULT] ...`
    Arg(Vec<(String, Option<String>)>),
    /// `ENV NAME=VALUE ...`
    Env(Vec<(String, String)>),
    /// `LABEL NAME=VALUE ...`
    Label(Vec<(String, String)>),
    /// `COPY` and `ADD`.
    Copy(Copy),
    /// `RUN`.
    Run(Run),
    /// `WORKDIR PATH`
    Workdir(String),
    /// `USER USER[:GROUP]`
    User(String),
    /// `EXPOSE PORT[/PROTOCOL] ...`
    Expose(Vec<String>),
    /// `VOLUME PATH ...`
    Volume(Vec<String>),
    /// `CMD`.
    Cmd(Command),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `SHELL ["...", ...]`
    Shell(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `STOPSIGNAL SIGNAL`
    StopSignal(String),
    /// `MAINTAINER NAME`
    Maintainer(String),
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `["a", "b"]`: run as it is.
    Exec(Vec<String>),
    /// Anything else: run by the shell.
    Shell(String),
}

/// `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    /// Whether it is `ADD`, which unpacks local tar archives.
    pub add: bool,
    /// What to copy.
    pub sources: Vec<String>,
    /// Files written in the Dockerfile itself.
    pub inline: Vec<InlineFile>,
    /// Where to.
    pub destination: String,
    /// `--from`.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--exclude`, each.
    pub exclude: Vec<String>,
}

/// A here-document that becomes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// The delimiter, which is the file's name where the destination is a directory.
    pub name: String,
    /// What it holds.
    pub content: String,
    /// Whether variables in it are expanded.
    pub expands: bool,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run; here-documents are part of a shell command's text.
    pub command: Command,
    /// `--network=none`.
    pub offline: bool,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: forget the base image's.
    None,
    /// `CMD ...`
    Check {
        /// What to run.
        command: Command,
        /// `--interval`, `--timeout`, `--start-period`, `--start-interval` in nanoseconds, by name.
        durations_nanos: BTreeMap<String, u64>,
        /// `--retries`.
        retries: Option<u32>,
    },
}
