//! Text to tree. Anchors are replaced by what they name, merge keys (`<<`) are merged, and each document is one node.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::lenient::Lenient;
use crate::node::{Entry, FileId, Mapping, Mark, Node, Scalar, Style, Value};

/// How deep a document may nest; deeper ones would only come from an attack on the stack.
const DEPTH_LIMIT: usize = 200;
/// How many nodes aliases may add to a document: a few lines of nested aliases could otherwise fill the memory.
const ALIAS_NODES_LIMIT: usize = 100_000;

/// Why text is not YAML that Kubernetes tools take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    pub mark: Mark,
    pub message: String,
}

/// What a key that a mapping has twice means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    Refused,
    LastWins,
}

/// All documents of `text`, in order. A document with nothing in it is a null node.
pub fn parse(text: &str, file: FileId) -> Result<Vec<Node>, ParseError> {
    leniently(text, Mark { file, line: 1, column: 1 }, Repeated::Refused, |builder| builder.all())
}

/// The first document of `text`, which begins at `start` of its file. What follows it is not looked at.
pub fn parse_first(text: &str, start: Mark, repeated: Repeated) -> Result<Option<Node>, ParseError> {
    leniently(text, start, repeated, |builder| builder.first())
}

fn leniently<T>(
    text: &str,
    start: Mark,
    repeated: Repeated,
    read: impl Fn(&mut Builder<'_>) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let mut lenient = Lenient::new(text.strip_prefix('\u{feff}').unwrap_or(text));
    loop {
        let mut builder = Builder::new(&lenient, start, repeated);
        let result = read(&mut builder);
        let complaint = builder.complaint.take();
        drop(builder);
        match complaint {
            Some((complaint, line)) if result.is_err() && lenient.mend(&complaint, line) => {}
            _ => return result,
        }
    }
}

/// The only document of `text`; an empty text is a null node.
pub fn parse_one(text: &str, file: FileId) -> Result<Node, ParseError> {
    let mut documents = parse(text, file)?;
    match documents.len() {
        0 => Ok(Node::null().at(Mark { file, line: 1, column: 1 })),
        1 => Ok(documents.remove(0)),
        _ => Err(ParseError {
            mark: documents[1].mark,
            message: "a second document begins here; only one is expected in this file".to_owned(),
        }),
    }
}

struct Builder<'input> {
    lenient: &'input Lenient<'input>,
    /// What the parser said, and of which line.
    complaint: Option<(String, usize)>,
    parser: Parser<'input, StrInput<'input>>,
    /// The number of characters, if the text does not end with a line break: a block that reaches so far has none at
    /// its end either.
    cut_off_at: Option<usize>,
    start: Mark,
    repeated: Repeated,
    /// Finished anchored nodes by the parser's anchor number.
    anchors: Vec<(usize, Node)>,
    alias_nodes: usize,
}

impl<'input> Builder<'input> {
    fn new(lenient: &'input Lenient<'input>, start: Mark, repeated: Repeated) -> Self {
        let text = lenient.text();
        let is_cut_off = text.rsplit('\n').next().is_some_and(|line| !line.trim_matches(' ').is_empty());
        Builder {
            lenient,
            complaint: None,
            parser: Parser::new_from_str(text),
            cut_off_at: is_cut_off.then(|| text.chars().count()),
            start,
            repeated,
            anchors: Vec::new(),
            alias_nodes: 0,
        }
    }

    fn all(&mut self) -> Result<Vec<Node>, ParseError> {
        let mut documents = Vec::new();
        loop {
            let (event, _) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentStart(_) => {
                    self.anchors.clear();
                    let (event, span) = self.next()?;
                    documents.push(self.node(event, span, 0)?);
                }
                _ => {}
            }
        }
    }

    fn first(&mut self) -> Result<Option<Node>, ParseError> {
        loop {
            let (event, _) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    return self.node(event, span, 0).map(Some);
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), ParseError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn scan_error(&mut self, error: &ScanError) -> ParseError {
        self.complaint = Some((error.info().to_owned(), error.marker().line()));
        let mark = self.place(error.marker().line(), error.marker().col());
        ParseError { mark, message: error.info().to_owned() }
    }

    fn mark(&self, span: Span) -> Mark {
        self.place(span.start.line(), span.start.col())
    }

    fn place(&self, line: usize, column: usize) -> Mark {
        mark_of(self.start, line, column.saturating_sub(self.lenient.shift(line)))
    }

    fn node(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<Node, ParseError> {
        let mark = self.mark(span);
        if depth > DEPTH_LIMIT {
            return Err(ParseError { mark, message: format!("nested more than {DEPTH_LIMIT} levels deep") });
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = style_of(style);
                let is_cut_off = matches!(style, Style::Literal | Style::Folded)
                    && self.cut_off_at.is_some_and(|end| span.end.index() >= end);
                let text = text.strip_suffix('\n').filter(|_| is_cut_off).unwrap_or(&text);
                let scalar = Scalar { text: text.into(), style, tag: tag.map(|tag| tag_text(&tag).into()) };
                Ok(self.anchored(anchor, Node { mark, value: Value::Scalar(scalar) }))
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
                Ok(self.anchored(anchor, Node { mark, value: Value::Sequence(items) }))
            }
            Event::MappingStart(anchor, _) => {
                let mapping = self.mapping(depth)?;
                Ok(self.anchored(anchor, Node { mark, value: Value::Mapping(mapping) }))
            }
            Event::Alias(anchor) => self.alias(anchor, mark),
            other => Err(ParseError { mark, message: format!("a value is expected here, not {other:?}") }),
        }
    }

    fn anchored(&mut self, anchor: usize, node: Node) -> Node {
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
        }
        node
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<Node, ParseError> {
        let Some((_, node)) = self.anchors.iter().rev().find(|(number, _)| *number == anchor) else {
            return Err(ParseError { mark, message: "this alias stands inside the node it names".to_owned() });
        };
        self.alias_nodes += count(node);
        if self.alias_nodes > ALIAS_NODES_LIMIT {
            return Err(ParseError { mark, message: format!("aliases expand to more than {ALIAS_NODES_LIMIT} nodes") });
        }
        Ok(node.clone())
    }

    fn mapping(&mut self, depth: usize) -> Result<Mapping, ParseError> {
        let mut mapping = Mapping::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let key_mark = key.mark;
            let Value::Scalar(scalar) = key.value else {
                return Err(ParseError { mark: key_mark, message: "a key has to be a word, not a collection".into() });
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if &*scalar.text == "<<" && scalar.style == Style::Plain {
                merged.push(value);
                continue;
            }
            if let Some(first) = mapping.entry(&scalar.text) {
                if self.repeated == Repeated::LastWins {
                    mapping.insert(&scalar.text, value);
                    continue;
                }
                let message =
                    format!("the key {:?} is here twice; the first is at line {}", scalar.text, first.key_mark.line);
                return Err(ParseError { mark: key_mark, message });
            }
            let key_quoted = scalar.style != Style::Plain || scalar.tag.as_deref() == Some("str");
            mapping.push(Entry { key: scalar.text, key_mark, key_quoted, value });
        }
        for node in merged {
            merge_into(&mut mapping, node)?;
        }
        Ok(mapping)
    }
}

/// Adds what `<<` names: keys that are there already win.
fn merge_into(mapping: &mut Mapping, node: Node) -> Result<(), ParseError> {
    match node.value {
        Value::Mapping(other) => {
            for entry in other.into_entries() {
                if mapping.get(&entry.key).is_none() {
                    mapping.push(entry);
                }
            }
            Ok(())
        }
        Value::Sequence(items) => items.into_iter().try_for_each(|item| merge_into(mapping, item)),
        Value::Scalar(_) => {
            Err(ParseError { mark: node.mark, message: "`<<` merges a mapping or a list of mappings".to_owned() })
        }
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::Sequence(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Mapping(mapping) => 1 + mapping.iter().map(|entry| 1 + count(&entry.value)).sum::<usize>(),
    }
}

fn mark_of(start: Mark, line: usize, column: usize) -> Mark {
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let line = small(line).saturating_add(start.line.saturating_sub(1));
    Mark { file: start.file, line, column: small(column).saturating_add(1) }
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}

fn tag_text(tag: &Tag) -> String {
    if tag.is_yaml_core_schema() { tag.suffix.clone() } else { format!("{}{}", tag.handle, tag.suffix) }
}
