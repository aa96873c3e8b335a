//! The summary, as a page of Markdown.

use std::{collections::BTreeMap, fmt::Write as _};

use super::case::Verdict;

/// Everything found against one real tool.
pub struct Tally {
    pub peer: String,
    pub found: Vec<(String, Verdict)>,
    /// Processor seconds of the real tool and of ours, a pair a case that both render.
    pub cpu_seconds: Vec<(f64, f64)>,
}

/// Cases named under one heading; the rest is counted.
const NAMED: usize = 40;

impl Tally {
    pub fn new(peer: &str) -> Tally {
        Tally { peer: peer.to_owned(), found: Vec::new(), cpu_seconds: Vec::new() }
    }

    fn count(&self, wanted: impl Fn(&Verdict) -> bool) -> usize {
        self.found.iter().filter(|(_, verdict)| wanted(verdict)).count()
    }

    /// The table, the times, and what differs.
    pub fn write(&self, out: &mut String) {
        let identical = self.count(|verdict| matches!(verdict, Verdict::Identical { .. }));
        let masked = self.count(|verdict| matches!(verdict, Verdict::Identical { masked: true }));
        let same = self.count(|verdict| matches!(verdict, Verdict::SameMeaning { .. }));
        let different = self.count(|verdict| matches!(verdict, Verdict::Different(_)));
        let both_fail = self.count(|verdict| matches!(verdict, Verdict::BothFail { .. }));
        let same_words = self.count(|verdict| matches!(verdict, Verdict::BothFail { same_words: true, .. }));
        let only_ours = self.count(|verdict| matches!(verdict, Verdict::OnlyOursFails(_)));
        let only_theirs = self.count(|verdict| matches!(verdict, Verdict::OnlyTheirsFails(_)));
        let rendered = identical + same + different;
        let share = |count: usize, of: usize| if of == 0 { 100.0 } else { 100.0 * count as f64 / of as f64 };
        let rows = [
            ("value sets".to_owned(), self.found.len().to_string()),
            ("both render".to_owned(), rendered.to_string()),
            (
                "byte-identical (random lines masked in some)".to_owned(),
                format!("{identical} = {:.2} % ({masked})", share(identical, rendered)),
            ),
            ("same meaning".to_owned(), format!("{} = {:.2} %", identical + same, share(identical + same, rendered))),
            ("different".to_owned(), different.to_string()),
            ("both refuse (in the same words)".to_owned(), format!("{both_fail} ({same_words})")),
            ("only the real one refuses / only ours".to_owned(), format!("{only_theirs} / {only_ours}")),
        ];
        let _ = writeln!(out, "\n## Against {}\n\n| | |\n|---|---|", self.peer);
        rows.iter().for_each(|(name, value)| {
            let _ = writeln!(out, "| {name} | {value} |");
        });
        self.write_times(out);
        self.write_differences(out);
    }

    fn write_times(&self, out: &mut String) {
        if self.cpu_seconds.is_empty() {
            return;
        }
        let mut ratios: Vec<f64> = self.cpu_seconds.iter().map(|(theirs, ours)| theirs / ours.max(1e-5)).collect();
        ratios.sort_by(f64::total_cmp);
        let sum = |pick: fn(&(f64, f64)) -> f64| self.cpu_seconds.iter().map(pick).sum::<f64>();
        let _ = writeln!(
            out,
            "\nProcessor time where both render: {:.1} s of the real tool's processes, {:.1} s of ours in process; the \
             median chart takes 1/{:.0} of the time, the slowest of a hundred 1/{:.1}.",
            sum(|pair| pair.0),
            sum(|pair| pair.1),
            ratios[ratios.len() / 2],
            ratios[ratios.len() / 100],
        );
    }

    fn write_differences(&self, out: &mut String) {
        let mut headings: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (case, verdict) in &self.found {
            let (heading, what) = match verdict {
                Verdict::Identical { .. } | Verdict::BothFail { same_words: true, .. } => continue,
                Verdict::Different(found) => ("Different", found.first().map(ToString::to_string).unwrap_or_default()),
                Verdict::SameMeaning { line } => ("The same, written differently", line.clone()),
                Verdict::BothFail { theirs, ours, .. } => ("Refused in other words", first_difference(theirs, ours)),
                Verdict::OnlyOursFails(error) => ("Only ours refuses", first_line(error)),
                Verdict::OnlyTheirsFails(error) => ("Only the real one refuses", first_line(error)),
            };
            headings.entry(heading).or_default().push(format!("- `{case}`: {what}"));
        }
        for (heading, cases) in headings {
            let _ = writeln!(out, "\n### {heading}\n");
            cases.iter().take(NAMED).for_each(|case| {
                let _ = writeln!(out, "{}", case.replace('\n', " "));
            });
            if cases.len() > NAMED {
                let _ = writeln!(out, "- and {} more", cases.len() - NAMED);
            }
        }
    }
}

/// The first line in which two texts differ.
fn first_difference(theirs: &str, ours: &str) -> String {
    let mut pairs = theirs.trim().lines().zip(ours.trim().lines());
    let (theirs, ours) = pairs.find(|(theirs, ours)| theirs != ours).unwrap_or((theirs, ours));
    format!("`{}` is `{}` here", first_line(theirs), first_line(ours))
}

fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().chars().take(240).collect()
}
