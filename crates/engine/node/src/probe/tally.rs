//! How many answers in a row make a verdict. Pure.

/// Counts answers of one probe.
#[derive(Debug, Clone)]
pub struct Tally {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    in_a_row: u32,
    verdict: Option<bool>,
}

impl Tally {
    pub fn new(success_threshold: Option<i32>, failure_threshold: Option<i32>) -> Self {
        let threshold =
            |value: Option<i32>, default| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(1);
        Self {
            success_threshold: threshold(success_threshold, 1),
            failure_threshold: threshold(failure_threshold, 3),
            last: None,
            in_a_row: 0,
            verdict: None,
        }
    }

    /// The verdict, where this answer changes it.
    pub fn count(&mut self, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.in_a_row += 1;
        } else {
            self.last = Some(success);
            self.in_a_row = 1;
        }
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        if self.in_a_row < threshold || self.verdict == Some(success) {
            return None;
        }
        self.verdict = Some(success);
        self.verdict
    }

    /// Whether one success is enough.
    pub fn is_quick(&self) -> bool {
        self.success_threshold == 1
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Option<bool> {
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Tally;

    fn check(success: i32, failure: i32, answers: &str, expected: Expect) {
        let mut tally = Tally::new(Some(success), Some(failure));
        let verdicts: String = answers
            .chars()
            .map(|answer| match tally.count(answer == '+') {
                Some(true) => 'Y',
                Some(false) => 'N',
                None => '.',
            })
            .collect();
        expected.assert_eq(&verdicts);
    }

    #[test]
    fn verdicts_come_after_answers_in_a_row() {
        check(1, 3, "+--+---+", expect!["Y.....NY"]);
        check(2, 1, "+-++-", expect![".N.YN"]);
        check(1, 1, "--++", expect!["N.Y."]);
        check(1, 3, "---", expect!["..N"]);
    }
}
