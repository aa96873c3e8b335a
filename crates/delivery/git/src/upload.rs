//! `git-upload-pack`: serving clones and fetches, in protocol version 2 and in the older one (gitprotocol-v2, gitprotocol-pack).

use std::{
    collections::HashSet,
    io::{self, Read, Write},
    str::FromStr,
};

use gix::{ObjectId, objs::Kind};

use crate::{
    GitError, Repository,
    objects::{self, Handle},
    packs,
    pktline::{self, Band, DataBand, Packet, malformed},
    refs::Refs,
    walk::{self, Boundary, Deepen, Wanted},
};

/// Where HEAD points, always.
const HEAD: &str = "refs/heads/main";
/// Wishes, haves and shallow marks one request may carry.
const MOST_LINES: usize = 100_000;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The peer broke the protocol or went away.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Writes what a version 2 session begins with.
pub fn advertise_v2(output: &mut dyn Write) -> io::Result<()> {
    pktline::write_line(output, "version 2")?;
    pktline::write_line(output, &format!("agent={}", crate::AGENT))?;
    for capability in ["ls-refs=unborn", "fetch=shallow wait-for-done", "server-option", "object-format=sha1"] {
        pktline::write_line(output, capability)?;
    }
    pktline::flush(output)
}

/// Writes the list of refs an older session begins with.
pub fn advertise_v0(output: &mut dyn Write, repository: &Repository) -> Result<(), UploadError> {
    let refs = repository.refs()?;
    let objects = repository.objects();
    let mut capabilities = Some(format!(
        "multi_ack_detailed no-done side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative no-progress include-tag \
         allow-tip-sha1-in-want allow-reachable-sha1-in-want symref=HEAD:{HEAD} object-format=sha1 agent={}",
        crate::AGENT
    ));
    let mut line = |id: ObjectId, name: &str| {
        let tail = capabilities.take().map(|text| format!("\0{text}")).unwrap_or_default();
        pktline::write_line(output, &format!("{id} {name}{tail}"))
    };
    if let Some(id) = refs.get(HEAD) {
        line(*id, "HEAD")?;
    }
    for (name, id) in &refs {
        line(*id, name)?;
        if let Some(peeled) = peeled(&objects, *id)? {
            line(peeled, &format!("{name}^{{}}"))?;
        }
    }
    if capabilities.is_some() {
        let text = capabilities.unwrap_or_default();
        let null = ObjectId::null(gix::hash::Kind::Sha1);
        pktline::write_line(output, &format!("{null} capabilities^{{}}\0{text}"))?;
    }
    pktline::flush(output)?;
    Ok(())
}

/// What a tag object leads to; None for anything else.
fn peeled(objects: &Handle, id: ObjectId) -> Result<Option<ObjectId>, GitError> {
    match objects::header(objects, id)? {
        Some((Kind::Tag, _)) => Ok(objects::peel(objects, id)?.map(|(id, _)| id)),
        _ => Ok(None),
    }
}

/// What a client asks to fetch.
#[derive(Debug, Default)]
struct Fetch {
    wants: Vec<ObjectId>,
    haves: Vec<ObjectId>,
    client_shallow: HashSet<ObjectId>,
    deepen: Deepen,
    done: bool,
    wait_for_done: bool,
    include_tag: bool,
    no_progress: bool,
    ofs_delta: bool,
    side_band: bool,
    multi_ack: bool,
    no_done: bool,
    line_count: usize,
}

impl Fetch {
    /// Takes in one line that both versions share; false where it is none of those.
    fn take(&mut self, line: &str, refs: &Refs) -> io::Result<bool> {
        self.line_count += 1;
        if self.line_count > MOST_LINES {
            return Err(malformed("the request is too long"));
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "want" => self.wants.push(parse_id(rest.split(' ').next().unwrap_or_default())?),
            "have" => self.haves.push(parse_id(rest)?),
            "shallow" => {
                self.client_shallow.insert(parse_id(rest)?);
            }
            "deepen" => self.deepen.depth = Some(rest.parse().map_err(|_| malformed("deepen needs a number"))?),
            "deepen-since" => {
                self.deepen.since_seconds = Some(rest.parse().map_err(|_| malformed("deepen-since needs a time"))?);
            }
            "deepen-not" => {
                let names = [rest.to_owned(), format!("refs/heads/{rest}"), format!("refs/tags/{rest}")];
                let id = names.iter().find_map(|name| refs.get(name)).copied();
                self.deepen.not.push(id.ok_or_else(|| malformed("deepen-not names no ref"))?);
            }
            "done" => self.done = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn flag(&mut self, word: &str) {
        match word {
            "ofs-delta" => self.ofs_delta = true,
            "include-tag" => self.include_tag = true,
            "no-progress" => self.no_progress = true,
            "deepen-relative" => self.deepen.relative = true,
            "wait-for-done" => self.wait_for_done = true,
            "side-band-64k" => self.side_band = true,
            "multi_ack_detailed" => self.multi_ack = true,
            "no-done" => self.no_done = true,
            // thin-pack is only a permission; the others mean nothing here.
            _ => {}
        }
    }

    /// The haves that are here too.
    fn common(&self, objects: &Handle) -> Result<HashSet<ObjectId>, GitError> {
        let mut common = HashSet::new();
        for id in &self.haves {
            if objects::header(objects, *id)?.is_some() {
                common.insert(*id);
            }
        }
        Ok(common)
    }

    fn check_wants(&self, objects: &Handle) -> Result<(), GitError> {
        for id in &self.wants {
            objects::header(objects, *id)?.ok_or(GitError::Missing(*id))?;
        }
        Ok(())
    }

    fn boundary(&self, objects: &Handle) -> Result<Option<Boundary>, GitError> {
        if !self.deepen.is_asked() {
            return Ok(None);
        }
        walk::boundary(objects, &self.wants, &self.deepen, &self.client_shallow).map(Some)
    }

    fn send_pack(
        &self,
        repository: &Repository,
        common: &HashSet<ObjectId>,
        boundary: Option<&Boundary>,
        output: &mut dyn Write,
    ) -> Result<(), UploadError> {
        let objects = repository.objects();
        let refs = repository.refs()?;
        let wanted = Wanted {
            wants: &self.wants,
            common,
            client_shallow: &self.client_shallow,
            boundary,
            tags: self.include_tag.then_some(&refs),
        };
        let ids = walk::missing(&objects, &wanted)?;
        if !self.side_band {
            packs::write(objects, ids, self.ofs_delta, output)?;
            return Ok(());
        }
        if !self.no_progress {
            pktline::write_band(output, Band::Progress, format!("Sending {} objects\n", ids.len()).as_bytes())?;
        }
        let mut band = io::BufWriter::with_capacity(pktline::LONGEST_CONTENT - 1, DataBand(&mut *output));
        packs::write(objects, ids, self.ofs_delta, &mut band)?;
        band.flush()?;
        drop(band);
        pktline::flush(output)?;
        Ok(())
    }
}

fn parse_id(text: &str) -> io::Result<ObjectId> {
    ObjectId::from_str(text).map_err(|_| malformed("not an object id"))
}

/// Answers one version 2 request.
pub fn serve_v2(repository: &Repository, input: &mut dyn Read, output: &mut dyn Write) -> Result<(), UploadError> {
    let mut command = None;
    let mut arguments = Vec::new();
    let mut after_delimiter = false;
    while let Some(packet) = pktline::read(input)? {
        match packet {
            Packet::Flush | Packet::ResponseEnd => break,
            Packet::Delimiter => after_delimiter = true,
            packet => {
                let line = packet.text()?.unwrap_or_default();
                if after_delimiter {
                    arguments.push(line.to_owned());
                } else if let Some(name) = line.strip_prefix("command=") {
                    command = Some(name.to_owned());
                }
            }
        }
        if arguments.len() > MOST_LINES {
            return Err(malformed("the request is too long").into());
        }
    }
    match command.as_deref() {
        Some("ls-refs") => list_refs(repository, &arguments, output),
        Some("fetch") => fetch_v2(repository, &arguments, output),
        None => Ok(()),
        Some(_) => Err(malformed("unknown command").into()),
    }
}

fn list_refs(repository: &Repository, arguments: &[String], output: &mut dyn Write) -> Result<(), UploadError> {
    let refs = repository.refs()?;
    let objects = repository.objects();
    let asked = |word: &str| arguments.iter().any(|argument| argument == word);
    let prefixes: Vec<&str> = arguments.iter().filter_map(|argument| argument.strip_prefix("ref-prefix ")).collect();
    let matches = |name: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
    let target = if asked("symrefs") { format!(" symref-target:{HEAD}") } else { String::new() };
    if matches("HEAD") {
        match refs.get(HEAD) {
            Some(id) => pktline::write_line(output, &format!("{id} HEAD{target}"))?,
            None if asked("unborn") => pktline::write_line(output, &format!("unborn HEAD{target}"))?,
            None => {}
        }
    }
    for (name, id) in refs.iter().filter(|(name, _)| matches(name)) {
        let peeled = if asked("peel") { peeled(&objects, *id)? } else { None };
        let peeled = peeled.map(|id| format!(" peeled:{id}")).unwrap_or_default();
        pktline::write_line(output, &format!("{id} {name}{peeled}"))?;
    }
    pktline::flush(output)?;
    Ok(())
}

fn fetch_v2(repository: &Repository, arguments: &[String], output: &mut dyn Write) -> Result<(), UploadError> {
    let refs = repository.refs()?;
    let mut fetch = Fetch { side_band: true, ..Default::default() };
    for argument in arguments {
        if !fetch.take(argument, &refs)? {
            fetch.flag(argument);
        }
    }
    let objects = repository.objects();
    fetch.check_wants(&objects)?;
    let common = fetch.common(&objects)?;
    if !fetch.done {
        pktline::write_line(output, "acknowledgments")?;
        if common.is_empty() {
            pktline::write_line(output, "NAK")?;
        }
        for id in fetch.haves.iter().filter(|id| common.contains(*id)) {
            pktline::write_line(output, &format!("ACK {id}"))?;
        }
        let ready = !fetch.wait_for_done && !common.is_empty() && walk::all_reach(&objects, &fetch.wants, &common)?;
        if !ready {
            pktline::flush(output)?;
            return Ok(());
        }
        pktline::write_line(output, "ready")?;
        pktline::delimiter(output)?;
    }
    let boundary = fetch.boundary(&objects)?;
    if let Some(boundary) = &boundary {
        pktline::write_line(output, "shallow-info")?;
        write_boundary(output, boundary, &fetch.client_shallow)?;
        pktline::delimiter(output)?;
    }
    pktline::write_line(output, "packfile")?;
    fetch.send_pack(repository, &common, boundary.as_ref(), output)
}

fn write_boundary(output: &mut dyn Write, boundary: &Boundary, client: &HashSet<ObjectId>) -> io::Result<()> {
    for id in boundary.shallow.iter().filter(|id| !client.contains(*id)) {
        pktline::write_line(output, &format!("shallow {id}"))?;
    }
    for id in &boundary.unshallow {
        pktline::write_line(output, &format!("unshallow {id}"))?;
    }
    Ok(())
}

/// Answers one request of the older protocol, in which each request repeats what was said before.
pub fn serve_v0(repository: &Repository, input: &mut dyn Read, output: &mut dyn Write) -> Result<(), UploadError> {
    let refs = repository.refs()?;
    let mut fetch = Fetch::default();
    while let Some(Packet::Data(content)) = pktline::read(input)? {
        let packet = Packet::Data(content);
        let line = packet.text()?.unwrap_or_default();
        if fetch.wants.is_empty() {
            line.split(' ').skip(2).for_each(|word| fetch.flag(word));
        }
        fetch.take(line, &refs)?;
    }
    if fetch.wants.is_empty() {
        return Ok(());
    }
    let objects = repository.objects();
    fetch.check_wants(&objects)?;
    let boundary = fetch.boundary(&objects)?;
    if let Some(boundary) = &boundary {
        write_boundary(output, boundary, &fetch.client_shallow)?;
        pktline::flush(output)?;
    }
    negotiate_v0(repository, &mut fetch, boundary.as_ref(), input, output)
}

/// Reads the haves, acknowledges those that are here, and sends the pack when the client is done.
fn negotiate_v0(
    repository: &Repository,
    fetch: &mut Fetch,
    boundary: Option<&Boundary>,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<(), UploadError> {
    let objects = repository.objects();
    let none = Refs::new();
    let mut common = HashSet::new();
    let mut last = None;
    let mut acknowledged_once = false;
    while !fetch.done {
        let Some(packet) = pktline::read(input)? else { return Ok(()) };
        let Packet::Data(_) = packet else {
            let ready = fetch.multi_ack && !common.is_empty() && walk::all_reach(&objects, &fetch.wants, &common)?;
            if let Some(id) = last.filter(|_| ready) {
                pktline::write_line(output, &format!("ACK {id} ready"))?;
            }
            if fetch.multi_ack || !acknowledged_once {
                pktline::write_line(output, "NAK")?;
            }
            if let Some(id) = last.filter(|_| ready && fetch.no_done) {
                pktline::write_line(output, &format!("ACK {id}"))?;
                return fetch.send_pack(repository, &common, boundary, output);
            }
            continue;
        };
        let known = fetch.haves.len();
        fetch.take(packet.text()?.unwrap_or_default(), &none)?;
        for id in fetch.haves[known..].iter().copied() {
            if objects::header(&objects, id)?.is_none() {
                continue;
            }
            common.insert(id);
            last = Some(id);
            if fetch.multi_ack {
                pktline::write_line(output, &format!("ACK {id} common"))?;
            } else if !std::mem::replace(&mut acknowledged_once, true) {
                pktline::write_line(output, &format!("ACK {id}"))?;
            }
        }
    }
    match last {
        Some(id) if fetch.multi_ack => pktline::write_line(output, &format!("ACK {id}"))?,
        Some(_) => {}
        None => pktline::write_line(output, "NAK")?,
    }
    fetch.send_pack(repository, &common, boundary, output)
}
