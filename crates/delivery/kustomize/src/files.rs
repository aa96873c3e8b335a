//! The file tree a kustomization is read from.

use std::collections::BTreeMap;

/// A read-only tree of files. Paths are relative to its root, with `/` between names, without `.` and `..`.
pub trait Files {
    /// The content of a file, or nothing if there is no file of that name.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
    /// Whether a directory of that name is there; the root is the empty path.
    fn is_directory(&self, path: &str) -> bool;
    /// Where a path leads once symbolic links are followed; nothing if that is outside the tree or nowhere.
    fn resolve(&self, path: &str) -> Option<String> {
        Some(path.to_owned())
    }
    /// All files below a directory with their content, by their paths from it: a chart. The error is a message.
    fn below(&self, directory: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        Err(format!("{directory}: directories are not listed here"))
    }
}

/// Files held in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(BTreeMap<String, Vec<u8>>);

impl MemoryFiles {
    pub fn insert(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.0.insert(path.to_owned(), content.into());
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(path, content)| (path.as_str(), content.as_slice()))
    }
}

impl<P: Into<String>, C: Into<Vec<u8>>> FromIterator<(P, C)> for MemoryFiles {
    fn from_iter<I: IntoIterator<Item = (P, C)>>(files: I) -> Self {
        MemoryFiles(files.into_iter().map(|(path, content)| (path.into(), content.into())).collect())
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).cloned()
    }

    fn is_directory(&self, path: &str) -> bool {
        if path.is_empty() {
            return true;
        }
        let prefix = format!("{path}/");
        self.0.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix))
    }

    fn below(&self, directory: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let below = |(path, content): (&String, &Vec<u8>)| {
            let name = path.strip_prefix(directory)?.strip_prefix('/')?;
            Some((name.to_owned(), content.clone()))
        };
        Ok(self.0.iter().filter_map(below).collect())
    }
}

/// `path` seen from the directory `base`, with `.` and `..` worked out; nothing if it leads outside the tree. A path
/// from the root is one from the root of the tree.
pub(crate) fn join(base: &str, path: &str) -> Option<String> {
    let base = if path.starts_with('/') { "" } else { base };
    let mut names: Vec<&str> = base.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}

/// Whether `path` is `directory` or lies below it.
pub(crate) fn is_within(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The directory a file is in.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::{is_within, join};

    #[test]
    fn paths_stay_inside_the_tree() {
        assert_eq!(join("a/b", "../c/./d"), Some("a/c/d".to_owned()));
        assert_eq!(join("", "x"), Some("x".to_owned()));
        assert_eq!(join("a", "../.."), None);
        assert_eq!(join("a", "/b/c"), Some("b/c".to_owned()));
        assert!(is_within("a/b", "a") && is_within("a", "a") && !is_within("ab", "a"));
    }
}
