//! Goes through the instructions of one stage after another, and names each step's result by what goes into it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use coracle_registry::Digest;

use super::{Action, ActionKind, Base, CopyAction, Needs, PROXY_ARGS, PlannedStage, RunAction, Wish};
use crate::{
    BaseImage, Context,
    config::{Empty, HealthcheckConfig, ImageConfig, ImageDocument},
    dockerfile::{Command, Copy, Healthcheck, Instruction, Place, Problem, Problems, Run},
    key::Key,
    layers::clean,
    select::{self, ContextFiles, FoundKind},
};

/// What commands find programs by where the image does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) struct Planner<'a> {
    pub(super) wish: &'a Wish<'a>,
    pub(super) needs: &'a Needs,
    pub(super) images: &'a HashMap<String, BaseImage>,
    pub(super) files: &'a ContextFiles,
    pub(super) context: &'a dyn Context,
    pub(super) done: BTreeMap<usize, PlannedStage>,
    pub(super) number: usize,
    pub(super) problems: Vec<Problem>,
    /// The build arguments that some ARG takes.
    pub(super) used: BTreeSet<String>,
}

/// One stage while its instructions are gone through.
struct Stage {
    planned: PlannedStage,
    args: BTreeMap<String, String>,
    shell: Vec<String>,
    /// Whether CMD was set here: ENTRYPOINT forgets one that was inherited.
    own_cmd: bool,
}

impl Planner<'_> {
    pub(super) fn stage(&mut self, number: usize, base: &Base) {
        let wish = self.wish;
        let stage = &wish.dockerfile.stages[number];
        self.number += 1;
        let (config, key) = match base {
            Base::Scratch => (ImageConfig::default(), Key::new("scratch").finish()),
            Base::Stage(other) => (self.done[other].config.clone(), self.done[other].key.clone()),
            Base::Image(reference) => {
                let image = &self.images[reference];
                match serde_json::from_slice::<ImageDocument>(&image.config) {
                    Ok(document) => (document.config, Key::new("base").with(image.digest.to_string()).finish()),
                    Err(error) => {
                        let message = format!("the configuration of {reference} cannot be read: {error}");
                        self.problems.push(wish.problem(&stage.place, message, None));
                        (ImageConfig::default(), String::new())
                    }
                }
            }
        };
        let shell = config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
        let planned = PlannedStage {
            base: base.clone(),
            place: stage.place.clone(),
            actions: Vec::new(),
            config,
            history: Vec::new(),
            key,
            number: self.number,
        };
        let mut state = Stage { planned, args: BTreeMap::new(), shell, own_cmd: false };
        for step in &stage.steps {
            let before = state.planned.actions.len();
            if let Err(problems) = self.step(&mut state, number, &step.place, &step.instruction) {
                self.problems.extend(problems.0);
            }
            let action = (state.planned.actions.len() > before).then_some(before);
            state.planned.history.push((step.place.text.clone(), action));
        }
        self.done.insert(number, state.planned);
    }

    fn step(
        &mut self,
        state: &mut Stage,
        number: usize,
        place: &Place,
        instruction: &Instruction,
    ) -> Result<(), Problems> {
        let wish = self.wish;
        let refuse = |message: String| wish.problems(place, message, None);
        match instruction {
            Instruction::Arg(args) => {
                for (name, default) in args {
                    self.used.insert(name.clone());
                    let value = match (wish.args.get(name), default) {
                        (Some(value), _) => Some(value.clone()),
                        (None, Some(default)) => Some(self.word(state, place, default)?),
                        (None, None) => self.needs.globals.get(name).cloned(),
                    };
                    match value {
                        Some(value) => state.args.insert(name.clone(), value),
                        None => state.args.remove(name),
                    };
                }
            }
            Instruction::Env(pairs) => {
                // All values of one ENV see the environment before it.
                let mut values = Vec::new();
                for (name, value) in pairs {
                    values.push((self.word(state, place, name)?, self.word(state, place, value)?));
                }
                for (name, value) in values {
                    state.planned.config.set_variable(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                for (name, value) in pairs {
                    let (name, value) = (self.word(state, place, name)?, self.word(state, place, value)?);
                    state.planned.config.labels.get_or_insert_default().insert(name, value);
                }
            }
            Instruction::Copy(copy) => self.copy(state, number, place, copy)?,
            Instruction::Run(run) => self.run(state, place, run),
            Instruction::Workdir(path) => {
                let path = self.word(state, place, path)?;
                let path = absolute(&path, &state.planned.config.working_dir);
                state.planned.config.working_dir = path.clone();
                let key = Key::new("workdir").with(&state.planned.key).with(&path).finish();
                self.act(state, place, key, ActionKind::Workdir(path));
            }
            Instruction::User(user) => state.planned.config.user = self.word(state, place, user)?,
            Instruction::Expose(ports) => {
                for port in ports {
                    for port in self.word(state, place, port)?.split_whitespace() {
                        let ports = expose(port)
                            .ok_or_else(|| refuse(format!("{port:?} is not a port: write EXPOSE 8080 or 53/udp")))?;
                        state
                            .planned
                            .config
                            .exposed_ports
                            .get_or_insert_default()
                            .extend(ports.into_iter().map(|port| (port, Empty {})));
                    }
                }
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    let path = self.word(state, place, path)?;
                    state.planned.config.volumes.get_or_insert_default().insert(path, Empty {});
                }
            }
            Instruction::Cmd(command) => {
                state.planned.config.cmd = Some(argv(command, &state.shell));
                state.own_cmd = true;
            }
            Instruction::Entrypoint(command) => {
                state.planned.config.entrypoint = Some(argv(command, &state.shell));
                if !state.own_cmd {
                    state.planned.config.cmd = None;
                }
            }
            Instruction::Shell(shell) => {
                state.shell = shell.clone();
                state.planned.config.shell = Some(shell.clone());
            }
            Instruction::Healthcheck(check) => state.planned.config.healthcheck = Some(healthcheck(check)),
            Instruction::StopSignal(signal) => {
                state.planned.config.stop_signal = Some(self.word(state, place, signal)?)
            }
            Instruction::Maintainer(name) => {
                state.planned.config.labels.get_or_insert_default().insert("maintainer".into(), name.clone());
            }
        }
        Ok(())
    }

    fn word(&self, state: &Stage, place: &Place, word: &str) -> Result<String, Problems> {
        self.wish.expand(word, place, &|name| {
            state.planned.config.variable(name).map(str::to_owned).or_else(|| state.args.get(name).cloned())
        })
    }

    fn act(&mut self, state: &mut Stage, place: &Place, key: String, kind: ActionKind) {
        self.number += 1;
        state.planned.key.clone_from(&key);
        state.planned.actions.push(Action { key, place: place.clone(), number: self.number, kind });
    }

    fn run(&mut self, state: &mut Stage, place: &Place, run: &Run) {
        let config = &state.planned.config;
        let mut env = config.env.clone().unwrap_or_default();
        if config.variable("PATH").is_none() {
            env.insert(0, DEFAULT_PATH.into());
        }
        for (name, value) in &state.args {
            if config.variable(name).is_none() {
                env.push(format!("{name}={value}"));
            }
        }
        let argv = argv(&run.command, &state.shell);
        let cwd = if config.working_dir.is_empty() { "/".to_owned() } else { config.working_dir.clone() };
        let mut key =
            Key::new("run").with(&state.planned.key).with(&cwd).with(&config.user).with([u8::from(run.offline)]);
        for part in [&argv, &env] {
            key.add(part.len().to_le_bytes());
            part.iter().for_each(|word| key.add(word));
        }
        if config.variable("HOME").is_none() && matches!(config.user.as_str(), "" | "root" | "0") {
            env.push("HOME=/root".into());
        }
        // How to reach the network changes nothing about the result.
        env.extend(PROXY_ARGS.iter().filter_map(|name| Some(format!("{name}={}", self.wish.args.get(*name)?))));
        let action = RunAction { argv, env, cwd, user: config.user.clone(), offline: run.offline };
        self.act(state, place, key.finish(), ActionKind::Run(action));
    }

    fn copy(&mut self, state: &mut Stage, number: usize, place: &Place, copy: &Copy) -> Result<(), Problems> {
        let wish = self.wish;
        let mut action = CopyAction {
            from: copy.from.as_ref().map(|from| wish.origin(from, number)),
            sources: Vec::new(),
            exclude: Vec::new(),
            inline: Vec::new(),
            destination: absolute(&self.word(state, place, &copy.destination)?, &state.planned.config.working_dir),
            chown: None,
            chmod: None,
            unpack: copy.add,
        };
        let expanded_destination = self.word(state, place, &copy.destination)?;
        if expanded_destination.ends_with('/') || expanded_destination.ends_with("/.") || expanded_destination == "." {
            action.destination = format!("{}/", action.destination.trim_end_matches('/'));
        }
        for source in &copy.sources {
            action.sources.push(self.word(state, place, source)?);
        }
        for pattern in &copy.exclude {
            action.exclude.push(self.word(state, place, pattern)?);
        }
        for file in &copy.inline {
            let content = match file.expands {
                true => self.inline(state, place, &file.content)?,
                false => file.content.clone(),
            };
            action.inline.push((file.name.clone(), content));
        }
        if let Some(chown) = &copy.chown {
            action.chown = Some(self.word(state, place, chown)?);
        }
        if let Some(chmod) = &copy.chmod {
            let text = self.word(state, place, chmod)?;
            let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
            let message = format!("--chmod={text} is not understood");
            action.chmod =
                Some(mode.ok_or_else(|| {
                    wish.problems(place, message, Some("give it in octal digits: --chmod=755".into()))
                })?);
        }
        let key = self.copy_key(state, place, &action)?;
        self.act(state, place, key, ActionKind::Copy(action));
        Ok(())
    }

    /// Variables in a here-document; quotes in it mean nothing.
    fn inline(&self, state: &Stage, place: &Place, content: &str) -> Result<String, Problems> {
        let escaped: String = content
            .chars()
            .flat_map(|c| match c {
                '"' | '\'' => vec![self.wish.dockerfile.escape, c],
                c => vec![c],
            })
            .collect();
        self.word(state, place, &escaped)
    }

    /// What a COPY's result depends on: what is there before, what is copied, and how.
    fn copy_key(&self, state: &Stage, place: &Place, action: &CopyAction) -> Result<String, Problems> {
        let mut key = Key::new("copy")
            .with(&state.planned.key)
            .with(&action.destination)
            .with(action.chown.as_deref().unwrap_or("-"))
            .with(format!("{:?} {}", action.chmod, action.unpack));
        for (name, content) in &action.inline {
            key.add(name);
            key.add(content);
        }
        for list in [&action.sources, &action.exclude] {
            key.add(list.len().to_le_bytes());
            list.iter().for_each(|word| key.add(word));
        }
        match &action.from {
            None => self.add_context_content(&mut key, place, action)?,
            Some(Base::Scratch) => return Err(self.wish.problems(place, "there is nothing to copy in scratch", None)),
            Some(Base::Stage(other)) => key.add(&self.done[other].key),
            Some(Base::Image(reference)) => key.add(self.images[reference].digest.to_string()),
        }
        Ok(key.finish())
    }

    fn add_context_content(&self, key: &mut Key, place: &Place, action: &CopyAction) -> Result<(), Problems> {
        let refuse = |message: String, hint| self.wish.problems(place, message, hint);
        let sources = select::find(self.files, &action.sources, &action.exclude)
            .map_err(|(message, hint)| refuse(message, hint))?;
        for source in &sources {
            key.add(&source.name);
            let own = [(String::new(), source.found.clone())];
            for (path, found) in own.iter().map(|(path, found)| (path, found)).chain(&source.inside) {
                key.add(path);
                key.add(found.mode.to_le_bytes());
                match &found.kind {
                    FoundKind::Directory => key.add("directory"),
                    FoundKind::Symlink { target } => key.add(format!("link {target}")),
                    FoundKind::File { content: crate::archive::Content::Context(path), .. } => {
                        let id = self.files.content_id(path, self.context);
                        key.add(id.map_err(|error| refuse(format!("{path} cannot be read: {error}"), None))?);
                    }
                    // The context holds no other content.
                    FoundKind::File { size_bytes, .. } => key.add(Digest::of(&size_bytes.to_le_bytes()).to_string()),
                }
            }
        }
        Ok(())
    }
}

/// `path` from the root, taken from `working_dir` where it is relative.
fn absolute(path: &str, working_dir: &str) -> String {
    match path.starts_with('/') {
        true => format!("/{}", clean(path)),
        false => format!("/{}", clean(&format!("{working_dir}/{path}"))),
    }
}

fn argv(command: &Command, shell: &[String]) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) => shell.iter().cloned().chain([text.clone()]).collect(),
    }
}

/// The ports that one word of EXPOSE means.
fn expose(word: &str) -> Option<Vec<String>> {
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    let valid = first > 0 && first <= last && matches!(protocol.as_str(), "tcp" | "udp" | "sctp");
    valid.then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn healthcheck(check: &Healthcheck) -> HealthcheckConfig {
    let Healthcheck::Check { command, durations_nanos, retries } = check else {
        return HealthcheckConfig { test: vec!["NONE".into()], ..Default::default() };
    };
    let duration = |name: &str| durations_nanos.get(name).copied();
    HealthcheckConfig {
        test: match command {
            Command::Exec(words) => [vec!["CMD".to_owned()], words.clone()].concat(),
            Command::Shell(text) => vec!["CMD-SHELL".into(), text.clone()],
        },
        interval: duration("interval"),
        timeout: duration("timeout"),
        start_period: duration("start-period"),
        start_interval: duration("start-interval"),
        retries: *retries,
    }
}
