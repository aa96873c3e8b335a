//! What clients saw of a server, and whether one server that does one thing after another can have shown it to them.
//!
//! Resource versions are the order the server claims. The check builds each object's history from every version that
//! anybody was shown, and then holds against it: that each version follows from the one before by the write whose mark
//! it bears; that the claimed order agrees with the order in which clients saw things begin and end; that each read shows
//! one moment between its begin and its end; and that watchers were shown every change once, in order. Writes whose
//! answer never came may have happened or not. As versions are a total order that is given, this is linearizability,
//! decided by one pass.

mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
};

/// The key under which every version bears the mark of the write that made it.
pub const MARK: &str = "mark";

pub type Data = BTreeMap<String, String>;

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub version: u64,
    pub uid: String,
    pub data: Data,
}

/// What a client asked for, of the object `name`.
#[derive(Debug, Clone)]
pub enum Asked {
    Create(Data),
    /// All of the data, on the condition that this is the object's version.
    Update(u64, Data),
    /// Some of the data, on top of whatever there is.
    Patch(Data),
    Delete,
    Get,
    List,
}

/// What came back.
#[derive(Debug, Clone)]
pub enum Answer {
    Shown(Object),
    /// The uid of what was deleted.
    Deleted(String),
    NotFound,
    /// 409: it exists already, or is at another version.
    Refused,
    Listed(Listing),
    /// The connection broke: nobody knows.
    Unknown,
}

#[derive(Debug, Clone)]
pub struct Listing {
    pub version: u64,
    pub objects: BTreeMap<String, Object>,
}

/// One request; the times are of one logical clock.
#[derive(Debug, Clone)]
pub struct Operation {
    pub name: String,
    pub asked: Asked,
    pub begun: u64,
    pub ended: u64,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// What a watcher was shown.
#[derive(Debug, Clone)]
pub enum Sight {
    /// It began, or began anew because its place was forgotten.
    Listed(Listing),
    Changed {
        change: Change,
        name: String,
        object: Object,
        at: u64,
    },
    Bookmark(u64),
}

#[derive(Debug, Clone, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    /// One list a watcher; a watch that was resumed goes on in it.
    pub watchers: Vec<Vec<Sight>>,
}

/// How much was checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    pub versions: usize,
    /// Versions whose predecessor is not certain: they were made while no watcher was there to see.
    pub unwatched: usize,
}

type Checked<T> = Result<T, String>;

/// Says what cannot be, or how much was looked at.
pub fn check(history: &History) -> Checked<Summary> {
    let known = Known::gather(history)?;
    let summary = known.check_chains()?;
    known.check_order()?;
    for sights in &history.watchers {
        known.check_watcher(sights)?;
    }
    Ok(summary)
}

/// A version of a name: an object, or that it was deleted.
#[derive(Debug, Clone)]
struct Version {
    object: Object,
    is_deletion: bool,
}

struct Known<'a> {
    history: &'a History,
    /// Every version that was shown, by name.
    names: BTreeMap<&'a str, BTreeMap<u64, Version>>,
    /// Writes by the mark they leave.
    marks: HashMap<&'a str, &'a Operation>,
    /// Where the deletion of a uid stands.
    deletions: HashMap<&'a str, u64>,
    /// Names of which something was or may have been deleted at a moment that nobody saw.
    hidden: HashSet<&'a str>,
    /// Where at least one watcher saw everything: after the first, up to the second.
    watched: Vec<(u64, u64)>,
}

fn mark(data: &Data) -> &str {
    data.get(MARK).map_or("", String::as_str)
}

impl<'a> Known<'a> {
    fn gather(history: &'a History) -> Checked<Self> {
        let mut known = Self {
            history,
            names: BTreeMap::new(),
            marks: HashMap::new(),
            deletions: HashMap::new(),
            hidden: HashSet::new(),
            watched: watched(history),
        };
        let mut owners = HashMap::new();
        for operation in &history.operations {
            if let Asked::Create(data) | Asked::Update(_, data) | Asked::Patch(data) = &operation.asked {
                known.marks.insert(mark(data), operation);
                if let Answer::Shown(object) = &operation.answer
                    && mark(&object.data) != mark(data)
                {
                    return Err(format!("the write {} was answered with {}", mark(data), mark(&object.data)));
                }
            }
            match &operation.answer {
                Answer::Shown(object) => known.learn(&mut owners, &operation.name, object, false)?,
                Answer::Listed(listing) => known.learn_all(&mut owners, listing)?,
                _ => {}
            }
        }
        for sight in history.watchers.iter().flatten() {
            match sight {
                Sight::Listed(listing) => known.learn_all(&mut owners, listing)?,
                Sight::Changed { change, name, object, .. } => {
                    known.learn(&mut owners, name, object, *change == Change::Deleted)?;
                }
                Sight::Bookmark(_) => {}
            }
        }
        for operation in &history.operations {
            let is_hidden = match &operation.answer {
                Answer::Deleted(uid) => !known.deletions.contains_key(uid.as_str()),
                Answer::Unknown => matches!(operation.asked, Asked::Delete),
                _ => false,
            };
            if is_hidden {
                known.hidden.insert(&operation.name);
            }
        }
        Ok(known)
    }

    fn learn_all(&mut self, owners: &mut HashMap<u64, &'a str>, listing: &'a Listing) -> Checked<()> {
        listing.objects.iter().try_for_each(|(name, object)| self.learn(owners, name, object, false))
    }

    fn learn(
        &mut self,
        owners: &mut HashMap<u64, &'a str>,
        name: &'a str,
        object: &'a Object,
        is_deletion: bool,
    ) -> Checked<()> {
        let version = object.version;
        if *owners.entry(version).or_insert(name) != name {
            return Err(format!("version {version} was given to {} and to {name}", owners[&version]));
        }
        let shown = Version { object: object.clone(), is_deletion };
        let before = self.names.entry(name).or_default().entry(version).or_insert(shown);
        if before.object != *object || before.is_deletion != is_deletion {
            return Err(format!("version {version} of {name} was shown in two ways"));
        }
        if is_deletion && self.deletions.insert(&object.uid, version).is_some_and(|other| other != version) {
            return Err(format!("{} of {name} was deleted twice", object.uid));
        }
        Ok(())
    }

    /// Whether somebody saw all that happened after one version, up to another.
    fn is_watched(&self, after: u64, until: u64) -> bool {
        self.watched.iter().any(|(from, to)| *from <= after && until <= *to)
    }

    /// The name's last version at a moment, and whether it is certain that none is missing in between.
    fn at(&self, name: &str, moment: u64) -> (Option<&Version>, bool) {
        let last = self.names.get(name).and_then(|versions| versions.range(..=moment).next_back());
        let since = last.map_or(0, |(version, _)| *version);
        (last.map(|(_, version)| version), self.is_watched(since, moment))
    }

    /// Each version follows from the one before.
    fn check_chains(&self) -> Checked<Summary> {
        let mut summary = Summary { versions: 0, unwatched: 0 };
        let (mut marks, mut uids) = (HashSet::new(), HashSet::new());
        for (name, versions) in &self.names {
            let mut before: Option<&Version> = None;
            for version in versions.values() {
                let object = &version.object;
                if !version.is_deletion {
                    let mark = mark(&object.data);
                    let write = self.marks.get(mark).filter(|write| write.name == **name);
                    let write = write.ok_or_else(|| format!("nobody wrote version {} of {name}", object.version))?;
                    if !marks.insert(mark) {
                        return Err(format!("the write {mark} to {name} happened twice"));
                    }
                    check_answer(write, mark, object.version)?;
                }
                summary.versions += 1;
                let since = before.map_or(0, |before| before.object.version);
                if self.is_watched(since, object.version) {
                    self.check_step(name, before, version)?;
                } else {
                    summary.unwatched += 1;
                }
                if before.is_none_or(|before| before.object.uid != object.uid) && !uids.insert(&object.uid) {
                    return Err(format!("{} of {name} came back", object.uid));
                }
                before = Some(version);
            }
        }
        Ok(summary)
    }

    fn check_step(&self, name: &str, before: Option<&Version>, after: &Version) -> Checked<()> {
        let object = &after.object;
        let live = before.filter(|before| !before.is_deletion).map(|before| &before.object);
        let wrong = |what: &str| Err(format!("version {} of {name} {what}", object.version));
        if after.is_deletion {
            let is_asked = self.history.operations.iter().any(|operation| match &operation.answer {
                Answer::Deleted(uid) => *uid == object.uid,
                Answer::Unknown => matches!(operation.asked, Asked::Delete) && operation.name == name,
                _ => false,
            });
            return match live {
                _ if !is_asked => wrong("is a deletion that nobody asked for"),
                Some(live) if live.uid == object.uid => Ok(()),
                _ => wrong("deletes what was not there"),
            };
        }
        let data = match (&self.marks[mark(&object.data)].asked, live) {
            (Asked::Create(data), None) => data.clone(),
            (Asked::Create(_), Some(_)) => return wrong("creates what was there"),
            (_, None) => return wrong("changes what was not there"),
            (_, Some(live)) if live.uid != object.uid => return wrong("has another uid"),
            (Asked::Update(over, _), Some(live)) if *over != live.version => {
                return wrong(&format!("was to replace {over}, and replaced {}", live.version));
            }
            (Asked::Update(_, data), Some(_)) => data.clone(),
            (Asked::Patch(data), Some(live)) => live.data.clone().into_iter().chain(data.clone()).collect(),
            (Asked::Delete | Asked::Get | Asked::List, _) => return wrong("was made by a read"),
        };
        if data == object.data { Ok(()) } else { wrong("holds something else than was written") }
    }

    /// There is a moment for every operation, between its begin and its end, and in the order of versions.
    fn check_order(&self) -> Checked<()> {
        let mut points: Vec<(u64, bool, usize)> = Vec::new();
        for (index, operation) in self.history.operations.iter().enumerate() {
            points.extend([(operation.begun, false, index), (operation.ended, true, index)]);
        }
        points.sort_unstable();
        let shown: HashMap<&str, u64> = (self.names.values().flat_map(BTreeMap::values))
            .filter(|version| !version.is_deletion)
            .map(|version| (mark(&version.object.data), version.object.version))
            .collect();
        // The latest moment that lies behind us for certain. Taking the earliest moment for each operation is enough:
        // operations only push those after them to later moments.
        let mut floor = 0;
        let mut floors = vec![0; self.history.operations.len()];
        for (_, is_end, index) in points {
            let operation = &self.history.operations[index];
            if !is_end {
                floors[index] = floor;
            }
            let moment = match (&operation.asked, &operation.answer) {
                (Asked::Create(data) | Asked::Update(_, data) | Asked::Patch(data), _) => {
                    shown.get(mark(data)).copied()
                }
                (_, Answer::Deleted(uid)) => self.deletions.get(uid.as_str()).copied(),
                _ => None,
            };
            if let Some(moment) = moment.filter(|moment| *moment <= floors[index]) {
                let after = floors[index];
                return Err(format!("the write at {moment} to {} began after {after} was there", operation.name));
            }
            if is_end && !matches!(operation.answer, Answer::Unknown) {
                let moment = moment.map_or_else(|| self.moment(operation, floors[index]), Ok)?;
                floor = floor.max(moment);
            }
        }
        Ok(())
    }

    /// The earliest moment, not before `floor`, at which a read can have been answered as it was.
    fn moment(&self, operation: &Operation, floor: u64) -> Checked<u64> {
        let name = operation.name.as_str();
        if let Answer::Listed(listing) = &operation.answer {
            if listing.version < floor {
                return Err(format!("a list at {} began after {floor} was there", listing.version));
            }
            return self.check_listing(listing).map(|()| listing.version);
        }
        let later = self.names.get(name).into_iter().flat_map(|versions| {
            versions.range((Bound::Excluded(floor), Bound::Unbounded)).map(|(version, _)| *version)
        });
        for moment in std::iter::once(floor).chain(later) {
            let (version, is_certain) = self.at(name, moment);
            let live = version.filter(|version| !version.is_deletion).map(|version| version.object.version);
            let fits = match (&operation.asked, &operation.answer) {
                (_, Answer::Shown(object)) => live == Some(object.version),
                (_, Answer::NotFound) => live.is_none() || (!is_certain && self.hidden.contains(name)),
                (Asked::Create(_), Answer::Refused) => live.is_some() || !is_certain,
                (Asked::Update(over, _), Answer::Refused) => live.is_some_and(|live| live != *over) || !is_certain,
                _ => true,
            };
            if fits {
                return Ok(moment);
            }
        }
        Err(format!(
            "{:?} of {name} at {}, answered {:?}, has no moment",
            operation.asked, operation.begun, operation.answer
        ))
    }

    fn check_listing(&self, listing: &Listing) -> Checked<()> {
        let names: BTreeSet<&str> =
            self.names.keys().copied().chain(listing.objects.keys().map(String::as_str)).collect();
        for name in names {
            let (version, is_certain) = self.at(name, listing.version);
            let live = version.filter(|version| !version.is_deletion).map(|version| version.object.version);
            let listed = listing.objects.get(name).map(|object| object.version);
            if live != listed && (is_certain || listed.is_some() || !self.hidden.contains(name)) {
                return Err(format!("a list at {} has {name} at {listed:?}, not {live:?}", listing.version));
            }
        }
        Ok(())
    }

    fn check_watcher(&self, sights: &[Sight]) -> Checked<()> {
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        let mut last = 0;
        for sight in sights {
            let next = match sight {
                Sight::Listed(listing) => listing.version,
                Sight::Bookmark(version) => *version,
                Sight::Changed { object, .. } => object.version,
            };
            if next < last || (next == last && matches!(sight, Sight::Changed { .. })) {
                return Err(format!("a watcher at {last} was shown {next}"));
            }
            match sight {
                Sight::Listed(listing) => {
                    self.check_listing(listing)?;
                    seen = listing.objects.iter().map(|(name, object)| (name.as_str(), object.version)).collect();
                }
                Sight::Bookmark(_) => self.check_nothing_between(last, next.saturating_add(1))?,
                Sight::Changed { change, name, object, at } => {
                    self.check_nothing_between(last, next)?;
                    let before = match change {
                        Change::Deleted => seen.remove(name.as_str()),
                        _ => seen.insert(name, object.version),
                    };
                    if before.is_none() != (*change == Change::Added) {
                        return Err(format!("a watcher was shown {change:?} {name} at {next} after {before:?}"));
                    }
                    let write = self.marks.get(mark(&object.data));
                    if write.is_none_or(|write| write.begun > *at) {
                        return Err(format!("a watcher was shown {next} before it was written"));
                    }
                }
            }
            last = next;
        }
        Ok(())
    }

    fn check_nothing_between(&self, after: u64, before: u64) -> Checked<()> {
        let between = (Bound::Excluded(after), Bound::Excluded(before));
        let missed = self.names.iter().find_map(|(name, versions)| Some((name, versions.range(between).next()?.0)));
        match missed {
            Some((name, version)) => Err(format!("a watcher at {after} was not shown {version} of {name}")),
            None => Ok(()),
        }
    }
}

/// A write that left a version was not told otherwise.
fn check_answer(write: &Operation, mark: &str, version: u64) -> Checked<()> {
    match &write.answer {
        Answer::Unknown => Ok(()),
        Answer::Shown(object) if object.version == version => Ok(()),
        answer => Err(format!("the write {mark} made version {version}, and was answered {answer:?}")),
    }
}

/// The stretches that watchers saw all of, joined where they touch.
fn watched(history: &History) -> Vec<(u64, u64)> {
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for sights in &history.watchers {
        let mut stretch = None;
        for sight in sights {
            match (sight, &mut stretch) {
                (Sight::Listed(listing), stretch) => {
                    // Before the first list of all there was nothing.
                    let from = if stretch.is_none() && listing.objects.is_empty() { 0 } else { listing.version };
                    stretches.extend(stretch.replace((from, listing.version)));
                }
                (Sight::Changed { object: Object { version, .. }, .. } | Sight::Bookmark(version), Some(stretch)) => {
                    stretch.1 = *version;
                }
                (_, None) => {}
            }
        }
        stretches.extend(stretch);
    }
    stretches.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}
