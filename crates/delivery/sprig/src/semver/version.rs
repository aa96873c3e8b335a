//! A version: three numbers, a prerelease, build metadata.

use std::{any::Any, cmp::Ordering, fmt};

use coracle_gotemplate::{Context, FunctionError, Kind, Member, Object, Type, Value};

use crate::args::text;

/// A semantic version; missing numbers were read as zero.
#[derive(Debug, Clone)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    pub prerelease: String,
    pub metadata: String,
    original: String,
    is_pointer: bool,
}

const INVALID: &str = "invalid semantic version";

impl Version {
    /// Reads `v1.2.3-rc.1+build`, where the `v` and the later numbers may be missing.
    pub fn parse(text: &str) -> Result<Version, FunctionError> {
        let rest = text.strip_prefix('v').unwrap_or(text);
        let (rest, metadata) = match rest.split_once('+') {
            Some((rest, metadata)) => (rest, Some(metadata)),
            None => (rest, None),
        };
        let (numbers, prerelease) = match rest.split_once('-') {
            Some((numbers, prerelease)) => (numbers, Some(prerelease)),
            None => (rest, None),
        };
        let parts: Vec<&str> = numbers.split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = parts.len() <= 3
            && parts.iter().all(is_number)
            && prerelease.is_none_or(is_identifiers)
            && metadata.is_none_or(is_identifiers);
        if !well_formed {
            return Err(INVALID.into());
        }
        let number = |index: usize| match parts.get(index) {
            None => Ok(0),
            Some(part) => part.parse().map_err(|_| {
                FunctionError::new(format!(
                    "error parsing version segment: strconv.ParseUint: parsing \"{part}\": value out of range"
                ))
            }),
        };
        let prerelease = prerelease.unwrap_or_default();
        if prerelease.split('.').any(has_leading_zero) {
            return Err("version segment starts with 0".into());
        }
        Ok(Version {
            major: number(0)?,
            minor: number(1)?,
            patch: number(2)?,
            prerelease: prerelease.to_owned(),
            metadata: metadata.unwrap_or_default().to_owned(),
            original: text.to_owned(),
            is_pointer: true,
        })
    }

    /// The order of precedence, which does not know metadata.
    pub fn order(&self, other: &Version) -> Ordering {
        let numbers = |version: &Version| (version.major, version.minor, version.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (&*self.prerelease, &*other.prerelease) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (left, right) => order_prereleases(left, right),
        })
    }

    fn changed(&self, change: impl Fn(&mut Version)) -> Value {
        let mut next = Version { is_pointer: false, ..self.clone() };
        change(&mut next);
        let prefix = if self.original.starts_with('v') { "v" } else { "" };
        next.original = format!("{prefix}{next}");
        next.into()
    }

    fn bare(version: &mut Version) {
        version.prerelease.clear();
        version.metadata.clear();
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Major" => Value::Uint64(self.major),
            "Minor" => Value::Uint64(self.minor),
            "Patch" => Value::Uint64(self.patch),
            "Prerelease" => self.prerelease.as_str().into(),
            "Metadata" => self.metadata.as_str().into(),
            "Original" => self.original.as_str().into(),
            "String" => self.to_string().into(),
            "IncMajor" => self.changed(|version| {
                Version::bare(version);
                (version.major, version.minor, version.patch) = (version.major + 1, 0, 0);
            }),
            "IncMinor" => self.changed(|version| {
                Version::bare(version);
                (version.minor, version.patch) = (version.minor + 1, 0);
            }),
            "IncPatch" => self.changed(|version| {
                version.patch += u64::from(version.prerelease.is_empty());
                Version::bare(version);
            }),
            _ => return None,
        })
    }
}

fn is_identifiers(text: &str) -> bool {
    let is_identifier =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    text.split('.').all(is_identifier)
}

fn has_leading_zero(part: &str) -> bool {
    part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn order_prereleases(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => order_parts(left.unwrap_or_default(), right.unwrap_or_default()),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Numbers by value and below words; what is missing is below everything.
fn order_parts(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    if left.is_empty() || right.is_empty() {
        return left.len().cmp(&right.len());
    }
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

impl Object for Version {
    fn type_name(&self) -> &str {
        if self.is_pointer { "*semver.Version" } else { "semver.Version" }
    }

    fn kind(&self) -> Kind {
        if self.is_pointer { Kind::Ptr } else { Kind::Struct }
    }

    fn member(&self, name: &str) -> Member {
        match name {
            "Compare" | "Equal" | "LessThan" | "LessThanEqual" | "GreaterThan" | "GreaterThanEqual" => {
                Member::Method { params: &[Type::Object("*semver.Version")], rest: None }
            }
            "SetPrerelease" | "SetMetadata" => Member::Method { params: &[Type::String], rest: None },
            other => self.field(other).map_or(Member::Absent, Member::Field),
        }
    }

    fn call(&self, name: &str, _: &mut Context<'_>, arguments: &[Value]) -> Result<Value, FunctionError> {
        let given = text(&arguments[0]).into_owned();
        match name {
            "SetPrerelease" => {
                if !given.is_empty() && !is_identifiers(&given) {
                    return Err("invalid prerelease string".into());
                }
                return Ok(self.changed(|version| version.prerelease.clone_from(&given)));
            }
            "SetMetadata" => {
                if !given.is_empty() && !is_identifiers(&given) {
                    return Err("invalid metadata string".into());
                }
                return Ok(self.changed(|version| version.metadata.clone_from(&given)));
            }
            _ => {}
        }
        let Some(other) = arguments[0].as_object::<Version>() else { return Err("not a version".into()) };
        let order = self.order(other);
        Ok(match name {
            "Compare" => Value::Int(order as i64),
            "Equal" => order.is_eq().into(),
            "LessThan" => order.is_lt().into(),
            "LessThanEqual" => order.is_le().into(),
            "GreaterThan" => order.is_gt().into(),
            "GreaterThanEqual" => order.is_ge().into(),
            _ => return Err(format!("{name} is not a method").into()),
        })
    }

    fn json(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl From<Version> for Value {
    fn from(version: Version) -> Value {
        Value::Object(std::rc::Rc::new(version))
    }
}
