//! `git-receive-pack`: what a pushing client asks for, and what it is told (gitprotocol-pack). Parsing and rendering only.

use std::{
    io::{self, Read, Write},
    str::FromStr,
};

use gix::ObjectId;

use crate::{
    RefUpdate,
    pktline::{self, Packet, malformed},
    refs::Refs,
};

/// Refs one push may move.
const MOST_COMMANDS: usize = 1000;
/// Options one push may carry.
const MOST_OPTIONS: usize = 64;

/// What the advertisement says we can do.
pub fn capabilities() -> String {
    format!(
        "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1 agent={}",
        crate::AGENT
    )
}

/// Writes the list of refs a push begins with.
pub fn advertise(output: &mut dyn Write, refs: &Refs) -> io::Result<()> {
    let capabilities = capabilities();
    let mut first = true;
    for (name, id) in refs {
        let tail = if std::mem::take(&mut first) { format!("\0{capabilities}") } else { String::new() };
        pktline::write_line(output, &format!("{id} {name}{tail}"))?;
    }
    if first {
        let null = ObjectId::null(gix::hash::Kind::Sha1);
        pktline::write_line(output, &format!("{null} capabilities^{{}}\0{capabilities}"))?;
    }
    pktline::flush(output)
}

/// The part of a push that comes before the pack.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// What to move. Empty where the client only asks whether it may push.
    pub updates: Vec<RefUpdate>,
    /// The client's capabilities.
    pub capabilities: Vec<String>,
    /// `-o` options.
    pub options: Vec<String>,
}

impl Commands {
    /// Reads up to where the pack begins.
    pub fn read(input: &mut dyn Read) -> io::Result<Self> {
        let mut commands = Self::default();
        loop {
            match pktline::read(input)? {
                None | Some(Packet::Flush) => break,
                Some(Packet::Data(content)) => commands.take(&content)?,
                Some(_) => return Err(malformed("unexpected packet among the commands")),
            }
        }
        if commands.has("push-options") && !commands.updates.is_empty() {
            commands.read_options(input)?;
        }
        Ok(commands)
    }

    fn take(&mut self, content: &[u8]) -> io::Result<()> {
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let text = std::str::from_utf8(content).map_err(|_| malformed("a command is not UTF-8"))?;
        let (command, capabilities) = match text.split_once('\0') {
            Some((command, capabilities)) => (command, capabilities),
            None => (text, ""),
        };
        self.capabilities.extend(capabilities.split_whitespace().map(str::to_owned));
        if command.starts_with("shallow ") {
            // Whether the history is whole is seen when the objects are checked.
            return Ok(());
        }
        if command.starts_with("push-cert") {
            return Err(malformed("signed pushes are not supported"));
        }
        if self.updates.len() == MOST_COMMANDS {
            return Err(malformed("a push moves 1000 refs at most"));
        }
        self.updates.push(parse_command(command).ok_or_else(|| malformed("a command is not OLD NEW NAME"))?);
        Ok(())
    }

    fn read_options(&mut self, input: &mut dyn Read) -> io::Result<()> {
        while let Some(Packet::Data(content)) = pktline::read(input)? {
            if self.options.len() == MOST_OPTIONS {
                return Err(malformed("a push carries 64 options at most"));
            }
            let packet = Packet::Data(content);
            self.options.extend(packet.text()?.map(str::to_owned));
        }
        Ok(())
    }

    /// Whether the client has capability `name`.
    pub fn has(&self, name: &str) -> bool {
        self.capabilities.iter().any(|capability| capability == name)
    }

    /// Whether a pack follows: deletions alone bring none.
    pub fn brings_pack(&self) -> bool {
        self.updates.iter().any(|update| update.new.is_some())
    }
}

fn parse_command(command: &str) -> Option<RefUpdate> {
    let (old, rest) = command.split_once(' ')?;
    let (new, name) = rest.split_once(' ')?;
    let id = |text: &str| ObjectId::from_str(text).ok().map(|id| (!id.is_null()).then_some(id));
    Some(RefUpdate { name: name.to_owned(), old: id(old)?, new: id(new)? })
}

/// How a push went, ref by ref.
#[derive(Debug)]
pub struct Report<'a> {
    /// Why nothing could be unpacked, if so.
    pub unpack: Result<(), String>,
    /// Each ref's name and whether it moved.
    pub refs: Vec<(&'a str, Result<(), String>)>,
}

impl Report<'_> {
    /// The report as the client reads it.
    pub fn render(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match &self.unpack {
            Ok(()) => pktline::write_line(&mut out, "unpack ok")?,
            Err(why) => pktline::write_line(&mut out, &format!("unpack {}", one_line(why)))?,
        }
        for (name, result) in &self.refs {
            match result {
                Ok(()) => pktline::write_line(&mut out, &format!("ok {name}"))?,
                Err(why) => pktline::write_line(&mut out, &format!("ng {name} {}", one_line(why)))?,
            }
        }
        pktline::flush(&mut out)?;
        Ok(out)
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const NULL: &str = "0000000000000000000000000000000000000000";

    fn check(lines: &[&str], expected: Expect) {
        let mut input = Vec::new();
        for line in lines {
            match *line {
                "0000" => pktline::flush(&mut input).unwrap(),
                line => pktline::write_line(&mut input, line).unwrap(),
            }
        }
        let shown = match Commands::read(&mut input.as_slice()) {
            Ok(commands) => {
                let mut out = format!("capabilities {:?} options {:?}\n", commands.capabilities, commands.options);
                for update in &commands.updates {
                    let short = |id: Option<ObjectId>| id.map(|id| id.to_hex_with_len(2).to_string());
                    out += &format!("{:?} -> {:?} {}\n", short(update.old), short(update.new), update.name);
                }
                out
            }
            Err(error) => format!("error: {error}\n"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn commands() {
        check(
            &[
                &format!("{NULL} {ONE} refs/heads/main\0 report-status push-options agent=git/2"),
                &format!("{ONE} {NULL} refs/heads/old"),
                "0000",
                "target=blue",
                "0000",
            ],
            expect![[r#"
                capabilities ["report-status", "push-options", "agent=git/2"] options ["target=blue"]
                None -> Some("11") refs/heads/main
                Some("11") -> None refs/heads/old
            "#]],
        );
        check(
            &["0000"],
            expect![[r#"
            capabilities [] options []
        "#]],
        );
        check(
            &["nonsense", "0000"],
            expect![[r#"
            error: a command is not OLD NEW NAME
        "#]],
        );
        check(
            &["push-cert\0 push-cert", "0000"],
            expect![[r#"
            error: signed pushes are not supported
        "#]],
        );
    }

    #[test]
    fn report() {
        let report = Report {
            unpack: Ok(()),
            refs: vec![("refs/heads/main", Ok(())), ("refs/heads/x", Err("moved\nmeanwhile".into()))],
        };
        expect!["000eunpack ok\\n0017ok refs/heads/main\\n0024ng refs/heads/x moved meanwhile\\n0000"]
            .assert_eq(&String::from_utf8(report.render().unwrap()).unwrap().escape_debug().to_string());
    }
}
