//! `| unpack`: lines that a shipper packed as JSON with their labels.

use super::{
    DUPLICATE_SUFFIX, LabelsBuilder,
    json::{self, JSON_ERROR, Kind, Malformed, Stop},
    sanitize,
};

const ENTRY_KEY: &str = "_entry";

/// The line that was packed; `None` where there is none.
pub(super) fn unpack(line: &str, labels: &mut LabelsBuilder) -> Option<String> {
    if line.is_empty() || labels.wants_nothing() {
        return None;
    }
    if !line.starts_with('{') {
        labels.set_parser_error(JSON_ERROR, "expecting json object(6), but it is not");
        return None;
    }
    let (mut entry, mut found) = (None, Vec::new());
    let walked = json::object(line, &mut |key, value| {
        if value.kind != Kind::Text {
            return Ok(());
        }
        if key == ENTRY_KEY {
            entry = Some(json::unescape(value.raw).ok_or(Stop::Malformed(Malformed::Escape))?.into_owned());
            return Ok(());
        }
        let name = if labels.is_taken(key) { format!("{key}{DUPLICATE_SUFFIX}") } else { key.to_owned() };
        if labels.wants(&name) {
            found.push((sanitize(&name).into_owned(), json::clean(value.raw).into_owned()));
        }
        Ok(())
    });
    if let Err(Stop::Malformed(malformed)) = walked {
        labels.set_parser_error(JSON_ERROR, malformed.message());
        return None;
    }
    if entry.is_some() {
        found.iter().for_each(|(name, value)| labels.set(name, value));
    }
    entry
}
