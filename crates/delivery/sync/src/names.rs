//! What environments are called: an app and a branch make an Application, a namespace and a host.

use sha2::{Digest, Sha256};

/// The branch whose environment bears the app's own name.
pub const MAIN: &str = "main";
/// The longest DNS label.
const LABEL_LIMIT: usize = 63;
const HASH_LENGTH: usize = 5;

/// One environment of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    pub app: String,
    /// Empty for the app's own environment; else the branch as a DNS label.
    pub preview: String,
}

impl Environment {
    /// The environment of a branch. Branches that differ only in what a DNS label cannot hold get a hash of their name.
    pub fn new(app: &str, branch: &str) -> Self {
        let room = LABEL_LIMIT.saturating_sub(app.len() + 1).max(HASH_LENGTH + 2);
        let preview = if branch == MAIN { String::new() } else { label(branch, room) };
        Environment { app: app.to_owned(), preview }
    }

    /// Whether the name is short enough for a namespace; with an app's name of nearly a label's length it may not be.
    pub fn fits(&self) -> bool {
        self.name().len() <= LABEL_LIMIT
    }

    /// The Application's name and the namespace's.
    pub fn name(&self) -> String {
        if self.preview.is_empty() { self.app.clone() } else { format!("{}-{}", self.app, self.preview) }
    }

    /// The host browsers find it at.
    pub fn host(&self) -> String {
        if self.preview.is_empty() {
            format!("{}.localhost", self.app)
        } else {
            format!("{}.{}.localhost", self.preview, self.app)
        }
    }
}

fn label(branch: &str, limit: usize) -> String {
    let mut label: String =
        branch.chars().map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' }).collect();
    while label.contains("--") {
        label = label.replace("--", "-");
    }
    let label = label.trim_matches('-');
    if label == branch && label.len() <= limit {
        return label.to_owned();
    }
    let digest = Sha256::digest(branch.as_bytes());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..HASH_LENGTH].to_owned();
    let kept = label.get(..limit - HASH_LENGTH - 1).unwrap_or(label).trim_end_matches('-');
    if kept.is_empty() { hash } else { format!("{kept}-{hash}") }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Environment;

    fn check(branch: &str, expected: Expect) {
        let environment = Environment::new("hello", branch);
        expected.assert_eq(&format!("{} at {}", environment.name(), environment.host()));
    }

    #[test]
    fn branches_become_dns_labels() {
        check("main", expect!["hello at hello.localhost"]);
        check("red", expect!["hello-red at red.hello.localhost"]);
        check(
            "feature/Login_Page",
            expect!["hello-feature-login-page-0fab8 at feature-login-page-0fab8.hello.localhost"],
        );
        check("feature-login-page", expect!["hello-feature-login-page at feature-login-page.hello.localhost"]);
        check("ÜÖ", expect!["hello-ab99c at ab99c.hello.localhost"]);
        check(
            &"long".repeat(30),
            expect![
                "hello-longlonglonglonglonglonglonglonglonglonglonglonglon-cc845 at longlonglonglonglonglonglonglonglonglonglonglonglon-cc845.hello.localhost"
            ],
        );
    }
}
