//! What kinds of lines there are: lines of the same length whose words are mostly the same share a pattern, in which the
//! words that differ are `<_>`. A small form of Drain (He et al., 2017).

use std::collections::{BTreeMap, HashMap};

/// Patterns of one length that a line is compared with, at the most.
const MAX_ALIKE: usize = 300;
/// Words of a line; shorter and longer lines have no pattern.
const WORDS: std::ops::RangeInclusive<usize> = 4..=80;
/// Longer lines have no pattern.
const MAX_LINE_BYTES: usize = 3000;
/// The part of a pattern's own words that a line must have.
const ALIKE: f64 = 0.6;
const ANY: &str = "<_>";

/// A pattern, and how many lines it had in each step of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Its text, as `|>` takes it.
    pub(crate) text: String,
    /// Lines by the beginning of their step, in the unit that was given.
    pub(crate) counts: BTreeMap<i64, u64>,
}

impl Pattern {
    /// All of its lines.
    fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Gathers patterns.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    /// By the number of words.
    by_len: HashMap<usize, Vec<Found>>,
}

#[derive(Debug)]
struct Found {
    words: Vec<String>,
    counts: BTreeMap<i64, u64>,
}

impl Patterns {
    /// Takes a line.
    pub(crate) fn add(&mut self, step: i64, line: &str) {
        if line.len() > MAX_LINE_BYTES {
            return;
        }
        let words = words(line);
        if !WORDS.contains(&words.len()) {
            return;
        }
        let known = self.by_len.entry(words.len()).or_default();
        let has_room = known.len() < MAX_ALIKE;
        let alike = known.iter_mut().filter_map(|found| Some((alike(&found.words, &words)?, found)));
        match alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((_, found)) => {
                for (own, word) in found.words.iter_mut().zip(&words) {
                    if own != word {
                        ANY.clone_into(own);
                    }
                }
                *found.counts.entry(step).or_default() += 1;
            }
            None if has_room => {
                let words = words.into_iter().map(str::to_owned).collect();
                known.push(Found { words, counts: BTreeMap::from([(step, 1)]) });
            }
            None => {}
        }
    }

    /// What was found, the most frequent first.
    pub(crate) fn finish(self) -> Vec<Pattern> {
        let mut patterns: BTreeMap<String, BTreeMap<i64, u64>> = BTreeMap::new();
        for found in self.by_len.into_values().flatten() {
            let counts = patterns.entry(text(&found.words)).or_default();
            found.counts.into_iter().for_each(|(step, count)| *counts.entry(step).or_default() += count);
        }
        let mut patterns: Vec<Pattern> = patterns.into_iter().map(|(text, counts)| Pattern { text, counts }).collect();
        patterns.sort_by(|a, b| b.total().cmp(&a.total()).then_with(|| a.text.cmp(&b.text)));
        patterns
    }
}

/// Words, and what stands between them. Words with digits are never part of a pattern.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_word = is_part(first);
        let end = rest.find(|c| is_part(c) != is_word).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        let variable = is_word && piece.bytes().any(|b| b.is_ascii_digit());
        words.push(if variable { ANY } else { piece });
        rest = after;
    }
    words
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | '%' | '@' | '#' | '$')
}

/// Which part of a pattern's own words a line has; `None` where what stands between the words differs.
fn alike(pattern: &[String], words: &[&str]) -> Option<f64> {
    let (mut own_words, mut same) = (0_u32, 0_u32);
    for (own, word) in pattern.iter().zip(words) {
        let is_word = |piece: &str| piece == ANY || piece.starts_with(is_part);
        match (is_word(own), is_word(word)) {
            (true, true) if own == ANY => {}
            (true, true) => {
                own_words += 1;
                same += u32::from(own == word);
            }
            _ if own == word => {}
            _ => return None,
        }
    }
    Some(if own_words == 0 { 1.0 } else { f64::from(same) / f64::from(own_words) })
}

/// Two of `<_>` beside each other are one.
fn text(words: &[String]) -> String {
    let mut text = String::new();
    for word in words {
        if word != ANY || !text.ends_with(ANY) {
            text.push_str(word);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(lines: &[&str], expected: Expect) {
        let mut patterns = Patterns::default();
        lines.iter().zip(0..).for_each(|(line, at)| patterns.add(at / 2, line));
        let shown: Vec<String> =
            patterns.finish().iter().map(|pattern| format!("{} {:?}", pattern.text, pattern.counts)).collect();
        expected.assert_eq(&shown.join("\n"));
    }

    #[test]
    fn lines_that_are_alike_share_a_pattern() {
        check(
            &[
                "connection from 10.0.0.1:4000 accepted",
                "connection from 10.0.0.2:4001 accepted",
                "level=info msg=\"user alice logged in\" took=3ms",
                "level=info msg=\"user bob logged in\" took=14ms",
                "level=warn msg=\"disk is nearly full\" took=1ms",
                "short",
                "connection from 10.0.0.9:1 accepted",
            ],
            expect![[r#"
                connection from <_>:<_> accepted {0: 2, 3: 1}
                level=info msg="user <_> logged in" took=<_> {1: 2}
                level=warn msg="disk is nearly full" took=<_> {2: 1}"#]],
        );
    }
}
