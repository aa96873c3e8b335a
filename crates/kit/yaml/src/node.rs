//! The tree: nodes with positions, mappings in the order they were written.

use crate::resolve::{self, Resolved};

/// Which of the files a caller read a node came from; the caller keeps the table of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// Where a node begins. Lines and columns count from 1; line 0 marks a node that no file holds (a program made it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Mark {
    pub file: FileId,
    pub line: u32,
    pub column: u32,
}

/// How a scalar was written; quoting decides whether `true` is a word or a truth value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
    Folded,
}

/// A scalar as written. Its type is resolved on demand by [`Scalar::resolve`].
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    pub text: Box<str>,
    pub style: Style,
    /// The suffix of an explicit tag of YAML's own (`str` for `!!str`), or the whole of a foreign one (`!mine`).
    pub tag: Option<Box<str>>,
}

impl Scalar {
    /// The value this scalar stands for.
    pub fn resolve(&self) -> Resolved {
        resolve::scalar(self)
    }

    /// The value this scalar stands for to a reader of YAML 1.1, as most Go programs read their own configuration.
    pub fn resolve_old(&self) -> Resolved {
        resolve::words_of_old(self)
    }
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

/// A node of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    pub mark: Mark,
    pub value: Value,
}

/// Two nodes are equal when they say the same; where they stood does not matter.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Box<str>,
    pub key_mark: Mark,
    /// The key is a string whatever it looks like: it was quoted. A bare `8080` is a number, which not every reader
    /// takes for a key.
    pub key_quoted: bool,
    pub value: Node,
}

/// Entries are equal when they say the same; how the key was written does not matter.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Entry {
    /// The key as a reader of YAML 1.1 gives it to JSON: a bare `n` is `false`, and `010` is `8`.
    pub fn old_key(&self) -> std::borrow::Cow<'_, str> {
        if self.key_quoted {
            return (&*self.key).into();
        }
        let scalar = Scalar { text: self.key.clone(), style: Style::Plain, tag: None };
        match scalar.resolve_old() {
            Resolved::Bool(value) => value.to_string().into(),
            Resolved::Int(value) => value.to_string().into(),
            Resolved::UInt(value) => value.to_string().into(),
            Resolved::Float(value) => crate::emit::go_float(value).into(),
            _ => (&*self.key).into(),
        }
    }

    /// Whether the key is a number, a truth value or nothing instead of a string.
    pub fn key_is_bare(&self) -> bool {
        !self.key_quoted && resolve::plain_is_no_string(&self.key)
    }
}

/// Keys in the order they were written, each once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    entries: Vec<Entry>,
}

impl Mapping {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.key == key)
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| &*entry.key == key).map(|entry| &mut entry.value)
    }

    /// Puts `value` under `key`, in the key's place when it is there already, else at the end.
    pub fn insert(&mut self, key: &str, value: Node) {
        match self.get_mut(key) {
            Some(old) => *old = value,
            None => {
                let key_mark = value.mark;
                self.entries.push(Entry { key: key.into(), key_mark, key_quoted: false, value });
            }
        }
    }

    /// Adds an entry known to be new.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.remove_entry(key).map(|entry| entry.value)
    }

    pub fn remove_entry(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| &*entry.key == key)?;
        Some(self.entries.remove(index))
    }

    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    /// The value under `key`, made by `make` if the key is not there.
    pub fn get_or_insert_with(&mut self, key: &str, make: impl FnOnce() -> Node) -> &mut Node {
        let index = match self.entries.iter().position(|entry| &*entry.key == key) {
            Some(index) => index,
            None => {
                let value = make();
                self.entries.push(Entry { key: key.into(), key_mark: value.mark, key_quoted: false, value });
                self.entries.len() - 1
            }
        };
        &mut self.entries[index].value
    }
}

impl Node {
    fn made(value: Value) -> Self {
        Node { mark: Mark::default(), value }
    }

    pub fn null() -> Self {
        Node::plain("null")
    }

    /// A plain scalar, whose type follows from how it looks.
    pub fn plain(text: &str) -> Self {
        Node::made(Value::Scalar(Scalar { text: text.into(), style: Style::Plain, tag: None }))
    }

    /// A string, whatever it looks like.
    pub fn string(text: &str) -> Self {
        Node::made(Value::Scalar(Scalar { text: text.into(), style: Style::Plain, tag: Some("str".into()) }))
    }

    pub fn mapping() -> Self {
        Node::made(Value::Mapping(Mapping::new()))
    }

    pub fn sequence(items: Vec<Node>) -> Self {
        Node::made(Value::Sequence(items))
    }

    /// The same node, said to stand at `mark`.
    pub fn at(mut self, mark: Mark) -> Self {
        self.mark = mark;
        self
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.resolve() == Resolved::Null)
    }

    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    pub fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_sequence_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a scalar as written, whatever its type.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The field `key` of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.get(key)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_mapping_mut()?.get_mut(key)
    }

    /// The node under a path of fields.
    pub fn at_path(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// What a person calls this node: `a mapping`, `a list`, `the number 3`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => "nothing".to_owned(),
                Resolved::Bool(value) => format!("the truth value {value}"),
                Resolved::Int(_) | Resolved::UInt(_) | Resolved::Float(_) => format!("the number {}", scalar.text),
                Resolved::String => format!("the string {:?}", scalar.text),
                Resolved::Timestamp(_) => format!("the date {}", scalar.text),
            },
        }
    }

    /// The mark of the node a Kubernetes field path names (`spec.template.spec.containers[0].image`,
    /// `metadata.annotations[example.com/a]`), or of the deepest node on the way to it that exists.
    /// For a field's own value the key's mark is given, as that is where a person looks.
    pub fn locate(&self, path: &str) -> Mark {
        let mut node = self;
        let mut mark = self.mark;
        for step in steps(path) {
            let next = match (&node.value, step) {
                (Value::Mapping(mapping), step) => mapping.entry(step).map(|entry| (&entry.value, entry.key_mark)),
                (Value::Sequence(items), step) => {
                    step.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (item, item.mark))
                }
                (Value::Scalar(_), _) => None,
            };
            let Some((child, child_mark)) = next else { break };
            node = child;
            if child_mark.line > 0 {
                mark = child_mark;
            }
        }
        mark
    }
}

/// The steps of a field path: names between dots, and whatever stands in brackets, quotes taken off.
fn steps(path: &str) -> Vec<&str> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = inner.find(']') else { break };
            steps.push(inner[..end].trim_matches('"'));
            rest = &inner[end + 1..];
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(&rest[..end]);
            rest = &rest[end..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    steps
}
