//! Which objects a client that fetches lacks: everything its wishes reach, less everything it has.

use std::collections::{HashMap, HashSet};

use gix::{
    ObjectId,
    objs::{Kind, TreeRefIter, tree::EntryKind},
};

use crate::{
    Commit, GitError,
    objects::{self, Handle},
    refs::Refs,
};

/// How much history a shallow client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deepen {
    /// So many commits from each tip.
    pub depth: Option<usize>,
    /// `depth` counts from where the client's history ends now.
    pub relative: bool,
    /// Only what was committed since, in seconds since 1970.
    pub since_seconds: Option<i64>,
    /// Nothing these reach.
    pub not: Vec<ObjectId>,
}

impl Deepen {
    /// Whether anything was asked for.
    pub fn is_asked(&self) -> bool {
        self.depth.is_some() || self.since_seconds.is_some() || !self.not.is_empty()
    }
}

/// Where a shallow client's history shall end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Boundary {
    /// Commits sent without their parents.
    pub shallow: Vec<ObjectId>,
    /// Commits the client had without parents and now gets them.
    pub unshallow: Vec<ObjectId>,
}

/// Reads commits once.
struct Commits<'a> {
    objects: &'a Handle,
    read: HashMap<ObjectId, Commit>,
}

impl<'a> Commits<'a> {
    fn new(objects: &'a Handle) -> Self {
        Self { objects, read: HashMap::new() }
    }

    fn get(&mut self, id: ObjectId) -> Result<&Commit, GitError> {
        if !self.read.contains_key(&id) {
            self.read.insert(id, objects::commit(self.objects, id)?);
        }
        Ok(&self.read[&id])
    }
}

/// The commits behind `ids`; whatever else they name is left out.
fn commits_behind(objects: &Handle, ids: &[ObjectId]) -> Result<Vec<ObjectId>, GitError> {
    let mut commits = Vec::new();
    for id in ids {
        if let Some((id, Kind::Commit)) = objects::peel(objects, *id)? {
            commits.push(id);
        }
    }
    Ok(commits)
}

/// Where the history of a client ends that asks for `deepen` of `wants` and has `client_shallow` now.
pub fn boundary(
    objects: &Handle,
    wants: &[ObjectId],
    deepen: &Deepen,
    client_shallow: &HashSet<ObjectId>,
) -> Result<Boundary, GitError> {
    let mut commits = Commits::new(objects);
    let excluded = reachable(&mut commits, commits_behind(objects, &deepen.not)?, &HashSet::new())?;
    let mut depth = deepen.depth.unwrap_or(usize::MAX);
    let tips = commits_behind(objects, wants)?;
    if deepen.relative && !client_shallow.is_empty() {
        depth = depth.saturating_add(depth_of(&mut commits, &tips, client_shallow)?);
    }
    let mut included = HashSet::new();
    let mut level = tips;
    for _ in 0..depth {
        let mut next = Vec::new();
        for id in level {
            if included.contains(&id) || excluded.contains(&id) {
                continue;
            }
            let commit = commits.get(id)?;
            if deepen.since_seconds.is_some_and(|since| commit.commit_time_seconds < since) {
                continue;
            }
            next.extend(commit.parents.iter().copied());
            included.insert(id);
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    let mut boundary = Boundary::default();
    for id in &included {
        let whole = commits.get(*id)?.parents.iter().all(|parent| included.contains(parent));
        match (whole, client_shallow.contains(id)) {
            (false, _) => boundary.shallow.push(*id),
            (true, true) => boundary.unshallow.push(*id),
            (true, false) => {}
        }
    }
    boundary.shallow.sort();
    boundary.unshallow.sort();
    Ok(boundary)
}

/// How many steps it takes from `tips` to pass all of `ends` that can be reached.
fn depth_of(commits: &mut Commits<'_>, tips: &[ObjectId], ends: &HashSet<ObjectId>) -> Result<usize, GitError> {
    let mut seen = HashSet::new();
    let mut level = tips.to_vec();
    let mut deepest = 0;
    for depth in 1.. {
        let mut next = Vec::new();
        for id in level {
            if seen.insert(id) {
                match ends.contains(&id) {
                    true => deepest = depth,
                    false => next.extend(commits.get(id)?.parents.iter().copied()),
                }
            }
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    Ok(deepest)
}

/// All commits that `tips` reach without going past `ends`.
fn reachable(
    commits: &mut Commits<'_>,
    tips: Vec<ObjectId>,
    ends: &HashSet<ObjectId>,
) -> Result<HashSet<ObjectId>, GitError> {
    let mut seen = HashSet::new();
    let mut waiting = tips;
    while let Some(id) = waiting.pop() {
        if seen.insert(id) && !ends.contains(&id) {
            waiting.extend(commits.get(id)?.parents.iter().copied());
        }
    }
    Ok(seen)
}

/// Whether every one of `wants` reaches one of `common`, so that further questions would not save much.
pub fn all_reach(objects: &Handle, wants: &[ObjectId], common: &HashSet<ObjectId>) -> Result<bool, GitError> {
    let mut commits = Commits::new(objects);
    for want in commits_behind(objects, wants)? {
        let mut seen = HashSet::from([want]);
        let mut waiting = vec![want];
        let mut reaches = false;
        while let Some(id) = waiting.pop() {
            if common.contains(&id) {
                reaches = true;
                break;
            }
            waiting.extend(commits.get(id)?.parents.iter().copied().filter(|parent| seen.insert(*parent)));
        }
        if !reaches {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a fetch is about.
pub struct Wanted<'a> {
    /// The objects asked for.
    pub wants: &'a [ObjectId],
    /// What the client has, of what is here too.
    pub common: &'a HashSet<ObjectId>,
    /// Commits it has without their parents.
    pub client_shallow: &'a HashSet<ObjectId>,
    /// Where its history shall end; None where it has no end, or keeps the end it has.
    pub boundary: Option<&'a Boundary>,
    /// Refs whose annotated tags come along when what they point to does.
    pub tags: Option<&'a Refs>,
}

/// The ids of all objects to send, each once, commits first.
pub fn missing(objects: &Handle, wanted: &Wanted<'_>) -> Result<Vec<ObjectId>, GitError> {
    let mut commits = Commits::new(objects);
    let have: Vec<ObjectId> = wanted.common.iter().copied().collect();
    let have_commits = commits_behind(objects, &have)?;
    let has = reachable(&mut commits, have_commits.clone(), wanted.client_shallow)?;
    let mut sending = Sending::default();
    let mut waiting = start(objects, &mut commits, wanted, &mut sending)?;
    let ends: HashSet<ObjectId> = match wanted.boundary {
        Some(boundary) => boundary.shallow.iter().copied().collect(),
        None => wanted.client_shallow.clone(),
    };
    let mut edges = have_commits;
    let mut listed = Vec::new();
    while let Some(id) = waiting.pop() {
        if has.contains(&id) {
            edges.push(id);
        } else if sending.add(id) {
            listed.push(id);
            if !ends.contains(&id) {
                waiting.extend(commits.get(id)?.parents.iter().copied());
            }
        }
    }
    // The client has all files of the commits at the edge; nothing in them is sent again.
    let mut known = HashSet::new();
    for id in edges {
        let tree = commits.get(id)?.tree;
        walk_tree(objects, tree, &mut |id| known.insert(id))?;
    }
    sending.known = known;
    for id in listed {
        let tree = commits.get(id)?.tree;
        walk_tree(objects, tree, &mut |id| sending.add(id))?;
    }
    for tree in std::mem::take(&mut sending.bare_trees) {
        walk_tree(objects, tree, &mut |id| sending.add(id))?;
    }
    if let Some(tags) = wanted.tags {
        add_tags(objects, tags, &mut sending)?;
    }
    Ok(sending.ids)
}

/// The commits to begin with. Tags on the way are sent; wanted trees and blobs too.
fn start(
    objects: &Handle,
    commits: &mut Commits<'_>,
    wanted: &Wanted<'_>,
    sending: &mut Sending,
) -> Result<Vec<ObjectId>, GitError> {
    let mut begin = Vec::new();
    let mut buffer = Vec::new();
    for want in wanted.wants {
        let mut id = *want;
        loop {
            match objects::read(objects, id, &mut buffer)?.ok_or(GitError::Missing(id))? {
                (Kind::Tag, data) => {
                    sending.add(id);
                    id = objects::tag_target(id, data)?;
                    continue;
                }
                (Kind::Commit, _) => begin.push(id),
                (Kind::Tree, _) => sending.bare_trees.push(id),
                (Kind::Blob, _) => {
                    sending.add(id);
                }
            }
            break;
        }
    }
    for id in wanted.boundary.iter().flat_map(|boundary| &boundary.unshallow) {
        begin.extend(commits.get(*id)?.parents.iter().copied());
    }
    Ok(begin)
}

fn add_tags(objects: &Handle, tags: &Refs, sending: &mut Sending) -> Result<(), GitError> {
    let mut buffer = Vec::new();
    for (_, id) in tags.range("refs/tags/".to_owned()..).take_while(|(name, _)| name.starts_with("refs/tags/")) {
        if let Some((Kind::Tag, data)) = objects::read(objects, *id, &mut buffer)?
            && sending.seen.contains(&objects::tag_target(*id, data)?)
        {
            sending.add(*id);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Sending {
    ids: Vec<ObjectId>,
    seen: HashSet<ObjectId>,
    known: HashSet<ObjectId>,
    bare_trees: Vec<ObjectId>,
}

impl Sending {
    fn add(&mut self, id: ObjectId) -> bool {
        let new = !self.known.contains(&id) && self.seen.insert(id);
        if new {
            self.ids.push(id);
        }
        new
    }
}

/// Visits a tree and what it holds; `visit` says whether to look inside.
fn walk_tree(objects: &Handle, tree: ObjectId, visit: &mut dyn FnMut(ObjectId) -> bool) -> Result<(), GitError> {
    let mut waiting = Vec::new();
    if visit(tree) {
        waiting.push(tree);
    }
    let mut buffer = Vec::new();
    while let Some(id) = waiting.pop() {
        let data = objects::expect(objects, id, Kind::Tree, &mut buffer)?;
        for entry in TreeRefIter::from_bytes(data, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(GitError::object(id))?;
            match entry.mode.kind() {
                EntryKind::Commit => {}
                EntryKind::Tree if visit(entry.oid.to_owned()) => waiting.push(entry.oid.to_owned()),
                EntryKind::Tree => {}
                _ => {
                    visit(entry.oid.to_owned());
                }
            }
        }
    }
    Ok(())
}
