//! What each instruction takes, one function each.

use std::collections::BTreeMap;

use super::{
    Command, Copy, Healthcheck, InlineFile, Instruction, Run,
    arguments::{Slice, Wrong, duration_nanos, flags, json, pairs, quoted_words},
    lines::Heredoc,
};

/// What an instruction may look at besides its own arguments.
pub struct Around<'a> {
    pub escape: char,
    pub heredocs: &'a [Heredoc],
    /// Remarks that are no errors.
    pub remarks: Vec<Wrong>,
}

/// The names of all instructions, for suggestions.
pub const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads the arguments of the instruction called `name`, other than FROM; None for those that are left out.
pub fn read(name: Slice<'_>, arguments: Slice<'_>, around: &mut Around<'_>) -> Result<Option<Instruction>, Wrong> {
    let upper = name.text.to_ascii_uppercase();
    let needs = |text: &str| Wrong::new(name.offset, format!("{upper} needs {text}"));
    if arguments.text.is_empty() {
        return Err(match upper.as_str() {
            "COPY" | "ADD" => needs("what to copy and where to").hint("COPY SOURCE DESTINATION"),
            "RUN" | "CMD" | "ENTRYPOINT" => needs("a command"),
            "ENV" | "LABEL" => needs("NAME=VALUE"),
            "EXPOSE" => needs("a port"),
            name if NAMES.contains(&name) => needs("an argument"),
            _ => unknown(name),
        });
    }
    let instruction = match upper.as_str() {
        "ARG" => Instruction::Arg(args(arguments, around.escape)?),
        "ENV" => Instruction::Env(pairs(arguments, around.escape)?),
        "LABEL" => Instruction::Label(pairs(arguments, around.escape)?),
        "COPY" => Instruction::Copy(copy(arguments, around, false)?),
        "ADD" => Instruction::Copy(copy(arguments, around, true)?),
        "RUN" => Instruction::Run(run(arguments, around)?),
        "WORKDIR" => Instruction::Workdir(arguments.text.to_owned()),
        "USER" => Instruction::User(arguments.text.to_owned()),
        "EXPOSE" => Instruction::Expose(texts(&arguments.words())),
        "VOLUME" => Instruction::Volume(json(arguments.text).unwrap_or_else(|| texts(&arguments.words()))),
        "CMD" => Instruction::Cmd(command(arguments, around)),
        "ENTRYPOINT" => Instruction::Entrypoint(command(arguments, around)),
        "SHELL" => Instruction::Shell(shell(arguments)?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(arguments, around)?),
        "STOPSIGNAL" => Instruction::StopSignal(arguments.text.to_owned()),
        "MAINTAINER" => Instruction::Maintainer(arguments.text.to_owned()),
        "ONBUILD" => {
            around
                .remarks
                .push(Wrong::new(name.offset, "ONBUILD is ignored: images in the OCI format do not carry it"));
            return Ok(None);
        }
        _ => return Err(unknown(name)),
    };
    Ok(Some(instruction))
}

fn unknown(name: Slice<'_>) -> Wrong {
    let upper = name.text.to_ascii_uppercase();
    let wrong = Wrong::new(name.offset, format!("unknown instruction {:?}", name.text));
    let nearest = NAMES.iter().map(|known| (distance(&upper, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 2 => wrong.hint(format!("did you mean {known}?")),
        _ => wrong,
    }
}

/// How many letters must be put in, taken out, changed or swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn texts(words: &[Slice<'_>]) -> Vec<String> {
    words.iter().map(|word| word.text.to_owned()).collect()
}

/// The arguments of `ARG`.
pub fn args(arguments: Slice<'_>, escape: char) -> Result<Vec<(String, Option<String>)>, Wrong> {
    let mut found = Vec::new();
    for word in quoted_words(arguments, escape) {
        let (name, value) = match word.text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.text, None),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-';
        if name.is_empty() || !name.chars().all(valid) {
            return Err(Wrong::new(word.offset, format!("{name:?} cannot be the name of a build argument")));
        }
        found.push((name.to_owned(), value));
    }
    Ok(found)
}

fn command(arguments: Slice<'_>, around: &mut Around<'_>) -> Command {
    if let Some(words) = json(arguments.text) {
        return Command::Exec(words);
    }
    if arguments.text.starts_with('[') && arguments.text.ends_with(']') {
        let remark = Wrong::new(arguments.offset, "this is not a JSON array, so the shell will run it as it stands");
        around.remarks.push(remark.hint("use double quotes: [\"command\", \"argument\"]"));
    }
    Command::Shell(arguments.text.to_owned())
}

fn shell(arguments: Slice<'_>) -> Result<Vec<String>, Wrong> {
    json(arguments.text)
        .filter(|words| !words.is_empty())
        .ok_or_else(|| Wrong::new(arguments.offset, "SHELL takes a JSON array").hint("SHELL [\"/bin/bash\", \"-c\"]"))
}

fn run(arguments: Slice<'_>, around: &mut Around<'_>) -> Result<Run, Wrong> {
    let (flags, rest) = flags(arguments);
    let mut offline = false;
    for (flag, value) in flags {
        let kind = value.split(',').find_map(|part| part.strip_prefix("type=")).unwrap_or("bind");
        match (flag.text, value) {
            ("network", "none") => offline = true,
            ("network", "default") => {}
            ("mount", _) if matches!(kind, "cache" | "tmpfs") => {
                around.remarks.push(Wrong::new(
                    flag.offset,
                    format!("--mount of type {kind} is ignored: the directory becomes part of the layer"),
                ));
            }
            ("mount", _) => {
                let wrong = Wrong::new(flag.offset, format!("--mount of type {kind} is not supported"));
                return Err(wrong.hint("COPY what the command needs"));
            }
            (name, _) => return Err(Wrong::new(flag.offset, format!("RUN does not know --{name}"))),
        }
    }
    if rest.text.is_empty() {
        return Err(Wrong::new(rest.offset, "RUN needs a command"));
    }
    let Some(first) = around.heredocs.first() else { return Ok(Run { command: command(rest, around), offline }) };
    let only = rest.text.len() == first.range.len();
    let command = match only && around.heredocs.len() == 1 {
        true if first.content.starts_with("#!") => {
            return Err(Wrong::new(rest.offset, "a here-document with an interpreter line is not supported")
                .hint("name the interpreter: RUN python3 <<EOF"));
        }
        true => first.content.clone(),
        false => {
            let bodies: String = around.heredocs.iter().map(|heredoc| heredoc.raw.as_str()).collect();
            format!("{}\n{bodies}", rest.text)
        }
    };
    Ok(Run { command: Command::Shell(command), offline })
}

fn copy(arguments: Slice<'_>, around: &mut Around<'_>, add: bool) -> Result<Copy, Wrong> {
    let name = if add { "ADD" } else { "COPY" };
    let (flags, rest) = flags(arguments);
    let mut copy = Copy { add, ..Copy::default() };
    for (flag, value) in flags {
        match flag.text {
            "from" if !add => copy.from = Some(value.to_owned()),
            "chown" => copy.chown = Some(value.to_owned()),
            "chmod" => copy.chmod = Some(value.to_owned()),
            "exclude" => copy.exclude.push(value.to_owned()),
            // The result is the same; only how layers are cached differs elsewhere.
            "link" => {}
            other => return Err(Wrong::new(flag.offset, format!("{name} does not know --{other}"))),
        }
        if value.is_empty() && flag.text != "link" {
            return Err(Wrong::new(flag.offset, format!("--{} needs a value: --{}=VALUE", flag.text, flag.text)));
        }
    }
    let mut words = json(rest.text).unwrap_or_else(|| texts(&rest.words()));
    if words.len() < 2 {
        return Err(Wrong::new(rest.offset, format!("{name} needs a source and a destination"))
            .hint(format!("{name} SOURCE DESTINATION")));
    }
    copy.destination = words.pop().unwrap_or_default();
    for word in words {
        match around
            .heredocs
            .iter()
            .find(|heredoc| word.starts_with("<<") && word.trim_matches(|c| "<-\"'".contains(c)) == heredoc.name)
        {
            Some(heredoc) => copy.inline.push(InlineFile {
                name: heredoc.name.clone(),
                content: heredoc.content.clone(),
                expands: heredoc.expands,
            }),
            None => copy.sources.push(word),
        }
    }
    if let Some(url) = copy.sources.iter().find(|source| is_remote(source)).filter(|_| copy.from.is_none()) {
        let offset = rest.text.find(url.as_str()).map_or(rest.offset, |at| rest.offset + at);
        let wrong = Wrong::new(
            offset,
            format!("{name} does not fetch {url:?}: what a build uses must be in the repository or an image"),
        );
        return Err(wrong.hint("fetch it in a RUN step, or commit it"));
    }
    Ok(copy)
}

fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git@", "git://", "ftp://"].iter().any(|scheme| source.starts_with(scheme))
}

fn healthcheck(arguments: Slice<'_>, around: &mut Around<'_>) -> Result<Healthcheck, Wrong> {
    let (flags, rest) = flags(arguments);
    let mut durations_nanos = BTreeMap::new();
    let mut retries = None;
    for (flag, value) in flags {
        let wrong = || Wrong::new(flag.offset, format!("--{} cannot be {value:?}", flag.text));
        match flag.text {
            "interval" | "timeout" | "start-period" | "start-interval" => {
                durations_nanos.insert(
                    flag.text.to_owned(),
                    duration_nanos(value).ok_or_else(|| wrong().hint("a duration looks like 30s or 1m30s"))?,
                );
            }
            "retries" => retries = Some(value.parse().map_err(|_| wrong().hint("it is a number"))?),
            other => return Err(Wrong::new(flag.offset, format!("HEALTHCHECK does not know --{other}"))),
        }
    }
    let (word, after) = rest.word();
    match word.text.to_ascii_uppercase().as_str() {
        "NONE" if after.text.is_empty() => Ok(Healthcheck::None),
        "CMD" if !after.text.is_empty() => {
            Ok(Healthcheck::Check { command: command(after, around), durations_nanos, retries })
        }
        _ => Err(Wrong::new(word.offset, "HEALTHCHECK takes CMD and a command, or NONE")),
    }
}
