//! What a COPY or ADD takes from where: sources with wildcards, out of the context or out of another stage's files.

use std::collections::BTreeMap;

use crate::{
    Context, ContextEntry, ContextKind,
    archive::Content,
    layers::{ItemKind, View, clean},
    pattern::{Ignore, is_pattern, matches},
};

/// Links in the context are followed no further than this.
const MOST_LINKS: usize = 16;

/// One file, directory or link to copy.
#[derive(Debug, Clone)]
pub struct Found {
    pub kind: FoundKind,
    /// Permissions.
    pub mode: u32,
}

#[derive(Debug, Clone)]
pub enum FoundKind {
    Directory,
    Symlink { target: String },
    File { content: Content, size_bytes: u64 },
}

/// One source that was found.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its own name, under which it goes into a directory.
    pub name: String,
    /// The thing itself.
    pub found: Found,
    /// What a directory holds, by relative path; a directory's content is copied, not the directory.
    pub inside: BTreeMap<String, Found>,
}

/// Why a source cannot be copied: a message and a hint.
pub type Refused = (String, Option<String>);

/// Where sources are looked for.
pub trait Origin {
    /// What is at `path`, links followed to the end.
    fn find(&self, path: &str) -> Option<Found>;
    /// What is below directory `path`, by relative path, links left as they are.
    fn below(&self, path: &str) -> BTreeMap<String, Found>;
    /// All paths.
    fn paths(&self) -> Vec<String>;
    /// What the place is called in messages.
    fn name(&self) -> String;
    /// Why `path` might be missing.
    fn hint(&self, path: &str) -> Option<String>;
}

/// Finds all of `sources`.
pub fn find(origin: &dyn Origin, sources: &[String], exclude: &[String]) -> Result<Vec<Source>, Refused> {
    let excluded = Ignore::parse(&exclude.join("\n"));
    let mut found = Vec::new();
    for source in sources {
        let path = clean(source);
        if source.split('/').any(|part| part == "..") && source.trim_start_matches('/').starts_with("..") {
            return Err((
                format!("{source:?} is outside of {}", origin.name()),
                Some("only what is in the repository can be copied".into()),
            ));
        }
        let paths: Vec<String> = match is_pattern(&path) {
            true => origin.paths().into_iter().filter(|candidate| matches(&path, candidate)).collect(),
            false => vec![path.clone()],
        };
        if paths.is_empty() {
            return Err((format!("nothing in {} matches {source:?}", origin.name()), origin.hint(&path)));
        }
        for path in paths {
            let Some(thing) = origin.find(&path) else {
                return Err((format!("{source:?} is not in {}", origin.name()), origin.hint(&path)));
            };
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let mut inside = BTreeMap::new();
            if matches!(thing.kind, FoundKind::Directory) {
                inside = origin.below(&path);
                inside.retain(|below, _| !excluded.excludes(below));
            } else if excluded.excludes(&name) {
                continue;
            }
            found.push(Source { name, found: thing, inside });
        }
    }
    Ok(found)
}

/// The build context, less what `.dockerignore` leaves out.
pub struct ContextFiles {
    entries: BTreeMap<String, ContextEntry>,
    ignored: Ignore,
}

impl ContextFiles {
    pub fn new(entries: Vec<ContextEntry>, ignored: Ignore) -> Self {
        let mut kept: BTreeMap<String, ContextEntry> = BTreeMap::new();
        for entry in entries {
            if ignored.excludes(&entry.path) {
                continue;
            }
            // A file that is taken back in brings its directories.
            for (at, _) in entry.path.match_indices('/') {
                let path = &entry.path[..at];
                kept.entry(path.to_owned()).or_insert_with(|| ContextEntry {
                    path: path.to_owned(),
                    kind: ContextKind::Directory,
                    content_id: None,
                });
            }
            kept.insert(entry.path.clone(), entry);
        }
        Self { entries: kept, ignored }
    }

    /// How much there is.
    pub fn size_bytes(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| if let ContextKind::File { size_bytes, .. } = entry.kind { size_bytes } else { 0 })
            .sum()
    }

    /// The content's name of the file at `path`, asked of `context` where it is not known.
    pub fn content_id(&self, path: &str, context: &dyn Context) -> std::io::Result<String> {
        match self.entries.get(path).and_then(|entry| entry.content_id.clone()) {
            Some(id) => Ok(id),
            None => context.content_id(path),
        }
    }

    fn found(entry: &ContextEntry) -> Found {
        match &entry.kind {
            ContextKind::Directory => Found { kind: FoundKind::Directory, mode: 0o755 },
            ContextKind::Symlink { target } => {
                Found { kind: FoundKind::Symlink { target: target.clone() }, mode: 0o777 }
            }
            ContextKind::File { executable, size_bytes } => Found {
                kind: FoundKind::File { content: Content::Context(entry.path.clone()), size_bytes: *size_bytes },
                mode: if *executable { 0o755 } else { 0o644 },
            },
        }
    }
}

impl Origin for ContextFiles {
    fn find(&self, path: &str) -> Option<Found> {
        if path.is_empty() {
            return Some(Found { kind: FoundKind::Directory, mode: 0o755 });
        }
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let entry = self.entries.get(&path)?;
            let ContextKind::Symlink { target } = &entry.kind else { return Some(Self::found(entry)) };
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            path = if target.starts_with('/') { clean(target) } else { clean(&format!("{parent}/{target}")) };
        }
        None
    }

    fn below(&self, path: &str) -> BTreeMap<String, Found> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let entries = self.entries.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        entries.map(|(path, entry)| (path[prefix.len()..].to_owned(), Self::found(entry))).collect()
    }

    fn paths(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    fn name(&self) -> String {
        "the build context".into()
    }

    fn hint(&self, path: &str) -> Option<String> {
        if self.ignored.excludes(path) {
            return Some(".dockerignore leaves it out".into());
        }
        let name = path.rsplit('/').next()?;
        let similar =
            |candidate: &&String| candidate.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(name));
        self.entries.keys().find(similar).map(|candidate| format!("there is {candidate:?}"))
    }
}

/// The files of a stage or an image.
pub struct ViewFiles<'a> {
    pub view: &'a View,
    /// What it is called in messages.
    pub called: String,
}

impl ViewFiles<'_> {
    fn found(&self, path: &str) -> Option<Found> {
        let item = self.view.get(path)?;
        let kind = match &item.kind {
            ItemKind::Directory => FoundKind::Directory,
            ItemKind::Symlink { target } => FoundKind::Symlink { target: target.clone() },
            ItemKind::File { .. } | ItemKind::Hardlink { .. } => {
                let (layer, offset, size_bytes) = self.view.content(path)?;
                FoundKind::File { content: Content::Layer(layer.clone(), offset), size_bytes }
            }
            // Devices and pipes are not copied.
            ItemKind::Special => return None,
        };
        Some(Found { kind, mode: item.mode })
    }
}

impl Origin for ViewFiles<'_> {
    fn find(&self, path: &str) -> Option<Found> {
        let path = self.view.resolve(path);
        if self.view.is_directory(&path) {
            let mode = self.view.get(&path).map_or(0o755, |item| item.mode);
            return Some(Found { kind: FoundKind::Directory, mode });
        }
        self.found(&path)
    }

    fn below(&self, path: &str) -> BTreeMap<String, Found> {
        let path = self.view.resolve(path);
        let whole = |below: &str| if path.is_empty() { below.to_owned() } else { format!("{path}/{below}") };
        self.view.below(&path).filter_map(|(below, _)| Some((below.clone(), self.found(&whole(&below))?))).collect()
    }

    fn paths(&self) -> Vec<String> {
        self.view.paths().map(str::to_owned).collect()
    }

    fn name(&self) -> String {
        self.called.clone()
    }

    fn hint(&self, _path: &str) -> Option<String> {
        None
    }
}
