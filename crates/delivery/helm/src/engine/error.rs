//! Errors of templates, as Helm words them.

use std::{borrow::Cow, fmt};

use coracle_gotemplate::{ExecError, ParseError};

use crate::{Excerpt, Flavour};

/// A chart whose templates failed. The text is Helm's; the place is where the template that failed first stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    message: String,
    /// File, line and column (0 where it is not known), from the outermost template to the innermost.
    pub places: Vec<Place>,
    /// The innermost of the places that is in a file of the chart.
    pub excerpt: Option<Box<Excerpt>>,
}

impl RenderError {
    pub(crate) fn is_too_deep(&self) -> bool {
        self.message.contains("exceeded maximum template depth")
    }

    /// The same, with the line it is about, from the files that `text_of` knows.
    pub(super) fn showing<'t>(mut self, text_of: impl Fn(&str) -> Option<Cow<'t, str>>) -> RenderError {
        self.excerpt = self.places.iter().enumerate().rev().find_map(|(index, place)| {
            let found = Excerpt::at(&place.file, &text_of(&place.file)?, place.line)?;
            let chain = self.places[..index].iter().rev().map(Place::to_string).collect();
            Some(Box::new(Excerpt { column: (place.column > 0).then_some(place.column), chain, ..found }))
        });
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if self.column > 0 { write!(f, ":{}", self.column) } else { Ok(()) }
    }
}

pub(super) const WARN_START: &str = "HELM_ERR_START";
pub(super) const WARN_END: &str = "HELM_ERR_END";

/// A text that is no template.
pub(super) fn of_parsing(file: &str, error: &ParseError) -> RenderError {
    let text = error.to_string();
    let tokens: Vec<&str> = text.split(": ").collect();
    let (message, location) = match tokens.as_slice() {
        [_, location, .., last] => (format!("parse error at ({location}): {last}"), *location),
        [_, last] => (format!("parse error at ({last}): {last}"), *last),
        _ => (format!("parse error in ({file}): {text}"), file),
    };
    RenderError { message, places: place(location).into_iter().collect(), excerpt: None }
}

/// A template that failed while it ran.
pub(super) fn of_execution(file: &str, error: &ExecError, flavour: Flavour) -> RenderError {
    let text = error.to_string();
    let chain = error.chain();
    let places = chain.iter().filter_map(|text| place(text.strip_prefix("template: ")?)).fold(
        Vec::new(),
        |mut places, place| {
            if !places.contains(&place) {
                places.push(place);
            }
            places
        },
    );
    let message = match text.splitn(3, ": ").collect::<Vec<_>>().as_slice() {
        [_, location, rest] => match warned(rest) {
            Some(warning) => format!("execution error at ({location}): {warning}"),
            None if flavour == Flavour::Helm3 => text,
            None => traced(&chain).unwrap_or(text),
        },
        _ => format!("execution error in ({file}): {text}"),
    };
    RenderError { message, places, excerpt: None }
}

/// `file:line:column`, at the beginning of a text.
fn place(text: &str) -> Option<Place> {
    let location = text.split(": ").next()?;
    let mut parts = location.rsplitn(3, ':');
    let (last, middle, first) = (parts.next()?, parts.next()?, parts.next());
    match first {
        Some(file) => Some(Place { file: file.to_owned(), line: middle.parse().ok()?, column: last.parse().ok()? }),
        None => Some(Place { file: middle.to_owned(), line: last.parse().ok()?, column: 0 }),
    }
}

/// What `required` or `fail` said: from the first mark to the last.
fn warned(text: &str) -> Option<&str> {
    let start = text.find(WARN_START)? + WARN_START.len();
    let end = text.rfind(WARN_END)?;
    text.get(start..end)
}

/// One step of the way from the outermost template to what failed.
#[derive(PartialEq)]
struct Step {
    location: String,
    message: String,
    function: String,
}

/// The chain of templates, a few lines each; `None` when something in it was no template.
fn traced(chain: &[String]) -> Option<String> {
    let mut steps: Vec<Step> = Vec::new();
    for text in chain {
        let step = step(text)?;
        if steps.last() != Some(&step) {
            steps.push(step);
        }
    }
    let mut out = String::new();
    for step in steps {
        if !step.location.is_empty() {
            out.push_str(&format!("{}\n  ", step.location));
        }
        if !step.function.is_empty() {
            out.push_str(&format!("{}\n    ", step.function));
        }
        if !step.message.is_empty() {
            out.push_str(&format!("{}\n", step.message));
        }
    }
    Some(out.trim().to_owned())
}

fn step(text: &str) -> Option<Step> {
    let rest = text.strip_prefix("template: ")?;
    if rest.starts_with("no template ") {
        return Some(Step { location: String::new(), message: text.to_owned(), function: String::new() });
    }
    if let Some((location, after)) = rest.split_once(": executing ") {
        let (function, after) = after.strip_prefix('"')?.split_once('"')?;
        let (context, message) = after.strip_prefix(" at <")?.split_once(">: ")?;
        return Some(Step {
            location: location.to_owned(),
            message: without_next(message).to_owned(),
            function: format!("executing \"{function}\" at <{context}>:"),
        });
    }
    let (location, message) = rest.rsplit_once(": ")?;
    Some(Step { location: location.to_owned(), message: without_next(message).to_owned(), function: String::new() })
}

/// A message up to the next template's.
fn without_next(message: &str) -> &str {
    message.find(" template:").map_or(message, |end| &message[..end])
}
