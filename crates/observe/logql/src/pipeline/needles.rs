//! What a line must contain to pass a query's line filters: what a store can look for before it takes lines apart.

use regex_syntax::hir::{Hir, HirKind};

use super::in_running_order;
use crate::{
    regexp,
    syntax::{LineFilter, LineMatch, LineOp, Stage},
};

/// A line has one of these, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    /// The alternatives; never empty, and none of them is.
    pub any: Vec<Vec<u8>>,
}

/// A line has all of these.
pub type Needles = Vec<Needle>;

/// More alternatives than these are not worth looking for.
const MAX_ALTERNATIVES: usize = 16;

impl Needle {
    /// The needles of stages that see the line as it was stored.
    pub fn of(stages: &[Stage]) -> Needles {
        let mut needles = Vec::new();
        for stage in in_running_order(stages) {
            match stage {
                Stage::Lines(filters) => needles.extend(filters.iter().filter_map(of_filter)),
                Stage::LineFormat(_) | Stage::Unpack | Stage::Decolorize => break,
                _ => {}
            }
        }
        needles
    }
}

fn of_filter(filter: &LineFilter) -> Option<Needle> {
    if !filter.op.is_positive() || filter.any.len() > MAX_ALTERNATIVES {
        return None;
    }
    let mut any = Vec::new();
    for one in &filter.any {
        let LineMatch::Text(text) = one else { return None };
        match filter.op {
            LineOp::Contains => any.push(text.as_bytes().to_vec()),
            LineOp::Regexp => any.extend(of_expression(text)?),
            // The longest piece between two captures.
            _ => any.push(text.split("<_>").max_by_key(|piece| piece.len())?.as_bytes().to_vec()),
        }
    }
    (any.len() <= MAX_ALTERNATIVES && any.iter().all(|one| !one.is_empty())).then_some(Needle { any })
}

fn of_expression(expression: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(&regexp::translate(expression)).ok()?;
    required(&hir).filter(|any| any.iter().all(|one| !one.is_empty()))
}

/// Texts one of which is in everything that matches.
fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Concat(parts) => {
            // The part whose shortest alternative is longest tells most.
            let shortest = |any: &Vec<Vec<u8>>| any.iter().map(Vec::len).min().unwrap_or(0);
            parts.iter().filter_map(required).max_by_key(shortest)
        }
        HirKind::Alternation(parts) if parts.len() <= MAX_ALTERNATIVES => {
            parts.iter().map(required).collect::<Option<Vec<_>>>().map(|lists| lists.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{Expr, parse};

    fn check(query: &str, expected: &[&[&str]]) {
        let Expr::Log(log) = parse(query).unwrap() else { panic!("a log query") };
        let found: Vec<Vec<String>> = Needle::of(&log.stages)
            .into_iter()
            .map(|needle| needle.any.into_iter().map(|one| String::from_utf8(one).unwrap()).collect())
            .collect();
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn what_lines_must_contain() {
        check(r#"{a="b"} |= "x" |= "y" or "z" != "n""#, &[&["x"], &["y", "z"]]);
        check(r#"{a="b"} |~ "foo.*barbaz""#, &[&["barbaz"]]);
        check(r#"{a="b"} |~ "(error|warn)ing""#, &[&["error", "warn"]]);
        check(r#"{a="b"} |~ "(?i)error""#, &[]);
        check(r#"{a="b"} |~ "x*""#, &[]);
        check(r#"{a="b"} | json |= "late""#, &[&["late"]]);
        check(r#"{a="b"} | line_format "{{.x}}" |= "after""#, &[]);
        check(r#"{a="b"} |> "<_> GET <_>""#, &[&[" GET "]]);
        check(r#"{a="b"} |= ip("10.0.0.1")"#, &[]);
    }
}
