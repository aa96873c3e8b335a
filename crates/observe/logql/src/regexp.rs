//! Go's regular expressions on top of the `regex` crate: Perl's classes are ASCII only, `\Q…\E` quotes, `\z` is the end.

use regex::{Regex, RegexBuilder};

/// Compiled programs of queries stay below this.
const SIZE_LIMIT_BYTES: usize = 16 << 20;

/// A regular expression that is none, in the words people know from Go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexpError(String);

/// Compiles an expression that may match anywhere.
pub fn compile(expression: &str) -> Result<Regex, RegexpError> {
    build(&translate(expression), expression)
}

/// Compiles an expression that must match all of a text, newlines included.
pub fn anchored(expression: &str) -> Result<Regex, RegexpError> {
    build(&format!("^(?s:{})$", translate(expression)), expression)
}

/// Compiles `^(?:expression)$`.
pub fn whole(expression: &str) -> Result<Regex, RegexpError> {
    build(&format!("^(?:{})$", translate(expression)), expression)
}

fn build(translated: &str, expression: &str) -> Result<Regex, RegexpError> {
    RegexBuilder::new(translated)
        .size_limit(SIZE_LIMIT_BYTES)
        .build()
        .map_err(|error| RegexpError(describe(&error, expression)))
}

/// The parser's reason in one line, and of which expression.
fn describe(error: &regex::Error, expression: &str) -> String {
    match error {
        regex::Error::Syntax(text) => {
            let reason = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("invalid syntax");
            go_reason(reason).map_or_else(|| format!("{reason}: `{expression}`"), |go| format!("{go}: `{expression}`"))
        }
        regex::Error::CompiledTooBig(_) => format!("expression too large: `{expression}`"),
        other => format!("{other}: `{expression}`"),
    }
}

fn go_reason(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "unclosed group" => "missing closing )",
        "unopened group" => "unexpected )",
        "unclosed character class" => "missing closing ]",
        "repetition operator missing expression" => "missing argument to repetition operator",
        "unrecognized escape sequence" => "invalid escape sequence",
        "duplicate capture group name" => "duplicate capture group name",
        "incomplete escape sequence, reached end of pattern prematurely" => "trailing backslash at end of expression",
        _ => return None,
    })
}

/// Rewrites what Go reads differently.
pub(crate) fn translate(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => rest = translate_escape(rest, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                // A bracket right after the start is a member.
                for member in ["^", "]"] {
                    if let Some(after) = rest.strip_prefix(member) {
                        out.push_str(if member == "]" { "\\]" } else { member });
                        rest = after;
                    }
                }
            }
            '[' if rest.starts_with(':') => out.push('['),
            // Set operations of the regex crate mean nothing to Go.
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            ']' if in_class => {
                // The end of a named class such as [:alpha:] is not the end of the class.
                in_class = out.ends_with(':') && out.rfind("[:").is_some_and(|open| !out[open..].contains(']'));
                out.push(']');
            }
            c => out.push(c),
        }
    }
    out
}

fn translate_escape<'r>(rest: &'r str, in_class: bool, out: &mut String) -> &'r str {
    let Some(c) = rest.chars().next() else {
        out.push('\\');
        return rest;
    };
    let after = &rest[c.len_utf8()..];
    let class = match c {
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some(r"\t\n\f\r "),
        'D' => Some("^0-9"),
        'W' => Some("^0-9A-Za-z_"),
        'S' => Some(r"^\t\n\f\r "),
        _ => None,
    };
    match (c, class) {
        (_, Some(members)) if in_class && !members.starts_with('^') => out.push_str(members),
        (_, Some(members)) => {
            out.push('[');
            out.push_str(members);
            out.push(']');
        }
        ('b' | 'B', _) if !in_class => {
            out.push_str(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
        }
        ('Q', _) => {
            let (quoted, after) = after.split_once("\\E").unwrap_or((after, ""));
            out.push_str(&regex::escape(quoted));
            return after;
        }
        (c, _) => {
            out.push('\\');
            out.push(c);
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_classes_are_ascii() {
        assert!(!compile(r"^\d$").unwrap().is_match("٣"));
        assert!(compile(r"^[\d-]+$").unwrap().is_match("1-2"));
        assert!(compile(r"^\w+\b").unwrap().is_match("ab"));
        assert!(compile(r"^[[:alpha:]x]$").unwrap().is_match("b"));
        assert!(compile(r"^[]a]$").unwrap().is_match("]"));
        assert!(compile(r"\Qa.b\E+").unwrap().is_match("a.b"));
        assert!(!compile(r"\Qa.b\E").unwrap().is_match("axb"));
    }

    #[test]
    fn reasons() {
        assert_eq!(compile("a(").unwrap_err().to_string(), "error parsing regexp: missing closing ): `a(`");
        assert_eq!(compile(r"\q").unwrap_err().to_string(), r"error parsing regexp: invalid escape sequence: `\q`");
    }
}
