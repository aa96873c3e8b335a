//! From instructions to stages.

use super::{
    Dockerfile, Place, Problem, Problems, Stage, Step,
    arguments::{Slice, Wrong, flags},
    instructions::{self, Around},
    lines::{self, Logical},
};

/// Parses the Dockerfile `text`, called `file` in messages.
pub fn parse(file: &str, text: &str) -> Result<Dockerfile, Problems> {
    let (escape, logical, line_problems) = lines::split(text);
    let sources: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let mut parser = Parser {
        file,
        sources: &sources,
        problems: Vec::new(),
        parsed: Dockerfile { global_args: Vec::new(), stages: Vec::new(), warnings: Vec::new(), escape },
    };
    for problem in line_problems {
        let wrong = Wrong { offset: 0, message: problem.message, hint: problem.hint };
        let problem = parser.problem((problem.line + 1, problem.column + 1), wrong);
        parser.problems.push(problem);
    }
    for one in &logical {
        if let Err(wrong) = parser.take(one) {
            let problem = parser.problem(one.place(wrong.offset), wrong);
            parser.problems.push(problem);
        }
    }
    if parser.parsed.stages.is_empty() && parser.problems.is_empty() {
        let wrong = Wrong::new(0, "there is no FROM, so there is nothing to build")
            .hint("begin with FROM IMAGE, or FROM scratch");
        let problem = parser.problem((1, 1), wrong);
        parser.problems.push(problem);
    }
    if parser.problems.is_empty() { Ok(parser.parsed) } else { Err(Problems(parser.problems)) }
}

struct Parser<'a> {
    file: &'a str,
    sources: &'a [&'a str],
    problems: Vec<Problem>,
    parsed: Dockerfile,
}

impl Parser<'_> {
    fn problem(&self, (line, column): (usize, usize), wrong: Wrong) -> Problem {
        let source = self.sources.get(line - 1).copied().unwrap_or_default().to_owned();
        Problem { file: self.file.to_owned(), line, column, source, message: wrong.message, hint: wrong.hint }
    }

    fn take(&mut self, logical: &Logical) -> Result<(), Wrong> {
        let (name, arguments) = Slice::new(&logical.text, 0).word();
        let (line, _) = logical.place(0);
        let place = Place { line, text: logical.text.split_whitespace().collect::<Vec<_>>().join(" ") };
        if name.text.eq_ignore_ascii_case("FROM") {
            let stage = self.from(arguments, place)?;
            self.parsed.stages.push(stage);
            return Ok(());
        }
        let mut around = Around { escape: self.parsed.escape, heredocs: &logical.heredocs, remarks: Vec::new() };
        let read = instructions::read(name, arguments, &mut around);
        for remark in around.remarks {
            let warning = self.problem(logical.place(remark.offset), remark);
            self.parsed.warnings.push(warning);
        }
        let Some(instruction) = read? else { return Ok(()) };
        match (self.parsed.stages.last_mut(), instruction) {
            (Some(stage), instruction) => stage.steps.push(Step { place, instruction }),
            (None, super::Instruction::Arg(args)) => self.parsed.global_args.extend(args),
            // One word about the missing FROM is enough.
            (None, _) if self.problems.iter().any(|problem| problem.message.contains("before the first FROM")) => {}
            (None, _) => {
                let upper = name.text.to_ascii_uppercase();
                return Err(Wrong::new(name.offset, format!("{upper} stands before the first FROM"))
                    .hint("begin with FROM IMAGE, or FROM scratch"));
            }
        }
        Ok(())
    }

    fn from(&self, arguments: Slice<'_>, place: Place) -> Result<Stage, Wrong> {
        let (flags, rest) = flags(arguments);
        let mut platform = None;
        for (flag, value) in flags {
            match flag.text {
                "platform" => platform = Some(value.to_owned()),
                other => return Err(Wrong::new(flag.offset, format!("FROM does not know --{other}"))),
            }
        }
        let words = rest.words();
        let name = match words.as_slice() {
            [] => {
                return Err(
                    Wrong::new(arguments.offset, "FROM needs an image").hint("FROM scratch begins with nothing")
                );
            }
            [_] => None,
            [_, keyword, name] if keyword.text.eq_ignore_ascii_case("AS") => Some(name),
            [_, wrong, ..] => {
                return Err(
                    Wrong::new(wrong.offset, "FROM takes an image, and AS with a name").hint("FROM IMAGE AS NAME")
                );
            }
        };
        if let Some(name) = name {
            let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if !name.text.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.text.chars().all(valid) {
                return Err(Wrong::new(name.offset, format!("{:?} cannot be the name of a stage", name.text)));
            }
            let lower = name.text.to_ascii_lowercase();
            if self.parsed.stages.iter().any(|stage| stage.name.as_ref() == Some(&lower)) {
                return Err(Wrong::new(name.offset, format!("there is a stage called {:?} already", name.text)));
            }
        }
        let name = name.map(|name| name.text.to_ascii_lowercase());
        Ok(Stage { base: words[0].text.to_owned(), name, platform, place, steps: Vec::new() })
    }
}

#[cfg(test)]
mod tests;
