//! Finding and reading what a kustomization names: which files it may read, and where another kustomization begins.

use std::cell::RefCell;
use std::rc::Rc;

use coracle_yaml::decode::Located;
use coracle_yaml::{FileId, Mark};

use crate::error::{Error, Trouble};
use crate::files::{Files, is_within, join, parent};
use crate::gitref::{GitReference, is_url};
use crate::options::{LoadRestriction, Options};

/// Kustomizations that include each other deeper than this are taken for a circle.
const DEPTH_LIMIT: usize = 64;
/// Larger files are no manifests.
const FILE_LIMIT_BYTES: usize = 64 << 20;
/// All files of one build together.
const TOTAL_LIMIT_BYTES: usize = 512 << 20;
/// A line longer than this is not shown.
const LONGEST_SHOWN_LINE: usize = 240;

/// What a whole build shares.
pub(crate) struct Session<'a> {
    pub options: &'a Options<'a>,
    names: RefCell<Vec<(String, Rc<str>)>>,
    read_bytes: RefCell<usize>,
    pub warnings: RefCell<Vec<String>>,
}

impl<'a> Session<'a> {
    pub fn new(options: &'a Options<'a>) -> Self {
        Session { options, names: RefCell::default(), read_bytes: RefCell::default(), warnings: RefCell::default() }
    }

    /// The number of a file by its name, for the marks of what is read from it.
    pub fn file_id(&self, name: &str, text: &str) -> FileId {
        let mut names = self.names.borrow_mut();
        let index = names.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            names.push((name.to_owned(), text.into()));
            names.len() - 1
        });
        FileId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub fn into_names(self) -> Vec<String> {
        self.names.into_inner().into_iter().map(|(name, _)| name).collect()
    }

    /// An error at a place in a file, with the line it is in.
    pub fn at(&self, mark: Mark, message: impl Into<String>) -> Error {
        if mark.line == 0 {
            return Error::whole("", message);
        }
        let names = self.names.borrow();
        let known = names.get(mark.file.0 as usize);
        let mut error = Error::at(known.map_or("", |(name, _)| name), mark, message);
        let line = known.and_then(|(_, text)| text.lines().nth(mark.line as usize - 1));
        error.text = line.filter(|line| line.len() <= LONGEST_SHOWN_LINE).map(|line| line.trim_end().into());
        error
    }

    pub fn error(&self, trouble: Trouble) -> Error {
        self.at(trouble.mark, trouble.message)
    }

    fn count(&self, bytes: usize) -> Result<(), String> {
        let mut total = self.read_bytes.borrow_mut();
        *total += bytes;
        if bytes > FILE_LIMIT_BYTES {
            return Err(format!("the file is larger than the limit of {} MiB", FILE_LIMIT_BYTES >> 20));
        }
        if *total > TOTAL_LIMIT_BYTES {
            return Err(format!("all files together are larger than the limit of {} MiB", TOTAL_LIMIT_BYTES >> 20));
        }
        Ok(())
    }
}

/// A tree of files: the one the build was asked for, or a repository that was fetched.
#[derive(Clone)]
pub(crate) enum Tree<'a> {
    Given(&'a dyn Files),
    Fetched(Rc<dyn Files>, Rc<str>),
}

impl Tree<'_> {
    pub fn files(&self) -> &dyn Files {
        match self {
            Tree::Given(files) => *files,
            Tree::Fetched(files, _) => &**files,
        }
    }

    /// What messages call a file of this tree.
    fn name(&self, path: &str) -> String {
        match self {
            Tree::Given(_) => path.to_owned(),
            Tree::Fetched(_, name) => format!("{name}//{path}"),
        }
    }

    fn same_as(&self, other: &Tree<'_>) -> bool {
        match (self, other) {
            (Tree::Given(_), Tree::Given(_)) => true,
            (Tree::Fetched(own, _), Tree::Fetched(other, _)) => Rc::ptr_eq(own, other),
            _ => false,
        }
    }
}

/// A directory with a kustomization, and the ones that led to it.
pub(crate) struct Root<'a> {
    pub session: &'a Session<'a>,
    pub tree: Tree<'a>,
    pub directory: String,
    /// The kustomization's file, as messages call it; empty until it is found.
    pub file: String,
    /// A repository and the kustomizations in it are always held to their own directories.
    restriction: LoadRestriction,
    /// The roots that led here, outermost first.
    visited: Vec<(Tree<'a>, String)>,
    repositories: Vec<String>,
}

/// Why a file could not be read.
pub(crate) enum LoadError {
    /// There is no such file: what was named may be a directory.
    NoFile(String),
    Refused(String),
}

impl LoadError {
    pub fn message(self) -> String {
        match self {
            LoadError::NoFile(message) | LoadError::Refused(message) => message,
        }
    }
}

impl<'a> Root<'a> {
    pub fn outermost(session: &'a Session<'a>, files: &'a dyn Files, path: &str) -> Result<Self, Error> {
        let tree = Tree::Given(files);
        let joined = join("", path).ok_or_else(|| Error::whole(path, "the path leads outside the tree"))?;
        let directory = directory(&tree, &joined).map_err(|message| Error::whole(path, message))?;
        let restriction = session.options.load;
        let (visited, repositories) = (Vec::new(), Vec::new());
        Ok(Root { session, tree, directory, file: String::new(), restriction, visited, repositories })
    }

    /// The content of a file, with its name for messages.
    pub fn load(&self, path: &str) -> Result<(String, Vec<u8>), LoadError> {
        if is_url(path) {
            return self.fetch(path);
        }
        let joined = join(&self.directory, path)
            .ok_or_else(|| LoadError::Refused(format!("{path:?} leads outside the tree")))?;
        let files = self.tree.files();
        let no_file = || LoadError::NoFile(format!("there is no file {joined:?}"));
        let resolved = files.resolve(&joined).ok_or_else(no_file)?;
        if files.is_directory(&resolved) {
            return Err(LoadError::NoFile(format!("{joined:?} is a directory, not a file")));
        }
        if self.restriction == LoadRestriction::RootOnly && !is_within(parent(&resolved), &self.directory) {
            if files.read(&resolved).is_none() {
                return Err(no_file());
            }
            let here = if self.directory.is_empty() { "the root of the tree" } else { &self.directory };
            return Err(LoadError::Refused(format!("the file {joined:?} is not in or below {here}")));
        }
        let content = files.read(&resolved).ok_or_else(no_file)?;
        self.session.count(content.len()).map_err(LoadError::Refused)?;
        Ok((self.tree.name(&resolved), content))
    }

    fn fetch(&self, url: &str) -> Result<(String, Vec<u8>), LoadError> {
        let Some(remote) = self.session.options.remote else {
            return Err(LoadError::NoFile(format!("{url:?} is remote, and nothing is fetched here")));
        };
        let content = remote.file(url).map_err(|reason| LoadError::NoFile(format!("{url}: {reason}")))?;
        self.session.count(content.len()).map_err(LoadError::Refused)?;
        Ok((url.to_owned(), content))
    }

    /// A file named in a kustomization, as text.
    pub fn named_text(&self, name: &Located<String>) -> Result<(String, String), Error> {
        let (file, bytes) = self.load(&name.value).map_err(|error| self.session.at(name.mark, error.message()))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok((file, text)),
            Err(_) => Err(self.session.at(name.mark, format!("the file {file:?} is not UTF-8 text"))),
        }
    }

    /// Another kustomization's directory, or a repository with one.
    pub fn enter(&self, path: &str) -> Result<Root<'a>, String> {
        if path.is_empty() {
            return Err("the path is empty".to_owned());
        }
        let mut visited = self.visited.clone();
        visited.push((self.tree.clone(), self.directory.clone()));
        if visited.len() > DEPTH_LIMIT {
            return Err(format!("kustomizations include each other more than {DEPTH_LIMIT} levels deep"));
        }
        if let Some(reference) = GitReference::parse(path) {
            return self.enter_repository(path, &reference, visited);
        }
        if path.starts_with('/') {
            return Err(format!("{path:?} is an absolute path; a base has to be named relative to this kustomization"));
        }
        let is_ambiguous = |part: &str| !matches!(part, "." | "..") && part.contains("..");
        if path.split('/').any(is_ambiguous) {
            return Err(format!("{path:?} has a part with \"..\" in it; is the indentation right?"));
        }
        let joined = join(&self.directory, path).ok_or_else(|| format!("{path:?} leads outside the tree"))?;
        let directory = directory(&self.tree, &joined)?;
        for (tree, known) in &visited {
            if tree.same_as(&self.tree) && is_within(known, &directory) {
                let shown = if directory.is_empty() { "." } else { &directory };
                return Err(format!("a circle: {shown:?} holds a kustomization that led here"));
            }
        }
        Ok(Root {
            session: self.session,
            tree: self.tree.clone(),
            directory,
            file: String::new(),
            restriction: self.restriction,
            visited,
            repositories: self.repositories.clone(),
        })
    }

    fn enter_repository(
        &self,
        path: &str,
        reference: &GitReference,
        visited: Vec<(Tree<'a>, String)>,
    ) -> Result<Root<'a>, String> {
        if self.repositories.iter().any(|known| known.starts_with(path)) {
            return Err(format!("a circle: {path:?} is referred to by itself"));
        }
        let Some(remote) = self.session.options.remote else {
            return Err(format!("{path:?} is in another repository, and nothing is fetched here"));
        };
        let checkout = remote.repository(reference).map_err(|reason| format!("{reference}: {reason}"))?;
        let tree = Tree::Fetched(checkout.files, checkout.name.into());
        let joined = join("", &reference.path).ok_or_else(|| format!("{path:?} leads outside its repository"))?;
        let directory = directory(&tree, &joined)?;
        let mut repositories = self.repositories.clone();
        repositories.push(path.to_owned());
        Ok(Root {
            session: self.session,
            tree,
            directory,
            file: String::new(),
            restriction: LoadRestriction::RootOnly,
            visited,
            repositories,
        })
    }
}

fn directory(tree: &Tree<'_>, path: &str) -> Result<String, String> {
    let files = tree.files();
    let shown = if path.is_empty() { "." } else { path };
    match files.resolve(path).filter(|resolved| files.is_directory(resolved)) {
        Some(resolved) => Ok(resolved),
        None if files.read(path).is_some() => Err(format!("{shown:?} is a file, not a directory")),
        None => Err(format!("there is no file or directory {shown:?}")),
    }
}
