//! From lines of text to instructions: directives, comments, continuations and here-documents.

/// One instruction's text, continuations joined.
#[derive(Debug)]
pub struct Logical {
    /// The text without comments, escapes at line ends and leading blanks.
    pub text: String,
    /// Where pieces of `text` come from: offset in `text`, line and column (both from 0), ascending.
    pieces: Vec<(usize, usize, usize)>,
    /// The here-documents that belong to it.
    pub heredocs: Vec<Heredoc>,
}

/// A here-document.
#[derive(Debug, Clone)]
pub struct Heredoc {
    /// Its delimiter.
    pub name: String,
    /// Its lines, each with its newline.
    pub content: String,
    /// False where the delimiter is quoted.
    pub expands: bool,
    /// Everything as written, to hand on to a shell.
    pub raw: String,
    /// The offset of `<<` in the instruction's text, and where the delimiter ends.
    pub range: std::ops::Range<usize>,
}

impl Logical {
    /// Line and column, counted from 1, of `offset` in the text.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let piece = self.pieces.iter().rev().find(|(start, ..)| *start <= offset).or(self.pieces.first());
        let Some((start, line, column)) = piece else { return (1, 1) };
        let characters = self.text.get(*start..offset.min(self.text.len())).map_or(0, |text| text.chars().count());
        (line + 1, column + characters + 1)
    }
}

/// A problem at an offset from the file's beginning, given as line and column from 0.
pub struct LineProblem {
    pub line: usize,
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// The escape character, the instructions, and what is wrong on this level.
pub fn split(text: &str) -> (char, Vec<Logical>, Vec<LineProblem>) {
    let lines: Vec<&str> = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    let mut problems = Vec::new();
    let escape = directives(&lines, &mut problems);
    let mut logical = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_start();
        if line.is_empty() || line.starts_with('#') {
            at += 1;
            continue;
        }
        let mut one = join(&lines, &mut at, escape);
        take_heredocs(&mut one, &lines, &mut at, &mut problems);
        logical.push(one);
    }
    (escape, logical, problems)
}

/// Reads `# name=value` lines at the very top.
fn directives(lines: &[&str], problems: &mut Vec<LineProblem>) -> char {
    let mut escape = '\\';
    for (number, line) in lines.iter().enumerate() {
        let Some((name, value)) = line.trim().strip_prefix('#').and_then(|rest| rest.split_once('=')) else { break };
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", "\\") => escape = '\\',
            ("escape", "`") => escape = '`',
            ("escape", other) => problems.push(LineProblem {
                line: number,
                column: 0,
                message: format!("{other:?} cannot be the escape character"),
                hint: Some("it is \\ or `".into()),
            }),
            // Which front end to use and which checks to run are other builders' business.
            ("syntax" | "check", _) => {}
            _ => break,
        }
    }
    escape
}

/// Joins a line with those that continue it, and moves `at` past them.
fn join(lines: &[&str], at: &mut usize, escape: char) -> Logical {
    let mut joined = Logical { text: String::new(), pieces: Vec::new(), heredocs: Vec::new() };
    let mut first = true;
    while *at < lines.len() {
        let number = *at;
        let line = lines[number];
        *at += 1;
        let trimmed = line.trim_start();
        // Inside a continuation comments and empty lines do not count, and do not end it.
        if !first && (trimmed.is_empty() || trimmed.starts_with('#')) {
            continue;
        }
        let from = if first { line.len() - trimmed.len() } else { 0 };
        first = false;
        let piece = &line[from..];
        let column = line[..from].chars().count();
        joined.pieces.push((joined.text.len(), number, column));
        let end = piece.trim_end();
        match end.strip_suffix(escape).filter(|rest| !rest.ends_with(escape)) {
            Some(rest) => joined.text.push_str(rest),
            None => {
                joined.text.push_str(end);
                break;
            }
        }
    }
    joined
}

/// Reads the here-documents that RUN, COPY and ADD may have.
fn take_heredocs(logical: &mut Logical, lines: &[&str], at: &mut usize, problems: &mut Vec<LineProblem>) {
    let word = logical.text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(word.as_str(), "RUN" | "COPY" | "ADD") {
        return;
    }
    for mark in marks(&logical.text) {
        let begin = *at;
        let mut content = String::new();
        let mut raw = String::new();
        let mut ended = false;
        while *at < lines.len() {
            let line = lines[*at];
            *at += 1;
            raw += line;
            raw.push('\n');
            let bare = if mark.strip_tabs { line.trim_start_matches('\t') } else { line };
            if bare == mark.name {
                ended = true;
                break;
            }
            content += bare;
            content.push('\n');
        }
        if !ended {
            let (line, column) = logical.place(mark.range.start);
            problems.push(LineProblem {
                line: line - 1,
                column: column - 1,
                message: format!("the here-document {:?} does not end", mark.name),
                hint: Some(format!("put a line with only {} after it", mark.name)),
            });
            *at = begin.max(lines.len());
        }
        logical.heredocs.push(Heredoc { name: mark.name, content, expands: mark.expands, raw, range: mark.range });
    }
}

struct Mark {
    name: String,
    expands: bool,
    strip_tabs: bool,
    range: std::ops::Range<usize>,
}

/// Every `<<NAME`, `<<-NAME` and `<<"NAME"` that is a word of its own.
fn marks(text: &str) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut from = 0;
    while let Some(found) = text[from..].find("<<") {
        let start = from + found;
        from = start + 2;
        let before = text[..start].chars().next_back();
        if before.is_some_and(|c| !c.is_whitespace() && !c.is_ascii_digit()) {
            // `<<<` and shifts in arithmetic are no here-documents.
            from += text[from..].len() - text[from..].trim_start_matches('<').len();
            continue;
        }
        let rest = &text[from..];
        let strip_tabs = rest.starts_with('-');
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let inner = if quote.is_some() { &rest[1..] } else { rest };
        let length =
            inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.' && c != '-').unwrap_or(inner.len());
        let name = &inner[..length];
        let closed = quote.is_none_or(|quote| inner[length..].starts_with(quote));
        if name.is_empty() || !closed || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            continue;
        }
        let end = from + usize::from(strip_tabs) + length + if quote.is_some() { 2 } else { 0 };
        marks.push(Mark { name: name.to_owned(), expands: quote.is_none(), strip_tabs, range: start..end });
        from = end;
    }
    marks
}
