//! Constraints: `>=1.2, <2 || ~3.1 || 4.x`. Alternatives between `||`, conditions of one alternative between commas or
//! blanks, ranges with ` - `.

use std::{cmp::Ordering, sync::LazyLock};

use coracle_gotemplate::FunctionError;
use regex::Regex;

use super::version::{Version, order_prereleases};

const VERSION: &str = concat!(
    r"v?([0-9|x|X|\*]+)(\.[0-9|x|X|\*]+)?(\.[0-9|x|X|\*]+)?",
    r"(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?",
    r"(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?"
);
const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";

fn pattern(text: &str) -> Regex {
    Regex::new(&text.replace("VERSION", VERSION).replace("OPERATORS", OPERATORS)).expect("the patterns below are fixed")
}

/// `1.2 - 3`.
static RANGE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s*(VERSION)\s+-\s+(VERSION)\s*"));
/// The conditions of one alternative.
static ALTERNATIVE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(\s*(OPERATORS)\s*(VERSION)\s*)((?:\s+|,\s*)(OPERATORS)\s*(VERSION)\s*)*$"));
/// One condition: operator, version, its three numbers, the prerelease with its dash.
static CONDITION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(OPERATORS)\s*(VERSION)"));

/// Alternatives, one of which has to hold.
#[derive(Debug, Clone)]
pub struct Constraints {
    alternatives: Vec<Vec<Condition>>,
}

impl Constraints {
    /// Reads constraints; the error names the alternative that is none.
    pub fn parse(text: &str) -> Result<Constraints, FunctionError> {
        let written = without_ranges(text);
        let alternatives = written.split("||").map(|part| {
            if !ALTERNATIVE.is_match(part) {
                let quoted = coracle_gotemplate::quote(part.as_bytes());
                return Err(FunctionError::new(format!("improper constraint: {quoted}")));
            }
            CONDITION.captures_iter(part).map(|found| Condition::read(&found)).collect()
        });
        Ok(Constraints { alternatives: alternatives.collect::<Result<_, _>>()? })
    }

    /// Whether a version satisfies them. Prereleases do only where the alternative names one itself.
    pub fn allow(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|conditions| {
            let with_prereleases = conditions.iter().any(|condition| !condition.version.prerelease.is_empty());
            (version.prerelease.is_empty() || with_prereleases)
                && conditions.iter().all(|condition| condition.allows(version))
        })
    }
}

fn without_ranges(text: &str) -> String {
    let mut written = text.to_owned();
    for found in RANGE.captures_iter(text) {
        written = written.replacen(&found[0], &format!(">= {}, <= {} ", &found[1], &found[11]), 1);
    }
    written
}

/// How much of a version a condition leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Patch,
    Minor,
    Everything,
}

#[derive(Debug, Clone)]
struct Condition {
    operator: Operator,
    version: Version,
    open: Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

fn is_open(part: &str) -> bool {
    matches!(part.trim_start_matches('.'), "" | "x" | "X" | "*")
}

impl Condition {
    fn read(found: &regex::Captures<'_>) -> Result<Condition, FunctionError> {
        let group = |index: usize| found.get(index).map_or("", |part| part.as_str());
        let (major, minor, patch, prerelease) = (group(3), group(4), group(5), group(6));
        let (open, version) = if is_open(major) {
            (Open::Everything, format!("0.0.0{prerelease}"))
        } else if is_open(minor) {
            (Open::Minor, format!("{major}.0.0{prerelease}"))
        } else if is_open(patch) {
            (Open::Patch, format!("{major}{minor}.0{prerelease}"))
        } else {
            (Open::Nothing, group(2).to_owned())
        };
        let operator = match group(1) {
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" | "=>" => Operator::GreaterEqual,
            "<=" | "=<" => Operator::LessEqual,
            "~" | "~>" => Operator::Tilde,
            "^" => Operator::Caret,
            _ => Operator::Equal,
        };
        let version = Version::parse(&version).map_err(|_| FunctionError::new("constraint parser error"))?;
        Ok(Condition { operator, version, open })
    }

    fn allows(&self, version: &Version) -> bool {
        let order = version.order(&self.version);
        match self.operator {
            Operator::Equal if self.open == Open::Nothing => order.is_eq(),
            Operator::Equal | Operator::Tilde => self.tilde(version, order),
            Operator::NotEqual => self.differs(version, order),
            Operator::Greater => self.is_below(version, order),
            Operator::Less => order.is_lt(),
            Operator::GreaterEqual => order.is_ge(),
            Operator::LessEqual => self.is_not_below(version, order),
            Operator::Caret => self.caret(version, order),
        }
    }

    /// `!=`: an open version excludes all it stands for.
    fn differs(&self, version: &Version, order: Ordering) -> bool {
        let wanted = &self.version;
        match self.open {
            Open::Nothing => order.is_ne(),
            _ if version.major != wanted.major => true,
            Open::Minor => false,
            _ if version.minor != wanted.minor => true,
            Open::Patch => {
                let both_released = version.prerelease.is_empty() && wanted.prerelease.is_empty();
                !both_released && order_prereleases(&version.prerelease, &wanted.prerelease).is_ne()
            }
            _ => version.patch != wanted.patch || order.is_ne(),
        }
    }

    /// `>`: above all the condition stands for, so `>1` begins at 2.
    fn is_below(&self, version: &Version, order: Ordering) -> bool {
        match (self.open, version.major.cmp(&self.version.major)) {
            (Open::Nothing, _) => order.is_gt(),
            (_, Ordering::Greater) => true,
            (_, Ordering::Less) => false,
            (Open::Minor, Ordering::Equal) => false,
            (Open::Patch, Ordering::Equal) => version.minor > self.version.minor,
            (Open::Everything, Ordering::Equal) => order.is_gt(),
        }
    }

    /// `<=`: up to the last the condition stands for, so `<=1` takes 1.9 in.
    fn is_not_below(&self, version: &Version, order: Ordering) -> bool {
        if self.open == Open::Nothing {
            return order.is_le();
        }
        let wanted = &self.version;
        let same_major_later_minor =
            version.major == wanted.major && version.minor > wanted.minor && self.open != Open::Minor;
        version.major <= wanted.major && !same_major_later_minor
    }

    /// `~`: changes in the last number given.
    fn tilde(&self, version: &Version, order: Ordering) -> bool {
        let wanted = &self.version;
        if order.is_lt() {
            return false;
        }
        let is_zero = (wanted.major, wanted.minor, wanted.patch) == (0, 0, 0);
        if is_zero && !matches!(self.open, Open::Minor | Open::Patch) {
            return true;
        }
        version.major == wanted.major && (version.minor == wanted.minor || self.open == Open::Minor)
    }

    /// `^`: changes right of the first number that is not zero.
    fn caret(&self, version: &Version, order: Ordering) -> bool {
        let wanted = &self.version;
        if order.is_lt() {
            return false;
        }
        if wanted.major > 0 || self.open == Open::Minor {
            return version.major == wanted.major;
        }
        if version.major > 0 {
            return false;
        }
        if wanted.minor > 0 || self.open == Open::Patch {
            return version.minor == wanted.minor;
        }
        version.minor == 0 && version.patch == wanted.patch
    }
}
