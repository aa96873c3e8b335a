//! What a namespace asks of its pods, as its labels say.

use std::fmt;

use serde_json::Value;

use crate::status::Cause;

const PREFIX: &str = "pod-security.kubernetes.io/";
/// What is said of a level that is none.
pub const LEVELS: &str = "must be one of privileged, baseline, restricted";
/// What is said of a version that is none.
pub const VERSIONS: &str = "must be \"latest\" or \"v1.x\"";

/// A level of the standards, the laxest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Anything goes.
    Privileged,
    /// Nothing that is known to break out.
    Baseline,
    /// Hardened.
    Restricted,
}

/// A version of the standards: `latest`, or `v1.` and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(Option<u16>);

impl Version {
    /// The newest there is.
    pub const LATEST: Self = Self(None);

    /// The minor version; `None` for the latest.
    pub fn minor(self) -> Option<u16> {
        self.0
    }
}

/// A level as a version defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standard {
    /// The level.
    pub level: Level,
    /// The version.
    pub version: Version,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version.0 {
            None => write!(f, "{level}:latest"),
            Some(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

/// What is asked of a namespace's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What is refused.
    pub enforce: Standard,
    /// What auditors are told of.
    pub audit: Standard,
    /// What is warned of.
    pub warn: Standard,
}

impl Default for Policy {
    fn default() -> Self {
        let anything = Standard { level: Level::Privileged, version: Version::LATEST };
        Self { enforce: anything, audit: anything, warn: anything }
    }
}

impl Policy {
    /// Whether nothing is asked.
    pub fn asks_nothing(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|standard| standard.level == Level::Privileged)
    }

    /// Reads a namespace's labels over what holds for all, with what is wrong with them. A level that nobody knows enforces
    /// the strictest.
    pub fn of<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> (Self, Vec<Cause>) {
        let mut causes = Vec::new();
        let mut read = |mode: &str, default: Standard, when_wrong: Level| {
            let level = label(&format!("{PREFIX}{mode}"));
            let version = label(&format!("{PREFIX}{mode}-version"));
            let parsed = level.map(parse_level);
            if let (Some(text), Some(None)) = (level, parsed) {
                causes.push(wrong(mode, text, LEVELS));
            }
            let parsed_version = version.map(parse_version);
            if let (Some(text), Some(None)) = (version, parsed_version) {
                causes.push(wrong(&format!("{mode}-version"), text, VERSIONS));
            }
            let standard = Standard {
                level: parsed.map_or(default.level, |level| level.unwrap_or(when_wrong)),
                version: parsed_version.map_or(default.version, |version| version.unwrap_or(Version::LATEST)),
            };
            (standard, parsed.is_some_and(|level| level.is_some()), level.is_some(), version.is_some())
        };
        let (enforce, enforce_is_good, _, _) = read("enforce", self.enforce, Level::Restricted);
        let (audit, ..) = read("audit", self.audit, Level::Privileged);
        let (mut warn, _, has_warn, has_warn_version) = read("warn", self.warn, Level::Privileged);
        // Whoever is refused is warned too, for the workloads that will be.
        if !has_warn && enforce_is_good && enforce.level > warn.level {
            warn.level = enforce.level;
            if !has_warn_version {
                warn.version = enforce.version;
            }
        }
        (Self { enforce, audit, warn }, causes)
    }

    /// What the labels of an object say.
    pub fn of_object(&self, namespace: &Value) -> (Self, Vec<Cause>) {
        self.of(|key| namespace["metadata"]["labels"].get(key).and_then(Value::as_str))
    }

    /// The modes that a namespace's own labels ask for, as people are told of them.
    pub fn shown(&self, namespace: &Value) -> String {
        let labels = &namespace["metadata"]["labels"];
        let is_set =
            |mode: &str| ["", "-version"].iter().any(|end| labels.get(format!("{PREFIX}{mode}{end}")).is_some());
        let modes = [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)].into_iter();
        let asked = modes.filter(|(mode, standard)| standard.level != Level::Privileged && is_set(mode));
        asked.map(|(mode, standard)| format!("{mode}={standard}")).collect::<Vec<_>>().join(", ")
    }
}

fn wrong(label: &str, value: &str, detail: &str) -> Cause {
    Cause::invalid(&format!("metadata.labels[{PREFIX}{label}]"), format!("{value:?}"), detail)
}

/// A level by its name.
pub fn parse_level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

/// A version by its name.
pub fn parse_version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::LATEST);
    }
    let minor = text.strip_prefix("v1.")?;
    let canonical = minor == "0" || !minor.starts_with(['0', '+']);
    minor.parse().ok().filter(|_| canonical).map(|minor| Version(Some(minor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[(&str, &'static str)]) -> (String, String, Vec<String>) {
        let (policy, causes) = Policy::default()
            .of(|key| labels.iter().find(|(name, _)| key == format!("{PREFIX}{name}")).map(|(_, value)| *value));
        let wrong = causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        (policy.enforce.to_string(), policy.warn.to_string(), wrong)
    }

    #[test]
    fn labels_are_read() {
        let (enforce, warn, wrong) = read(&[("enforce", "baseline"), ("enforce-version", "v1.30")]);
        assert_eq!((enforce.as_str(), warn.as_str(), wrong.len()), ("baseline:v1.30", "baseline:v1.30", 0));
        let (enforce, warn, wrong) = read(&[("enforce", "strict"), ("warn", "restricted"), ("warn-version", "1.2")]);
        assert_eq!((enforce.as_str(), warn.as_str()), ("restricted:latest", "restricted:latest"));
        assert_eq!(
            wrong,
            [
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.2\": must be \"latest\" or \"v1.x\"",
            ]
        );
    }
}
