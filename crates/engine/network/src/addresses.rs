//! Which pod has which address: one small file a pod, so that an engine that starts again finds what was given out.
//!
//! Addresses are given out in turn, so that one that was given back rests as long as possible: a client that still
//! remembers it must not meet another pod.

use std::{
    collections::BTreeMap,
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

const RECORD_VERSION: u32 = 1;
const LAST_FILE: &str = "last";

/// What giving out addresses can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    /// Every address is taken.
    #[error("no free pod address in {0}")]
    Exhausted(Ipv4Net),
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    ip: Ipv4Addr,
}

/// The addresses that are given out, with their records on disk.
#[derive(Debug)]
pub struct Addresses {
    directory: PathBuf,
    range: Ipv4Net,
    pods: BTreeMap<String, Ipv4Addr>,
    last: Ipv4Addr,
}

impl Addresses {
    /// Reads the records in `directory`. The first address of `range` is the node's and never given out.
    pub fn open(directory: &Path, range: Ipv4Net) -> Result<Self, Error> {
        let pods_directory = directory.join("pods");
        fs::create_dir_all(&pods_directory).map_err(at(&pods_directory))?;
        let mut pods = BTreeMap::new();
        for entry in fs::read_dir(&pods_directory).map_err(at(&pods_directory))? {
            let entry = entry.map_err(at(&pods_directory))?;
            let uid = entry.file_name().to_string_lossy().into_owned();
            match read(&entry.path()) {
                Some(record) if range.contains(&record.ip) => drop(pods.insert(uid, record.ip)),
                // Written by rename, so this is none of ours or of another range.
                _ => tracing::warn!(path = %entry.path().display(), "pod address record left aside"),
            }
        }
        let first = Ipv4Addr::from_bits(range.network().to_bits() + 1);
        let last = read(&directory.join(LAST_FILE)).map(|record| record.ip).filter(|ip| range.contains(ip));
        Ok(Self { directory: directory.to_owned(), range, pods, last: last.unwrap_or(first) })
    }

    /// The pod's address, a new one if it has none yet.
    pub fn assign(&mut self, pod_uid: &str) -> Result<Ipv4Addr, Error> {
        if let Some(ip) = self.pods.get(pod_uid) {
            return Ok(*ip);
        }
        let ip = self.next_free().ok_or(Error::Exhausted(self.range))?;
        self.write(LAST_FILE.as_ref(), ip)?;
        self.write(&Path::new("pods").join(pod_uid), ip)?;
        self.last = ip;
        self.pods.insert(pod_uid.to_owned(), ip);
        Ok(ip)
    }

    /// Gives the pod's address back.
    pub fn release(&mut self, pod_uid: &str) -> Result<(), Error> {
        let path = self.directory.join("pods").join(pod_uid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
            _ => {}
        }
        self.pods.remove(pod_uid);
        Ok(())
    }

    /// The pod's address, if it has one.
    pub fn get(&self, pod_uid: &str) -> Option<Ipv4Addr> {
        self.pods.get(pod_uid).copied()
    }

    /// All pods with their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.pods.iter().map(|(uid, ip)| (uid.as_str(), *ip))
    }

    fn next_free(&self) -> Option<Ipv4Addr> {
        let taken: std::collections::BTreeSet<_> = self.pods.values().copied().collect();
        // Neither the network's name, nor the node, nor the broadcast address.
        let (first, end) = (self.range.network().to_bits() + 2, self.range.broadcast().to_bits());
        let after = self.last.to_bits() + 1;
        (after.max(first)..end)
            .chain(first..after.clamp(first, end))
            .map(Ipv4Addr::from_bits)
            .find(|ip| !taken.contains(ip))
    }

    fn write(&self, name: &Path, ip: Ipv4Addr) -> Result<(), Error> {
        let (path, draft) = (self.directory.join(name), self.directory.join("draft"));
        let record = serde_json::to_vec(&Record { version: RECORD_VERSION, ip }).expect("a record is plain JSON");
        fs::write(&draft, record).and_then(|()| fs::rename(&draft, &path)).map_err(at(&path))
    }
}

fn read(path: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (record.version == RECORD_VERSION).then_some(record)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> Ipv4Net {
        "10.0.0.0/29".parse().unwrap()
    }

    #[test]
    fn addresses_go_round_and_are_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut addresses = Addresses::open(directory.path(), range()).unwrap();
        let given: Vec<_> = ["a", "b", "c", "a"].map(|uid| addresses.assign(uid).unwrap().to_string()).into();
        assert_eq!(given, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.2"]);
        addresses.release("a").unwrap();
        let mut again = Addresses::open(directory.path(), range()).unwrap();
        assert_eq!(again.iter().map(|(uid, _)| uid).collect::<Vec<_>>(), ["b", "c"]);
        let given: Vec<_> = ["d", "e", "f"].map(|uid| again.assign(uid).unwrap().to_string()).into();
        assert_eq!(given, ["10.0.0.5", "10.0.0.6", "10.0.0.2"], "the one given back comes last");
        assert_eq!(again.assign("g").unwrap_err().to_string(), "no free pod address in 10.0.0.0/29");
    }

    #[test]
    fn a_record_of_another_version_is_left_aside() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("pods")).unwrap();
        fs::write(directory.path().join("pods/x"), r#"{"version":9,"ip":"10.0.0.3"}"#).unwrap();
        fs::write(directory.path().join("pods/y"), r#"{"version":1,"ip":"10.0.0.4"}"#).unwrap();
        let addresses = Addresses::open(directory.path(), range()).unwrap();
        assert_eq!(addresses.iter().collect::<Vec<_>>(), [("y", "10.0.0.4".parse().unwrap())]);
    }
}
