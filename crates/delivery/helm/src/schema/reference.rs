//! Which draft a schema is of, and what its references point to.

use std::collections::HashSet;

use serde_json::Value as Json;

/// A schema document.
pub(super) struct Root<'s> {
    pub schema: &'s Json,
    /// 4, 6, 7, 2019 or 2020.
    pub draft: u16,
}

impl<'s> Root<'s> {
    pub fn new(schema: &'s Json) -> Result<Root<'s>, String> {
        let draft = match schema.get("$schema").and_then(Json::as_str) {
            None => 2020,
            Some(uri) => draft(uri)?,
        };
        let root = Root { schema, draft };
        root.check()?;
        Ok(root)
    }

    /// Every reference must lead somewhere, whether or not a value ever meets it.
    fn check(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        let mut pending = vec![self.schema];
        while let Some(schema) = pending.pop() {
            let Json::Object(fields) = schema else { continue };
            if !seen.insert(std::ptr::from_ref(schema)) {
                continue;
            }
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("$ref", Json::String(reference)) => pending.push(self.resolve(reference)?),
                    ("$defs" | "definitions" | "enum" | "const" | "default" | "examples", _) => {}
                    ("properties" | "patternProperties" | "dependentSchemas" | "dependencies", Json::Object(named)) => {
                        pending.extend(named.values());
                    }
                    (_, Json::Array(schemas)) => pending.extend(schemas),
                    _ => pending.push(value),
                }
            }
        }
        Ok(())
    }

    /// The schema a reference points to.
    pub fn resolve(&self, reference: &str) -> Result<&'s Json, String> {
        let own = self.schema.get("$id").or_else(|| self.schema.get("id")).and_then(Json::as_str).unwrap_or_default();
        let fragment = match reference.split_once('#') {
            Some((document, fragment)) if document.is_empty() || document == own.trim_end_matches('#') => fragment,
            None if reference == own => "",
            _ => {
                return match find(self.schema, &|schema| schema.get("$id").and_then(Json::as_str) == Some(reference)) {
                    Some(schema) => Ok(schema),
                    None => Err(format!("failing loading \"{reference}\": schemas elsewhere are not fetched")),
                };
            }
        };
        let fragment = percent_decode(fragment);
        let found = if fragment.is_empty() {
            Some(self.schema)
        } else if fragment.starts_with('/') {
            self.schema.pointer(&fragment)
        } else {
            find(self.schema, &|schema| is_anchor(schema, &fragment))
        };
        found.ok_or_else(|| format!("jsonpointer not found: \"file:///values.schema.json#{fragment}\""))
    }
}

fn draft(uri: &str) -> Result<u16, String> {
    let drafts =
        [("draft-04", 4), ("draft-06", 6), ("draft-07", 7), ("2019-09", 2019), ("2020-12", 2020), ("/schema", 2020)];
    drafts
        .iter()
        .find(|(name, _)| uri.trim_end_matches('#').contains(name))
        .map(|(_, draft)| *draft)
        .ok_or_else(|| format!("invalid $schema in file:///values.schema.json#: \"{uri}\""))
}

fn is_anchor(schema: &Json, name: &str) -> bool {
    let is = |key: &str, value: &str| schema.get(key).and_then(Json::as_str) == Some(value);
    is("$anchor", name) || is("$dynamicAnchor", name) || is("$id", &format!("#{name}")) || is("id", &format!("#{name}"))
}

/// The first schema within for which `matches` holds.
fn find<'s>(schema: &'s Json, matches: &dyn Fn(&Json) -> bool) -> Option<&'s Json> {
    if matches(schema) {
        return Some(schema);
    }
    match schema {
        Json::Object(fields) => fields.values().find_map(|inner| find(inner, matches)),
        Json::Array(items) => items.iter().find_map(|inner| find(inner, matches)),
        _ => None,
    }
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
