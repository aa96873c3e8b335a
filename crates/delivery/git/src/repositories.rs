//! All the repositories of one server: a directory of bare ones, `APP.git` each.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{GitError, Repository, durable, name};

const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
const HEAD: &str = "ref: refs/heads/main\n";

/// The repositories in one directory, opened once each. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repositories {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    opened: Mutex<HashMap<String, Repository>>,
}

impl Repositories {
    /// The repositories in `directory`, which is made when it is not there. What an interrupted push left behind is removed:
    /// one process at a time owns the directory.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, GitError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(GitError::io(&directory))?;
        for entry in fs::read_dir(&directory).map_err(GitError::io(&directory))? {
            let path = entry.map_err(GitError::io(&directory))?.path();
            if path.extension().is_some_and(|extension| extension == "creating") {
                fs::remove_dir_all(&path).map_err(GitError::io(&path))?;
            }
        }
        let repositories = Self { shared: Arc::new(Shared { directory, opened: Mutex::default() }) };
        for app in repositories.list()? {
            let incoming = repositories.path(&app).join("incoming");
            match fs::remove_dir_all(&incoming) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(GitError::io(&incoming)(error)),
                _ => {}
            }
        }
        Ok(repositories)
    }

    /// The names of all apps that have a repository, sorted.
    pub fn list(&self) -> Result<Vec<String>, GitError> {
        let directory = &self.shared.directory;
        let mut apps = Vec::new();
        for entry in fs::read_dir(directory).map_err(GitError::io(directory))? {
            let file_name = entry.map_err(GitError::io(directory))?.file_name();
            let app = file_name.to_str().and_then(|name| name.strip_suffix(".git"));
            apps.extend(app.filter(|app| name::check_app(app).is_ok()).map(str::to_owned));
        }
        apps.sort();
        Ok(apps)
    }

    /// The repository of `app`; None where there is none.
    pub fn get(&self, app: &str) -> Result<Option<Repository>, GitError> {
        if name::check_app(app).is_err() {
            return Ok(None);
        }
        let mut opened = self.shared.opened.lock();
        if let Some(repository) = opened.get(app) {
            return Ok(Some(repository.clone()));
        }
        let path = self.path(app);
        if !path.is_dir() {
            return Ok(None);
        }
        let repository = Repository::open(app, path)?;
        opened.insert(app.to_owned(), repository.clone());
        Ok(Some(repository))
    }

    /// The repository of `app`, made empty where there is none, with HEAD on `main`.
    pub fn create(&self, app: &str) -> Result<Repository, GitError> {
        name::check_app(app).map_err(GitError::AppName)?;
        if let Some(repository) = self.get(app)? {
            return Ok(repository);
        }
        let opened = self.shared.opened.lock();
        let path = self.path(app);
        if !path.is_dir() {
            let creating = path.with_extension("creating");
            write_empty(&creating).map_err(GitError::io(&creating))?;
            fs::rename(&creating, &path).map_err(GitError::io(&path))?;
            durable::sync_directory(&self.shared.directory).map_err(GitError::io(&path))?;
        }
        drop(opened);
        self.get(app)?.ok_or_else(|| GitError::io(&path)(io::ErrorKind::NotFound.into()))
    }

    /// Removes the repository of `app` with all it holds. Whoever still reads it sees it to the end.
    pub fn remove(&self, app: &str) -> Result<(), GitError> {
        name::check_app(app).map_err(GitError::AppName)?;
        let path = self.path(app);
        self.shared.opened.lock().remove(app);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(GitError::io(&path)(error)),
            _ => Ok(()),
        }
    }

    fn path(&self, app: &str) -> PathBuf {
        self.shared.directory.join(format!("{app}.git"))
    }
}

/// The layout that any `git` recognizes as a bare repository.
fn write_empty(path: &Path) -> io::Result<()> {
    for directory in ["objects/pack", "objects/info", "refs/heads", "refs/tags"] {
        fs::create_dir_all(path.join(directory))?;
    }
    durable::replace(&path.join("config"), CONFIG.as_bytes())?;
    durable::replace(&path.join("HEAD"), HEAD.as_bytes())
}
