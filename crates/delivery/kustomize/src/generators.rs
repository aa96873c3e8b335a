//! ConfigMaps and Secrets made from literals, files and env files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_yaml::{Mark, Node, Scalar, Style, Value};

use crate::kustomization::{Generator, Options};
use crate::resource::Resource;

/// Base64 is broken into lines of this many characters.
const BASE64_LINE: usize = 70;

/// Why a generator failed; the mark is in the kustomization file.
pub(crate) struct GeneratorError {
    pub mark: Mark,
    pub message: String,
}

fn error(mark: Mark, message: impl Into<String>) -> GeneratorError {
    GeneratorError { mark, message: message.into() }
}

/// A generated resource, its hash still to be added. `read` gives a file's content by its path as written.
pub(crate) fn generate(
    generator: &Generator,
    is_secret: bool,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Resource, GeneratorError> {
    let pairs = pairs(generator, read)?;
    let mut node = Node::mapping().at(generator.mark);
    let root = node.as_mapping_mut().expect("just made as one");
    root.insert("apiVersion", Node::string("v1"));
    root.insert("kind", Node::string(if is_secret { "Secret" } else { "ConfigMap" }));
    root.insert("metadata", metadata(generator));
    if is_secret {
        let kind = if generator.secret_type.is_empty() { "Opaque" } else { &generator.secret_type };
        root.insert("type", Node::string(kind));
    }
    if generator.options.immutable {
        root.insert("immutable", Node::plain("true"));
    }
    for (key, value) in pairs {
        let (field, node) = entry(&value, is_secret);
        let data = root.get_or_insert_with(field, Node::mapping);
        data.as_mapping_mut().expect("made as one").insert(&key, node);
    }
    let mut resource = Resource::new(node);
    resource.behavior = generator.behavior;
    resource.needs_hash = !generator.options.disable_name_suffix_hash;
    Ok(resource)
}

fn metadata(generator: &Generator) -> Node {
    let mut node = Node::mapping();
    let mapping = node.as_mapping_mut().expect("just made as one");
    mapping.insert("name", Node::string(&generator.name));
    if !generator.namespace.is_empty() {
        mapping.insert("namespace", Node::string(&generator.namespace));
    }
    let Options { labels, annotations, .. } = &generator.options;
    for (field, entries) in [("labels", labels), ("annotations", annotations)] {
        if entries.is_empty() {
            continue;
        }
        let mut map = Node::mapping();
        for (key, value) in entries {
            map.as_mapping_mut().expect("just made as one").insert(key, Node::string(&value.value));
        }
        mapping.insert(field, map);
    }
    node
}

/// Text that is UTF-8 goes to a ConfigMap's `data`, other bytes to `binaryData`; a Secret holds all as base64.
fn entry(value: &[u8], is_secret: bool) -> (&'static str, Node) {
    match std::str::from_utf8(value) {
        Ok(text) if !is_secret => ("data", Node::string(text)),
        _ => {
            let encoded = STANDARD.encode(value);
            let broken: Vec<&str> = encoded
                .as_bytes()
                .chunks(BASE64_LINE)
                .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
                .collect();
            let text = if broken.len() > 1 { format!("{}\n", broken.join("\n")) } else { encoded.clone() };
            let scalar = Scalar { text: text.into(), style: Style::Literal, tag: Some("str".into()) };
            let node = Node { mark: Mark::default(), value: Value::Scalar(scalar) };
            (if is_secret { "data" } else { "binaryData" }, node)
        }
    }
}

type Pairs = Vec<(String, Vec<u8>)>;

fn pairs(generator: &Generator, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Pairs, GeneratorError> {
    let mut pairs: Pairs = Vec::new();
    let mut add = |key: &str, value: Vec<u8>, mark: Mark| {
        check_key(key).map_err(|message| error(mark, message))?;
        if pairs.iter().any(|(known, _)| known == key) {
            return Err(error(mark, format!("{} repeats the key {key:?}", generator.name)));
        }
        pairs.push((key.to_owned(), value));
        Ok(())
    };
    for source in &generator.envs {
        let content = read(&source.value).ok_or_else(|| missing(&source.value, source.mark))?;
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
            None => (source.value.rsplit('/').next().unwrap_or_default(), source.value.as_str()),
            Some((key, path)) if !key.is_empty() && !path.is_empty() && !path.contains('=') => (key, path),
            Some(_) => {
                return Err(error(source.mark, format!("expected a path or key=path, found {:?}", source.value)));
            }
        };
        let content = read(path).ok_or_else(|| missing(path, source.mark))?;
        add(key, content, source.mark)?;
    }
    Ok(pairs)
}

fn missing(path: &str, mark: Mark) -> GeneratorError {
    error(mark, format!("the file {path:?} is not there, or lies outside the repository"))
}

fn check_key(key: &str) -> Result<(), String> {
    let fits = !key.is_empty()
        && key.len() <= 253
        && key.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'));
    if fits && key != "." && !key.starts_with("..") {
        return Ok(());
    }
    Err(format!("{key:?} is not a valid key: letters, digits, '-', '_' and '.' only, at most 253 of them"))
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

fn env_lines(content: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(content).map_err(|_| "the env file is not UTF-8 text".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let starts_well = !key.starts_with(|char: char| char.is_ascii_digit());
        let fits = key.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'));
        if key.is_empty() || !fits || !starts_well {
            return Err(format!("line {} of the env file: {key:?} is not a valid variable name", index + 1));
        }
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}
