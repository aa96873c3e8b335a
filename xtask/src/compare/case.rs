//! One thing rendered by two tools: what came of it, and in which way the two differ.

use super::documents::{self, Difference};

/// What a tool made of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Rendered(String),
    Failed(String),
}

/// How ours compares with the real one.
#[derive(Debug)]
pub enum Verdict {
    /// Every byte; with `masked`, every byte that the real tool itself does not make anew each time.
    Identical {
        masked: bool,
    },
    /// The same objects in the same order, written differently.
    SameMeaning {
        line: String,
    },
    Different(Vec<Difference>),
    /// Both refuse it, in the same words or in others.
    BothFail {
        same_words: bool,
        theirs: String,
        ours: String,
    },
    OnlyOursFails(String),
    OnlyTheirsFails(String),
}

/// Runs of the real tool beyond the first that show what it makes up anew. Two runs may agree by chance where there are
/// few choices, such as the order of two keys.
const MORE_RUNS: usize = 4;
const A_SECOND: std::time::Duration = std::time::Duration::from_secs(1);

/// Compares, asking for further runs of the real tool only when the first does not agree.
pub fn compare(
    theirs: &Outcome,
    ours: &Outcome,
    mut again: impl FnMut(usize) -> anyhow::Result<Outcome>,
) -> anyhow::Result<Verdict> {
    let (theirs, ours) = match (theirs, ours) {
        (Outcome::Rendered(theirs), Outcome::Rendered(ours)) => (theirs, ours),
        (Outcome::Failed(theirs), Outcome::Failed(ours)) => {
            let same_words = theirs.trim() == ours.trim();
            return Ok(Verdict::BothFail { same_words, theirs: theirs.clone(), ours: ours.clone() });
        }
        (Outcome::Rendered(_), Outcome::Failed(ours)) => return Ok(Verdict::OnlyOursFails(ours.clone())),
        (Outcome::Failed(theirs), Outcome::Rendered(_)) => return Ok(Verdict::OnlyTheirsFails(theirs.clone())),
    };
    if theirs == ours {
        return Ok(Verdict::Identical { masked: false });
    }
    let mut runs: Vec<String> = Vec::new();
    for run in 0..MORE_RUNS {
        // What is made of the time is new only in another second.
        if run > 0 && runs.iter().all(|run| run == theirs) {
            std::thread::sleep(A_SECOND);
        }
        if let Outcome::Rendered(text) = again(run + 2)? {
            runs.push(text);
        }
        let random = runs.iter().any(|run| run != theirs);
        if random && same_lines(theirs, &runs, ours) {
            return Ok(Verdict::Identical { masked: true });
        }
        if !random && run > 0 {
            break;
        }
    }
    let differences = documents::differences(theirs, &runs, ours);
    if !differences.is_empty() {
        return Ok(Verdict::Different(differences));
    }
    let line = theirs.lines().zip(ours.lines()).find(|(theirs, ours)| theirs != ours);
    let line = line.map_or_else(|| "one is longer".to_owned(), |(theirs, ours)| format!("{theirs:?} is {ours:?} here"));
    Ok(Verdict::SameMeaning { line })
}

/// Whether the texts agree in every line in which the real tool agrees with itself.
fn same_lines(theirs: &str, runs: &[String], ours: &str) -> bool {
    let theirs: Vec<&str> = theirs.split('\n').collect();
    let ours: Vec<&str> = ours.split('\n').collect();
    let runs: Vec<Vec<&str>> = runs.iter().map(|run| run.split('\n').collect()).collect();
    theirs.len() == ours.len()
        && runs.iter().all(|run| run.len() == theirs.len())
        && theirs.iter().enumerate().all(|(index, line)| {
            ours[index] == *line || runs.iter().any(|run| run[index] != *line || run[index] == ours[index])
        })
}
