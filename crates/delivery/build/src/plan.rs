//! From a Dockerfile to what has to be done: variables expanded, stages that nobody needs left out, and for every step a key
//! that names its result by what goes into it. Nothing is run and nothing written here, so the key of the whole image is known
//! before anything is built.

mod planner;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    BaseImage, Context,
    config::ImageConfig,
    dockerfile::{Copy, Dockerfile, Instruction, Place, Problem, Problems, expand},
    key::Key,
    select::ContextFiles,
};
use planner::Planner;

/// How much of a key is used as a tag.
const TAG_DIGITS: usize = 32;
/// Build arguments that need no ARG and are no part of any key: they say how to reach the network, not what to build.
const PROXY_ARGS: [&str; 8] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy"];

/// What a build is asked for.
pub struct Wish<'a> {
    /// The Dockerfile's path, for messages.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
    /// The parsed Dockerfile.
    pub dockerfile: &'a Dockerfile,
    /// `--build-arg`s.
    pub args: &'a BTreeMap<String, String>,
    /// The stage to build; the last one where there is none.
    pub target: Option<&'a str>,
    /// `linux/amd64`.
    pub platform: &'a str,
}

/// Where a stage or a copy begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image, by its reference.
    Image(String),
}

/// Which stages and images are needed.
#[derive(Debug)]
pub struct Needs {
    /// The bases of the needed stages, by number, ascending.
    pub stages: BTreeMap<usize, Base>,
    /// The references of images, each with where it is first named.
    pub images: Vec<(String, Place)>,
    target: usize,
    globals: BTreeMap<String, String>,
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    pub stages: BTreeMap<usize, PlannedStage>,
    pub target: usize,
    /// Names the image by what goes into it.
    pub tag: String,
    /// Steps that make layers, and bases.
    pub total: usize,
    pub warnings: Vec<Problem>,
}

#[derive(Debug, Clone)]
pub struct PlannedStage {
    pub base: Base,
    pub place: Place,
    pub actions: Vec<Action>,
    pub config: ImageConfig,
    /// Each instruction, and the action that carries it out where there is one.
    pub history: Vec<(String, Option<usize>)>,
    pub key: String,
    /// Its number among all that is shown.
    pub number: usize,
}

/// One step that may make a layer.
#[derive(Debug, Clone)]
pub struct Action {
    pub key: String,
    pub place: Place,
    pub number: usize,
    pub kind: ActionKind,
}

#[derive(Debug, Clone)]
pub enum ActionKind {
    Copy(CopyAction),
    Run(RunAction),
    /// Makes the directory.
    Workdir(String),
}

#[derive(Debug, Clone)]
pub struct CopyAction {
    /// None is the build context.
    pub from: Option<Base>,
    pub sources: Vec<String>,
    pub exclude: Vec<String>,
    /// Names and contents of files written in the Dockerfile.
    pub inline: Vec<(String, String)>,
    /// Absolute; a slash at the end means a directory.
    pub destination: String,
    pub chown: Option<String>,
    pub chmod: Option<u32>,
    pub unpack: bool,
}

#[derive(Debug, Clone)]
pub struct RunAction {
    pub argv: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub user: String,
    pub offline: bool,
}

impl Wish<'_> {
    fn problem(&self, place: &Place, message: impl Into<String>, hint: Option<String>) -> Problem {
        let source = self.text.split('\n').nth(place.line - 1).unwrap_or_default().trim_end_matches('\r').to_owned();
        let column = source.chars().take_while(|c| c.is_whitespace()).count() + 1;
        Problem { file: self.file.to_owned(), line: place.line, column, source, message: message.into(), hint }
    }

    /// A problem at `place`, alone.
    pub fn problems(&self, place: &Place, message: impl Into<String>, hint: Option<String>) -> Problems {
        Problems(vec![self.problem(place, message, hint)])
    }

    /// The stages that the target needs, and the images those need.
    pub fn needs(&self) -> Result<Needs, Problems> {
        let globals = self.globals()?;
        let target = self.target_stage()?;
        let mut stages = BTreeMap::new();
        let mut images: Vec<(String, Place)> = Vec::new();
        let mut waiting = BTreeSet::from([target]);
        while let Some(number) = waiting.pop_last() {
            let stage = &self.dockerfile.stages[number];
            let base = self.base(number, &globals)?;
            let mut note = |base: &Base, place: &Place| match base {
                Base::Scratch => {}
                Base::Stage(other) => {
                    waiting.insert(*other);
                }
                Base::Image(reference) if images.iter().any(|(known, _)| known == reference) => {}
                Base::Image(reference) => images.push((reference.clone(), place.clone())),
            };
            note(&base, &stage.place);
            for step in &stage.steps {
                if let Instruction::Copy(Copy { from: Some(from), .. }) = &step.instruction {
                    note(&self.origin(from, number), &step.place);
                }
            }
            stages.insert(number, base);
        }
        Ok(Needs { stages, images, target, globals })
    }

    fn target_stage(&self) -> Result<usize, Problems> {
        let stages = &self.dockerfile.stages;
        let Some(target) = self.target else { return Ok(stages.len() - 1) };
        let lower = target.to_ascii_lowercase();
        let by_name = stages.iter().position(|stage| stage.name.as_ref() == Some(&lower));
        let by_number = || target.parse().ok().filter(|number| *number < stages.len());
        by_name.or_else(by_number).ok_or_else(|| {
            let names: Vec<&str> = stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
            let hint = if names.is_empty() {
                "no stage has a name".into()
            } else {
                format!("there are: {}", names.join(", "))
            };
            self.problems(&stages[stages.len() - 1].place, format!("there is no stage {target:?} to build"), Some(hint))
        })
    }

    /// The arguments before the first FROM, and what the platform gives.
    fn globals(&self) -> Result<BTreeMap<String, String>, Problems> {
        let mut parts = self.platform.split('/');
        let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut globals = BTreeMap::new();
        for kind in ["BUILD", "TARGET"] {
            globals.insert(format!("{kind}PLATFORM"), self.platform.to_owned());
            globals.insert(format!("{kind}OS"), os.to_owned());
            globals.insert(format!("{kind}ARCH"), architecture.to_owned());
            globals.insert(format!("{kind}VARIANT"), parts.clone().next().unwrap_or_default().to_owned());
        }
        for (name, default) in &self.dockerfile.global_args {
            let value = match (self.args.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => {
                    let place = &self.dockerfile.stages[0].place;
                    Some(self.expand(default, place, &|name| globals.get(name).cloned())?)
                }
                (None, None) => None,
            };
            if let Some(value) = value {
                globals.insert(name.clone(), value);
            }
        }
        Ok(globals)
    }

    fn expand(&self, word: &str, place: &Place, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Problems> {
        expand(word, self.dockerfile.escape, lookup)
            .map_err(|error| self.problems(place, format!("{word}: {error}"), None))
    }

    fn base(&self, number: usize, globals: &BTreeMap<String, String>) -> Result<Base, Problems> {
        let stage = &self.dockerfile.stages[number];
        let lookup = |name: &str| globals.get(name).cloned();
        if let Some(platform) = &stage.platform {
            let platform = self.expand(platform, &stage.place, &lookup)?;
            if platform != self.platform {
                let message =
                    format!("images for {platform} cannot be built on this machine, which is {}", self.platform);
                return Err(self.problems(
                    &stage.place,
                    message,
                    Some("leave --platform out, or use $BUILDPLATFORM".into()),
                ));
            }
        }
        let base = self.expand(&stage.base, &stage.place, &lookup)?;
        if base.is_empty() {
            let hint = "give it a default: ARG NAME=VALUE before the first FROM".into();
            return Err(self.problems(
                &stage.place,
                format!("{:?} is empty, so there is no base image", stage.base),
                Some(hint),
            ));
        }
        if base == "scratch" {
            return Ok(Base::Scratch);
        }
        let lower = base.to_ascii_lowercase();
        let earlier = self.dockerfile.stages[..number].iter().position(|stage| stage.name.as_ref() == Some(&lower));
        Ok(earlier.map_or(Base::Image(base), Base::Stage))
    }

    /// Where `COPY --from` in stage `number` takes from.
    fn origin(&self, from: &str, number: usize) -> Base {
        let lower = from.to_ascii_lowercase();
        let by_name = self.dockerfile.stages[..number].iter().position(|stage| stage.name.as_ref() == Some(&lower));
        let by_number = || from.parse().ok().filter(|other| *other < number);
        by_name.or_else(by_number).map_or_else(|| Base::Image(from.to_owned()), Base::Stage)
    }

    /// What is to be done. `images` holds all that [`Needs::images`] names.
    pub fn plan(
        &self,
        needs: &Needs,
        images: &HashMap<String, BaseImage>,
        files: &ContextFiles,
        context: &dyn Context,
    ) -> Result<Plan, Problems> {
        let mut planner = Planner {
            wish: self,
            needs,
            images,
            files,
            context,
            done: BTreeMap::new(),
            number: 0,
            problems: Vec::new(),
            used: BTreeSet::new(),
        };
        for (number, base) in &needs.stages {
            planner.stage(*number, base);
        }
        if !planner.problems.is_empty() {
            return Err(Problems(planner.problems));
        }
        let target = &planner.done[&needs.target];
        let config = serde_json::to_vec(&target.config).expect("a configuration is JSON");
        let tag =
            Key::new("image").with(&target.key).with(config).with(self.platform).finish()[..TAG_DIGITS].to_owned();
        let mut warnings = self.dockerfile.warnings.clone();
        let known = |name: &String| planner.used.contains(name) || PROXY_ARGS.contains(&name.as_str());
        let globals: Vec<&String> = self.dockerfile.global_args.iter().map(|(name, _)| name).collect();
        for name in self.args.keys().filter(|name| !known(name) && !globals.contains(name)) {
            warnings.push(self.problem(
                &self.dockerfile.stages[0].place,
                format!("no ARG takes the build argument {name}"),
                None,
            ));
        }
        Ok(Plan { stages: planner.done, target: needs.target, tag, total: planner.number, warnings })
    }
}
