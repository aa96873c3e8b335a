//! Keys and values from env files, literals and files.

use coracle_yaml::Mark;

use crate::error::Error;
use crate::load::Root;
use crate::read::generators::Generator;

/// The original reads env files line by line with a buffer of this size, and stops without a word at a longer line.
const LONGEST_LINE_BYTES: usize = 64 * 1024;

pub(super) type Pairs = Vec<(String, Vec<u8>)>;

pub(super) fn read(root: &Root<'_>, generator: &Generator) -> Result<Pairs, Error> {
    let error = |mark: Mark, message: String| root.session.at(mark, message);
    let content = |path: &str, mark: Mark| {
        root.load(path).map(|(_, content)| content).map_err(|reason| error(mark, reason.message()))
    };
    let mut pairs = Pairs::new();
    let mut add = |key: &str, value: Vec<u8>, mark: Mark| {
        if pairs.iter().any(|(known, _)| known == key) {
            return Err(error(mark, format!("{} has the key {key:?} twice", generator.name)));
        }
        pairs.push((key.to_owned(), value));
        Ok(())
    };
    for source in &generator.envs {
        let content = content(&source.value, source.mark)?;
        for (key, value) in env_lines(&content).map_err(|message| error(source.mark, message))? {
            add(&key, value.into_bytes(), source.mark)?;
        }
    }
    for source in &generator.literals {
        let Some((key, value)) = source.value.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(error(source.mark, format!("expected key=value, found {:?}", source.value)));
        };
        add(key, unquoted(value).as_bytes().to_vec(), source.mark)?;
    }
    for source in &generator.files {
        let (key, path) = match source.value.split_once('=') {
            None => (source.value.rsplit('/').find(|name| !name.is_empty()).unwrap_or("."), source.value.as_str()),
            Some((key, path)) if !key.is_empty() && !path.is_empty() && !path.contains('=') => (key, path),
            Some(_) => {
                return Err(error(source.mark, format!("expected a path or key=path, found {:?}", source.value)));
            }
        };
        add(key, content(path, source.mark)?, source.mark)?;
    }
    Ok(pairs)
}

/// One pair of quotes around a value is not part of it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

fn env_lines(content: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        if line.len() >= LONGEST_LINE_BYTES {
            break;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| format!("line {} is not UTF-8 text", index + 1))?;
        let line = if index == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        let line = line.trim_start();
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if !line.starts_with('#') && !key.is_empty() {
            pairs.push((key.to_owned(), value.to_owned()));
        }
    }
    Ok(pairs)
}
