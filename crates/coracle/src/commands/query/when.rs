//! The moment, or the range of time, for which a query is evaluated.

use crate::{
    cli::Evaluation,
    commands::metrics::{now_ms, time_ms},
};

const HOUR_MS: i64 = 3_600_000;
/// Points of a range when nobody says how many.
const POINTS: i64 = 250;

#[derive(Debug, Clone, PartialEq)]
pub enum When {
    Moment {
        time_ms: i64,
    },
    /// The step is in seconds, or as the person wrote it.
    Range {
        start_ms: i64,
        end_ms: i64,
        step: String,
    },
}

impl When {
    /// A moment, unless a range is named, or the answer can be nothing else.
    pub fn of(evaluation: &Evaluation, only_ranges: bool) -> anyhow::Result<Self> {
        let now_ms = now_ms();
        let Evaluation { time, start, end, step, plot, .. } = evaluation;
        let or = |text: &Option<String>, otherwise: i64| match text {
            Some(text) => time_ms(text, now_ms),
            None => Ok(otherwise),
        };
        if !only_ranges && !plot && start.is_none() && end.is_none() && step.is_none() {
            return Ok(Self::Moment { time_ms: or(time, now_ms)? });
        }
        let end_ms = or(end, now_ms)?;
        let start_ms = or(start, end_ms - HOUR_MS)?;
        let step = step.clone().unwrap_or_else(|| (((end_ms - start_ms) / POINTS).max(1000) / 1000).to_string());
        Ok(Self::Range { start_ms, end_ms, step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_looks_like_one() {
        let evaluation = |time: Option<&str>, start: Option<&str>| Evaluation {
            time: time.map(str::to_owned),
            start: start.map(str::to_owned),
            end: start.map(|_| "2000".to_owned()),
            ..Evaluation::default()
        };
        assert_eq!(When::of(&evaluation(Some("12.5"), None), false).unwrap(), When::Moment { time_ms: 12_500 });
        let range = When::Range { start_ms: 1_000_000, end_ms: 2_000_000, step: "4".to_owned() };
        assert_eq!(When::of(&evaluation(None, Some("1000")), false).unwrap(), range);
        assert!(matches!(When::of(&evaluation(None, None), true).unwrap(), When::Range { .. }));
    }
}
