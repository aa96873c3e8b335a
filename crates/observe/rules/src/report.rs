//! What became of the tests of a file, and the XML in which build servers like to read it.

use std::fmt::Write;

/// One test of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub failures: Vec<String>,
}

/// A file's tests; all passed when nothing failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Warnings, and what was asked for to find a mistake.
    pub notes: Vec<String>,
    /// Why no test was run.
    pub aborted: Option<String>,
    pub cases: Vec<Case>,
}

impl Report {
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        let failures = self.cases.iter().flat_map(|case| &case.failures);
        failures.chain(&self.aborted).map(String::as_str)
    }

    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }
}

/// Reports by the names of their files, as JUnit writes them.
pub fn junit(reports: &[(String, Report)], timestamp: &str) -> String {
    let mut xml = String::from("<testsuites>");
    for (file, report) in reports {
        let failures: usize = report.cases.iter().map(|case| case.failures.len()).sum();
        let errors = usize::from(report.aborted.is_some());
        let tests = report.cases.len() + usize::from(errors > 0 && report.cases.is_empty());
        put(
            &mut xml,
            format_args!(
                "<testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" timestamp=\"{}\">",
                escape(file),
                escape(timestamp)
            ),
        );
        for case in &report.cases {
            put(&mut xml, format_args!("<testcase name=\"{}\">", escape(&case.name)));
            for failure in &case.failures {
                put(&mut xml, format_args!("<failure>{}</failure>", escape(failure)));
            }
            xml.push_str("</testcase>");
        }
        if let Some(why) = &report.aborted {
            put(&mut xml, format_args!("<testcase name=\"unknown\"><error>{}</error></testcase>", escape(why)));
        }
        xml.push_str("</testsuite>");
    }
    xml.push_str("</testsuites>");
    xml
}

fn put(xml: &mut String, text: std::fmt::Arguments<'_>) {
    xml.write_fmt(text).expect("writing to a string does not fail");
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\n' => escaped.push_str("&#xA;"),
            '\t' => escaped.push_str("&#x9;"),
            // What XML has no way to write.
            c if c.is_control() => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}
