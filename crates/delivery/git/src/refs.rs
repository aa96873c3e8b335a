//! Where branches and tags point. All of them live in one file, `packed-refs`, which is replaced by one rename:
//! the refs of a push move together or not at all, and what was acknowledged survives a power cut.
//!
//! Loose refs, which only a foreign `git` could have written, are read too and folded into the file with the next write.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use gix::ObjectId;
use parking_lot::Mutex;

use crate::{RefUpdate, durable};

const PACKED: &str = "packed-refs";
/// Claims the refs are sorted, and nothing about peeled tags.
const HEADER: &str = "# pack-refs with: sorted \n";

/// Every ref by its full name.
pub type Refs = BTreeMap<String, ObjectId>;

/// Why refs could not be read or moved.
#[derive(Debug, thiserror::Error)]
pub enum RefError {
    /// The disk did not do its part.
    #[error("{path}: {source}")]
    Io {
        /// The file concerned.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{path}, line {line}: not a ref: {text:?}")]
    Damaged {
        /// The file concerned.
        path: String,
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RefError + '_ {
    move |source| RefError::Io { path: path.display().to_string(), source }
}

/// The refs of one repository.
#[derive(Debug)]
pub struct RefStore {
    git_dir: PathBuf,
    /// Held while the file is read, changed and replaced.
    writing: Mutex<()>,
}

impl RefStore {
    /// The refs of the repository at `git_dir`.
    pub fn new(git_dir: PathBuf) -> Self {
        Self { git_dir, writing: Mutex::new(()) }
    }

    /// All refs as they are now.
    pub fn read(&self) -> Result<Refs, RefError> {
        let mut refs = self.read_packed()?;
        refs.extend(self.read_loose()?);
        Ok(refs)
    }

    fn read_packed(&self) -> Result<Refs, RefError> {
        let path = self.git_dir.join(PACKED);
        match fs::read_to_string(&path) {
            Ok(text) => {
                parse(&text).map_err(|(line, text)| RefError::Damaged { path: path.display().to_string(), line, text })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Refs::new()),
            Err(error) => Err(io_error(&path)(error)),
        }
    }

    fn read_loose(&self) -> Result<Refs, RefError> {
        let mut refs = Refs::new();
        let mut directories = vec![self.git_dir.join("refs")];
        while let Some(directory) = directories.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error(&directory)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(io_error(&directory))?;
                let path = entry.path();
                if entry.file_type().map_err(io_error(&path))?.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).map_err(io_error(&path))?;
                let name = path.strip_prefix(&self.git_dir).ok().and_then(Path::to_str);
                if let (Some(name), Ok(id)) = (name, ObjectId::from_str(text.trim())) {
                    refs.insert(name.to_owned(), id);
                }
            }
        }
        Ok(refs)
    }

    /// Moves refs. Each update is refused on its own (with the words the client shows) when the ref is no longer what the
    /// client saw, or its name collides; with `atomic` one refusal refuses all. What is accepted is durable on return.
    pub fn update(&self, updates: &[RefUpdate], atomic: bool) -> Result<Vec<Result<(), String>>, RefError> {
        let _writing = self.writing.lock();
        let loose = self.read_loose()?;
        let mut refs = self.read_packed()?;
        refs.extend(loose.clone());
        if !loose.is_empty() {
            self.write(&refs)?;
            self.remove_loose(&loose)?;
        }
        let mut results = decide(&mut refs, updates);
        if atomic && results.iter().any(Result::is_err) {
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err("atomic push failed".into());
            }
        }
        if results.iter().any(Result::is_ok) {
            self.write(&refs)?;
        }
        Ok(results)
    }

    fn write(&self, refs: &Refs) -> Result<(), RefError> {
        let path = self.git_dir.join(PACKED);
        durable::replace(&path, render(refs).as_bytes()).map_err(io_error(&path))
    }

    fn remove_loose(&self, loose: &Refs) -> Result<(), RefError> {
        for name in loose.keys() {
            let path = self.git_dir.join(name);
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
        Ok(())
    }
}

/// Applies to `refs` each of `updates` that can be, in order.
fn decide(refs: &mut Refs, updates: &[RefUpdate]) -> Vec<Result<(), String>> {
    // Deletions first, so that `a` may make room for `a/b` in the same push.
    let mut order: Vec<usize> = (0..updates.len()).collect();
    order.sort_by_key(|index| updates[*index].new.is_some());
    let mut results = vec![Ok(()); updates.len()];
    for index in order {
        results[index] = decide_one(refs, &updates[index]);
    }
    results
}

fn decide_one(refs: &mut Refs, update: &RefUpdate) -> Result<(), String> {
    if refs.get(&update.name).copied() != update.old {
        return Err(match update.old {
            None => "someone else created it meanwhile: fetch, then push again".into(),
            Some(_) => "someone else moved it meanwhile: fetch, then push again".into(),
        });
    }
    let Some(new) = update.new else {
        refs.remove(&update.name);
        return Ok(());
    };
    if update.old.is_none()
        && let Some(other) = collision(refs, &update.name)
    {
        return Err(format!("{other} exists, and one name cannot be the beginning of the other"));
    }
    refs.insert(update.name.clone(), new);
    Ok(())
}

/// The ref that is a directory above `name`, or below it.
fn collision<'a>(refs: &'a Refs, name: &str) -> Option<&'a str> {
    let below = format!("{name}/");
    if let Some((other, _)) = refs.range(below.clone()..).next()
        && other.starts_with(&below)
    {
        return Some(other);
    }
    name.match_indices('/').find_map(|(at, _)| refs.get_key_value(&name[..at])).map(|(other, _)| other.as_str())
}

fn parse(text: &str) -> Result<Refs, (usize, String)> {
    let mut refs = Refs::new();
    for (index, line) in text.lines().enumerate() {
        // `^` lines peel the tag above them; we look into the tag itself.
        if line.is_empty() || line.starts_with(['#', '^']) {
            continue;
        }
        let parsed = line.split_once(' ').and_then(|(id, name)| Some((ObjectId::from_str(id).ok()?, name)));
        let (id, name) = parsed.ok_or_else(|| (index + 1, line.to_owned()))?;
        refs.insert(name.to_owned(), id);
    }
    Ok(refs)
}

fn render(refs: &Refs) -> String {
    let mut text = String::from(HEADER);
    for (name, id) in refs {
        text += &format!("{id} {name}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn id(digit: char) -> ObjectId {
        ObjectId::from_str(&digit.to_string().repeat(40)).unwrap()
    }

    fn update(name: &str, old: Option<char>, new: Option<char>) -> RefUpdate {
        RefUpdate { name: format!("refs/heads/{name}"), old: old.map(id), new: new.map(id) }
    }

    fn check(atomic: bool, updates: &[RefUpdate], expected: Expect) {
        let directory = tempfile::tempdir().unwrap();
        let store = RefStore::new(directory.path().to_owned());
        store.update(&[update("main", None, Some('1')), update("a/b", None, Some('2'))], true).unwrap();
        let mut out = String::new();
        for result in store.update(updates, atomic).unwrap() {
            out += &format!("{result:?}\n");
        }
        for (name, id) in RefStore::new(directory.path().to_owned()).read().unwrap() {
            out += &format!("{name} {}\n", id.to_hex_with_len(2));
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn moves_creates_and_deletes() {
        check(
            false,
            &[update("main", Some('1'), Some('3')), update("new", None, Some('4')), update("a/b", Some('2'), None)],
            expect![[r#"
                Ok(())
                Ok(())
                Ok(())
                refs/heads/main 33
                refs/heads/new 44
            "#]],
        );
    }

    #[test]
    fn one_refusal_leaves_the_others_alone() {
        check(
            false,
            &[update("main", Some('9'), Some('3')), update("new", None, Some('4')), update("a/b", None, Some('5'))],
            expect![[r#"
                Err("someone else moved it meanwhile: fetch, then push again")
                Ok(())
                Err("someone else created it meanwhile: fetch, then push again")
                refs/heads/a/b 22
                refs/heads/main 11
                refs/heads/new 44
            "#]],
        );
    }

    #[test]
    fn an_atomic_push_is_refused_whole() {
        check(
            true,
            &[update("main", Some('9'), Some('3')), update("new", None, Some('4'))],
            expect![[r#"
                Err("someone else moved it meanwhile: fetch, then push again")
                Err("atomic push failed")
                refs/heads/a/b 22
                refs/heads/main 11
            "#]],
        );
    }

    #[test]
    fn names_that_contain_each_other_collide() {
        check(
            false,
            &[update("a", None, Some('3')), update("main/x", None, Some('4')), update("a-b", None, Some('5'))],
            expect![[r#"
                Err("refs/heads/a/b exists, and one name cannot be the beginning of the other")
                Err("refs/heads/main exists, and one name cannot be the beginning of the other")
                Ok(())
                refs/heads/a-b 55
                refs/heads/a/b 22
                refs/heads/main 11
            "#]],
        );
        check(
            false,
            &[update("a", None, Some('3')), update("a/b", Some('2'), None)],
            expect![[r#"
                Ok(())
                Ok(())
                refs/heads/a 33
                refs/heads/main 11
            "#]],
        );
    }

    #[test]
    fn loose_refs_count_and_are_folded_in() {
        let directory = tempfile::tempdir().unwrap();
        let store = RefStore::new(directory.path().to_owned());
        store.update(&[update("main", None, Some('1'))], true).unwrap();
        fs::create_dir_all(directory.path().join("refs/heads")).unwrap();
        fs::write(directory.path().join("refs/heads/main"), format!("{}\n", id('2'))).unwrap();
        assert_eq!(store.read().unwrap()["refs/heads/main"], id('2'));
        assert_eq!(store.update(&[update("main", Some('2'), Some('3'))], true).unwrap(), [Ok(())]);
        assert_eq!(store.read().unwrap()["refs/heads/main"], id('3'));
        assert!(!directory.path().join("refs/heads/main").exists());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(PACKED), "# pack-refs\nnonsense\n").unwrap();
        let error = RefStore::new(directory.path().to_owned()).read().unwrap_err().to_string();
        assert!(error.ends_with("packed-refs, line 2: not a ref: \"nonsense\""), "{error}");
    }
}
