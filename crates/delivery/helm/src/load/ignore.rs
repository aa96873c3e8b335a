//! `.helmignore`.

use crate::glob;

#[derive(Default)]
pub(super) struct Rules {
    patterns: Vec<Pattern>,
}

struct Pattern {
    text: String,
    negated: bool,
    only_directories: bool,
    /// Matched against the whole path, not the last name alone.
    whole_path: bool,
}

impl Rules {
    pub fn parse(text: &str) -> Result<Rules, String> {
        let mut rules = Rules::default();
        for line in text.trim_start_matches('\u{feff}').lines() {
            rules.add(line)?;
        }
        Ok(rules)
    }

    /// Dotfiles in `templates/` are never part of a chart.
    pub fn with_defaults(mut self) -> Rules {
        self.add("templates/.?*").expect("this pattern is well formed");
        self
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let rule = line.trim();
        if rule.is_empty() || rule.starts_with('#') {
            return Ok(());
        }
        if rule.contains("**") {
            return Err("double-star (**) syntax is not supported".to_owned());
        }
        if !glob::is_valid_path_pattern(rule) {
            return Err("syntax error in pattern".to_owned());
        }
        let (negated, rule) = rule.strip_prefix('!').map_or((false, rule), |rest| (true, rest));
        let (only_directories, rule) = rule.strip_suffix('/').map_or((false, rule), |rest| (true, rest));
        let whole_path = rule.contains('/');
        let text = rule.strip_prefix('/').unwrap_or(rule).to_owned();
        self.patterns.push(Pattern { text, negated, only_directories, whole_path });
        Ok(())
    }

    pub fn ignores(&self, path: &str, is_directory: bool) -> bool {
        for pattern in &self.patterns {
            let subject = if pattern.whole_path { path } else { path.rsplit_once('/').map_or(path, |(_, name)| name) };
            let matches = glob::matches_path(&pattern.text, subject);
            if pattern.negated {
                if pattern.only_directories && !is_directory || !matches {
                    return true;
                }
            } else if matches && (is_directory || !pattern.only_directories) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::Rules;

    #[test]
    fn rules_are_helms() {
        let rules = Rules::parse("# comment\n*.tmp\n/root.txt\ndocs/\na/b*\n").expect("rules").with_defaults();
        let cases = [
            ("x.tmp", false, true),
            ("sub/x.tmp", false, true),
            ("root.txt", false, true),
            ("sub/root.txt", false, false),
            ("docs", true, true),
            ("docs", false, false),
            ("a/bc", false, true),
            ("x/a/bc", false, false),
            ("templates/.hidden", false, true),
            ("templates/shown", false, false),
        ];
        for (path, is_directory, ignored) in cases {
            assert_eq!(rules.ignores(path, is_directory), ignored, "{path}");
        }
        assert!(Rules::parse("a/**").is_err());
    }

    #[test]
    fn a_negated_rule_ignores_what_it_does_not_match() {
        let rules = Rules::parse("!keep\n").expect("rules");
        assert!(rules.ignores("other", false));
        assert!(!rules.ignores("keep", false));
    }
}
