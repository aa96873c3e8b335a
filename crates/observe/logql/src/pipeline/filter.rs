//! Filters on the line itself.

use memchr::memmem::Finder;
use regex::Regex;

use super::{ip::IpFilter, pattern::Pattern};
use crate::{
    regexp,
    syntax::{LineFilter, LineMatch, LineOp},
};

/// Line filters in a row, all of which must hold.
pub(super) struct LineFilters(Vec<Condition>);

struct Condition {
    positive: bool,
    any: Vec<Test>,
}

#[expect(clippy::large_enum_variant, reason = "a query has a handful")]
enum Test {
    Contains(Finder<'static>),
    Regex(Regex),
    Pattern(Pattern),
    Ip(IpFilter),
}

impl LineFilters {
    pub(super) fn new(filters: &[LineFilter]) -> Result<Self, String> {
        let condition = |filter: &LineFilter| {
            let any = filter.any.iter().map(|one| test(filter.op, one)).collect::<Result<_, _>>()?;
            Ok(Condition { positive: filter.op.is_positive(), any })
        };
        filters.iter().map(condition).collect::<Result<_, String>>().map(Self)
    }

    pub(super) fn matches(&self, line: &str) -> bool {
        self.0.iter().all(|condition| condition.any.iter().any(|test| test.matches(line)) == condition.positive)
    }
}

fn test(op: LineOp, with: &LineMatch) -> Result<Test, String> {
    let text = match with {
        LineMatch::Ip(pattern) => {
            return match op {
                LineOp::Contains | LineOp::NotContains => Ok(Test::Ip(IpFilter::new(pattern)?)),
                _ => Err("ip: invalid operation".to_owned()),
            };
        }
        LineMatch::Text(text) => text,
    };
    Ok(match op {
        LineOp::Contains | LineOp::NotContains => Test::Contains(Finder::new(text.as_bytes()).into_owned()),
        LineOp::Regexp | LineOp::NotRegexp => Test::Regex(regexp::compile(text).map_err(|error| error.to_string())?),
        LineOp::Pattern | LineOp::NotPattern => Test::Pattern(Pattern::filter(text)?),
    })
}

impl Test {
    fn matches(&self, line: &str) -> bool {
        match self {
            Self::Contains(finder) => finder.find(line.as_bytes()).is_some(),
            Self::Regex(regex) => regex.is_match(line),
            Self::Pattern(pattern) => pattern.matches(line),
            Self::Ip(filter) => filter.matches(line),
        }
    }
}
