//! The query parameters of API requests.

use crate::{request::info::percent_decode, status::Failure};

/// A query string, decoded, in order.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    raw: String,
}

impl Query {
    /// Decodes `raw`, the part after `?`.
    pub fn parse(raw: &str) -> Self {
        let decode = |text: &str| percent_decode(&text.replace('+', " "));
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self { pairs: pairs.collect(), raw: raw.to_owned() }
    }

    /// The first value of `key`; empty counts as absent.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// The query as it came.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// All keys with their values, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// All values of `key`.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Whether `key` is set, as Go reads booleans. A bare key counts as true.
    pub fn flag(&self, key: &str) -> bool {
        let value = self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        matches!(value, Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    /// A number, or why it is none.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| Failure::bad_request(format!("Invalid value: {text:?}: {key} must be a non-negative integer")))
    }
}

/// How a write is to be carried out.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Do everything but the write.
    pub dry_run: bool,
    /// Who owns the fields; empty when the client did not say.
    pub field_manager: String,
    /// What to do with unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Take fields over from other managers (server-side apply).
    pub force: bool,
}

/// What to do with unknown and duplicate fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so in Warning headers.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

const MANAGER_LENGTH: usize = 128;

impl WriteOptions {
    /// Reads the options of create, update, patch and delete.
    pub fn parse(query: &Query) -> Result<Self, Failure> {
        let field_validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                return Err(invalid_option(&format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                )));
            }
        };
        let field_manager = query.get("fieldManager").unwrap_or_default().to_owned();
        if field_manager.len() > MANAGER_LENGTH {
            return Err(invalid_option("fieldManager: Too long: may not be more than 128 bytes"));
        }
        if field_manager.chars().any(char::is_control) {
            return Err(invalid_option(&format!(
                "fieldManager: Invalid value: {field_manager:?}: should only contain printable characters"
            )));
        }
        Ok(Self { dry_run: dry_run(query.all("dryRun"))?, field_manager, field_validation, force: query.flag("force") })
    }
}

/// Reads `dryRun`: only `All` is known.
pub fn dry_run<'a>(mut values: impl Iterator<Item = &'a str>) -> Result<bool, Failure> {
    let mut any = false;
    match values.find(|value| {
        any |= *value == "All";
        !value.is_empty() && *value != "All"
    }) {
        Some(other) => Err(invalid_option(&format!("dryRun: Unsupported value: {other:?}: supported values: \"All\""))),
        None => Ok(any),
    }
}

fn invalid_option(what: &str) -> Failure {
    Failure::plain(422, "Invalid", format!("CreateOptions.meta.k8s.io \"\" is invalid: {what}"))
}

/// How `resourceVersion` is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// Not given.
    Unset,
    /// The state at exactly that revision.
    Exact,
    /// That revision or any newer one.
    NotOlderThan,
}

/// How a list or watch is to be carried out.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Label selector, as written.
    pub label_selector: String,
    /// Field selector, as written.
    pub field_selector: String,
    /// Revision; `None` when not given, 0 means any.
    pub resource_version: Option<u64>,
    /// How to understand it.
    pub version_match: VersionMatch,
    /// At most so many items; 0 for all.
    pub limit: usize,
    /// Where the page before ended.
    pub continue_token: String,
    /// Send bookmarks.
    pub bookmarks: bool,
    /// Send what there is first, then a bookmark that says so.
    pub send_initial_events: Option<bool>,
    /// End the watch after so long.
    pub timeout_seconds: Option<u64>,
}

impl ListOptions {
    /// Reads the options of list, watch and deletecollection.
    pub fn parse(query: &Query, watch: bool) -> Result<Self, Failure> {
        let resource_version = match query.get("resourceVersion") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Failure::plain(
                    400,
                    "BadRequest",
                    format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"),
                )
            })?),
        };
        let version_match = match query.get("resourceVersionMatch") {
            None => VersionMatch::Unset,
            Some("Exact") => VersionMatch::Exact,
            Some("NotOlderThan") => VersionMatch::NotOlderThan,
            Some(other) => {
                return Err(list_option(&format!(
                    "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
                )));
            }
        };
        let options = Self {
            label_selector: query.get("labelSelector").unwrap_or_default().to_owned(),
            field_selector: query.get("fieldSelector").unwrap_or_default().to_owned(),
            resource_version,
            version_match,
            limit: query.number("limit")?.unwrap_or(0),
            continue_token: query.get("continue").unwrap_or_default().to_owned(),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.get("sendInitialEvents").map(|value| value == "true" || value == "1"),
            timeout_seconds: query.number("timeoutSeconds")?,
        };
        options.validate(watch)?;
        Ok(options)
    }

    fn validate(&self, watch: bool) -> Result<(), Failure> {
        if watch {
            return self.validate_watch();
        }
        if self.send_initial_events.is_some() {
            return Err(list_option("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"));
        }
        match self.version_match {
            VersionMatch::Unset => Ok(()),
            _ if self.resource_version.is_none() => Err(list_option(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            )),
            _ if !self.continue_token.is_empty() => Err(list_option(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            )),
            VersionMatch::Exact if self.resource_version == Some(0) => Err(list_option(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            )),
            _ => Ok(()),
        }
    }

    fn validate_watch(&self) -> Result<(), Failure> {
        match (self.send_initial_events, self.version_match) {
            (None, VersionMatch::Unset) | (Some(_), VersionMatch::NotOlderThan) => Ok(()),
            (None, _) => Err(list_option(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )),
            (Some(_), _) => Err(list_option(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )),
        }
    }
}

fn list_option(what: &str) -> Failure {
    Failure::plain(422, "Invalid", format!("ListOptions.meta.k8s.io \"\" is invalid: {what}"))
}
