//! Names of apps and of refs: what may be one, and what to say when it may not.

/// Longest DNS label.
const LONGEST_APP_BYTES: usize = 63;
/// Longer ref names than any file system takes are refused before anything is written.
const LONGEST_REF_BYTES: usize = 250;

/// Whether `name` can be an app's: a DNS label, because it becomes a namespace and a host name. The error is a sentence's end.
pub fn check_app(name: &str) -> Result<(), String> {
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() {
        return Err("an app needs a name: push to /NAME.git".into());
    }
    if name.len() > LONGEST_APP_BYTES {
        return Err(format!("{name:?} is too long for an app: {LONGEST_APP_BYTES} letters at most"));
    }
    if !name.bytes().all(label) || name.starts_with('-') || name.ends_with('-') {
        let suggestion = suggest(name);
        let hint = if suggestion.is_empty() { String::new() } else { format!(", for example {suggestion:?}") };
        return Err(format!(
            "{name:?} cannot be an app: use lower-case letters, digits and '-', beginning and ending with a letter or digit{hint}"
        ));
    }
    Ok(())
}

/// The nearest name that would do.
fn suggest(name: &str) -> String {
    let mapped: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    mapped.trim_matches('-').into()
}

/// Whether a ref of this full name is kept here.
pub fn check_ref(name: &str) -> Result<(), &'static str> {
    if !["refs/heads/", "refs/tags/", "refs/notes/"].iter().any(|prefix| name.starts_with(prefix)) {
        return Err("only branches and tags are kept here");
    }
    if name.len() > LONGEST_REF_BYTES {
        return Err("the name is too long");
    }
    gix::validate::reference::name(name.into()).map(|_| ()).map_err(|_| "not a valid ref name")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{check_app, check_ref};

    #[test]
    fn app_names() {
        let mut out = String::new();
        for name in ["hello", "a", "my-app-2", "", "My_App", "-x", "x-", "a/b", "..", &"x".repeat(64)] {
            out += &format!("{name:.10} => {:?}\n", check_app(name));
        }
        expect![[r#"
            hello => Ok(())
            a => Ok(())
            my-app-2 => Ok(())
             => Err("an app needs a name: push to /NAME.git")
            My_App => Err("\"My_App\" cannot be an app: use lower-case letters, digits and '-', beginning and ending with a letter or digit, for example \"my-app\"")
            -x => Err("\"-x\" cannot be an app: use lower-case letters, digits and '-', beginning and ending with a letter or digit, for example \"x\"")
            x- => Err("\"x-\" cannot be an app: use lower-case letters, digits and '-', beginning and ending with a letter or digit, for example \"x\"")
            a/b => Err("\"a/b\" cannot be an app: use lower-case letters, digits and '-', beginning and ending with a letter or digit, for example \"a-b\"")
            .. => Err("\"..\" cannot be an app: use lower-case letters, digits and '-', beginning and ending with a letter or digit")
            xxxxxxxxxx => Err("\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" is too long for an app: 63 letters at most")
        "#]]
        .assert_eq(&out);
    }

    #[test]
    fn ref_names() {
        let mut out = String::new();
        for name in [
            "refs/heads/main",
            "refs/heads/a/b",
            "refs/tags/v1",
            "HEAD",
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/x.lock",
            "refs/heads/../../x",
        ] {
            out += &format!("{name} => {:?}\n", check_ref(name));
        }
        expect![[r#"
            refs/heads/main => Ok(())
            refs/heads/a/b => Ok(())
            refs/tags/v1 => Ok(())
            HEAD => Err("only branches and tags are kept here")
            refs/heads/ => Err("not a valid ref name")
            refs/heads/a..b => Err("not a valid ref name")
            refs/heads/x.lock => Err("not a valid ref name")
            refs/heads/../../x => Err("not a valid ref name")
        "#]]
        .assert_eq(&out);
    }
}
